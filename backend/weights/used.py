"""Which models of other people took part in a reconstruction, for ``avatar.json``."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from backend.errors import Missing
from blender_addon.bundle import Weights

# Models inside MediaPipe's wheel that backend.photo runs (Apache-2.0, Google).
MEDIAPIPE_MODELS = (
    "face_detection/face_detection_full_range_sparse.tflite",
    "face_landmark/face_landmark_with_attention.tflite",
    "hand_landmark/hand_landmark_full.tflite",
    "palm_detection/palm_detection_full.tflite",
    "selfie_segmentation/selfie_segmentation.tflite",
)


def photo_weights() -> tuple[Weights, ...]:
    """Name, sha256 and licence of MediaPipe's models. Raises: Missing."""
    return tuple(
        Weights(
            name=f"mediapipe/{Path(model).name}",
            sha256=_sha256(_mediapipe_modules() / model),
            licence="Apache-2.0",
        )
        for model in MEDIAPIPE_MODELS
    )


def fetched_weights(engine: str) -> tuple[Weights, ...]:
    """Every fetched file that ``engine`` may have read, as it was recorded. Raises: BadWeights."""
    if engine != "marcus":
        return ()
    from backend.weights.catalogue import catalogue
    from backend.weights.fetch import read_record
    from backend.weights.places import weights_folder

    found = []
    for one in catalogue().values():
        record = read_record(weights_folder() / one.folder).get(one.name, {"files": {}})
        found += [
            Weights(name=f"{one.folder}/{path}", sha256=facts["sha256"], licence=one.licence)
            for path, facts in record["files"].items()
            if path.endswith((".safetensors", ".pth", ".mat"))
        ]
    return tuple(found)


def _mediapipe_modules() -> Path:
    found = importlib.util.find_spec("mediapipe")
    if found is None or found.origin is None:
        raise Missing("MediaPipe is not installed; pip install mediapipe==0.10.21")
    return Path(found.origin).parent / "modules"


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Missing(
            f"MediaPipe's model {path.name} is not in its wheel; pip install mediapipe==0.10.21"
        ) from error
