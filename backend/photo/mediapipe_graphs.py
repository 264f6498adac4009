"""The MediaPipe networks that ship inside its wheel, as plain callables without its log noise.

The solutions of MediaPipe chain detector, tracker and landmarks; here each network is run on a crop of
our own choosing, so that scale, roll and padding are ours. They run on one CPU thread of XNNPACK and
are deterministic.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.errors import Missing

U8 = NDArray[np.uint8]

DETECTOR_SIDE = 192  # input of the full-range detector, pixels
MESH_SIDE = 192  # input of Face Mesh
SELFIE_SIDE = 256  # input of selfie segmentation

_log = logging.getLogger(__name__)
_stderr_lock = threading.RLock()

_MESH_GRAPH = """
input_stream: "image"
input_stream: "roi"
output_stream: "landmarks"
node {
  calculator: "ConstantSidePacketCalculator"
  output_side_packet: "PACKET:with_attention"
  node_options {
    [type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] { packet { bool_value: true } }
  }
}
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""
_MESH_SCORE = "facelandmarkcpu__face_presence_score"
_MESH_THRESHOLD = "facelandmarkcpu__ThresholdingCalculator.threshold"


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what native code writes to file descriptor 2 to the debug log instead.

    absl and TFLite log there before Python can set a level, and the command line promises one line.
    """
    with _stderr_lock, tempfile.TemporaryFile() as sink:
        try:
            saved = os.dup(2)
        except OSError:  # a process without a standard error (a service, a window): nothing to keep clean
            yield
            return
        _flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            text = sink.read().decode(errors="replace").strip()
            if text:
                _log.debug("native log: %s", text)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


@dataclass(frozen=True)
class Detection:
    """One raw detection in pixels of the picture given: box, confidence, six key points."""

    box: tuple[float, float, float, float]  # x0, y0, x1, y1
    score: float
    keypoints: F32  # (6, 2) right eye, left eye, nose tip, mouth, right ear, left ear (the subject's)


class FaceNetworks:
    """Detector, Face Mesh, selfie segmentation and hands; built when first used, closed with the context.

    Raises: Missing, when mediapipe is not installed.
    """

    def __init__(self) -> None:
        self._graphs: dict[str, Any] = {}

    def __enter__(self) -> FaceNetworks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with quiet_stderr():
            for graph in self._graphs.values():
                graph.close()
        self._graphs.clear()

    def detect(self, rgb: U8, threshold: float = 0.5) -> list[Detection]:
        """Faces in ``(H, W, 3)`` sRGB; best are square pictures whose faces span 8 % to 60 % of the side."""
        found = self._run("detector", rgb, threshold).detections or []
        height, width = rgb.shape[:2]
        detections = []
        for d in found:
            box = d.location_data.relative_bounding_box
            keypoints = np.array([[k.x, k.y] for k in d.location_data.relative_keypoints], np.float32)
            x0, y0 = box.xmin * width, box.ymin * height
            detections.append(
                Detection(
                    (x0, y0, x0 + box.width * width, y0 + box.height * height),
                    float(d.score[0]),
                    keypoints * np.array([width, height], np.float32),
                )
            )
        return detections

    def mesh(self, rgb: U8) -> tuple[F32, float]:
        """478 points ``(478, 3)`` in pixels of the square crop ``rgb`` (depth in the same unit) and the
        network's confidence in [0, 1] that the crop shows a face."""
        from mediapipe.framework.formats import rect_pb2

        whole = rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1.0, height=1.0, rotation=0.0)
        result = self._run("mesh", {"image": np.ascontiguousarray(rgb), "roi": whole})
        side = rgb.shape[0]
        points = np.array([[p.x, p.y, p.z] for p in result.landmarks.landmark], np.float32) * side
        return points, float(getattr(result, _MESH_SCORE))

    def person(self, rgb: U8) -> F32:
        """Probability ``(H, W)`` in [0, 1] that a pixel of ``(H, W, 3)`` is of a person near the camera."""
        mask = self._run("selfie", rgb).segmentation_mask
        return np.clip(np.asarray(mask, np.float32), 0.0, 1.0)

    def hands(self, rgb: U8) -> list[F32]:
        """Joints ``(21, 2)`` in pixels of the hands in ``(H, W, 3)``, at most two, in MediaPipe's order."""
        found = self._run("hands", rgb).multi_hand_landmarks or []
        height, width = rgb.shape[:2]
        return [np.array([[p.x * width, p.y * height] for p in hand.landmark], np.float32) for hand in found]

    def _run(self, name: str, inputs: U8 | dict[str, Any], threshold: float = 0.5) -> Any:
        if not isinstance(inputs, dict):
            inputs = np.ascontiguousarray(inputs)
        key = f"{name}{threshold}"
        if key in self._graphs:
            return self._graphs[key].process(inputs)
        with quiet_stderr():  # the logs come with the graph's birth and its first picture
            self._graphs[key] = _build(name, threshold)
            return self._graphs[key].process(inputs)


def _build(name: str, threshold: float) -> Any:
    try:
        from mediapipe.python.solution_base import SolutionBase
        from mediapipe.python.solutions import face_detection, hands, selfie_segmentation
    except ImportError as error:
        raise Missing(
            f"mediapipe cannot be imported ({error}); install it with `pip install likeness`"
        ) from None
    if name == "detector":
        return face_detection.FaceDetection(min_detection_confidence=threshold, model_selection=1)
    if name == "selfie":
        return selfie_segmentation.SelfieSegmentation(model_selection=0)
    if name == "hands":
        return hands.Hands(static_image_mode=True, max_num_hands=2, min_detection_confidence=threshold)
    return SolutionBase(
        graph_config=_MESH_GRAPH,
        calculator_params={_MESH_THRESHOLD: 0.0},  # the points are wanted with whatever confidence
        outputs=["landmarks", _MESH_SCORE],
    )
