"""Relighting: the reconstruction rendered in Cycles as the truth was, under lights that neither was made in.

The avatar stays in its own head space: the truth's camera and light are brought there by the similarity
between the two, so both heads stand in the same light before the same camera; in the photo's view the camera
is the method's. Blender runs in its own process (``backend.export.blender_process``), which serves many
cases. Pictures are compared on the truth's visible face, as sRGB under the Standard view transform; only the
face is drawn.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, Run
from backend.colour import srgb_to_linear
from backend.errors import BadInput
from backend.evaluation.case_schema import RelitPicture
from backend.evaluation.cases import Case
from backend.evaluation.image_metrics import (
    FaceEmbedder,
    gradient_similarity,
    identity_similarity,
    psnr_db,
    ssim,
)
from backend.evaluation.prediction import Prediction
from backend.evaluation.registration import PHOTO, onto_truth, own_camera, record_of
from backend.evaluation.registry import Measure, MetricGroup, MetricInfo, Values
from backend.evaluation.side_by_side import save_pair
from backend.evaluation.texture_metrics import to_srgb
from backend.evaluation.truth_masks import face_of
from backend.export.blender_process import RENDER_TIMEOUT_S, BlenderProcess

# Sixty cases must end in an hour; at 320 px, 24 samples and full subdivision each head takes five times as
# long. What that changes is in docs/evaluation.md.
SIDE_PX = 192  # the longer side of what is rendered and compared
SAMPLES = 8  # denoised
SUBDIVISION = 0  # levels: the head's faces are smaller than such a picture's pixels
_HEADS_PER_BLENDER = 30  # then a fresh one: long loops in one process grow slow
_MARGIN = 0.1  # of the face's box, drawn around it
_TURNED = ("left45", "right45")
_FULLY = 0.999  # of a small pixel that the face must fill

Picture = NDArray[np.floating[Any]]


@contextmanager
def opened() -> Iterator[Measure]:
    """``relight`` with a Blender that stays for many heads."""
    blender, heads = BlenderProcess(), 0

    def measure(case: Case, prediction: Prediction, pictures: Path) -> Values:
        nonlocal heads
        if heads and heads % _HEADS_PER_BLENDER == 0:
            blender.close()
        heads += 1
        return relight(case, prediction, pictures, blender)

    with blender:
        yield measure


def relight(
    case: Case,
    prediction: Prediction,
    pictures: Path,
    blender: BlenderProcess,
    *,
    samples: int = SAMPLES,
    embed: FaceEmbedder | None = None,
) -> Values:
    """PSNR, SSIM and gradient similarity, means over the lights, by the photo's view and ±45°.

    With ``embed`` also CSIM. Raises: BadInput (a light or mask that is not there), Missing (bpy),
    ValueError, BlenderFailed.
    """
    found: dict[str, list[dict[str, float | None]]] = {"relit": [], "relit_turned": []}
    turn = onto_truth(case, prediction).rotation
    with tempfile.TemporaryDirectory(prefix="likeness-relit-") as scratch:
        shots: list[dict[str, Any]] = []
        asked: list[tuple[RelitPicture, Path, Camera, NDArray[np.bool_]]] = []
        for view, listed in _by_view(case).items():
            truth = case.view(view)
            camera = small_camera(own_camera(case, prediction, view, truth.camera))
            mask = _reduced(face_of(truth).astype(np.float32), camera.width_px, camera.height_px) > _FULLY
            for picture, path in listed:
                output = Path(scratch) / f"{len(shots)}.png"
                shots.append(shot(camera, mask, picture, find_hdri(picture.hdri, case), turn, output))
                asked.append((picture, path, camera, mask))
        if shots:
            # By light: a new panorama is dearer to Cycles than a new camera.
            order = sorted(range(len(shots)), key=lambda i: (shots[i]["hdri"], i))
            request = {
                "command": "render_shots",
                "avatar": str(prediction.directory.absolute()),
                "samples": samples,
                "subdivision": SUBDIVISION,
                "shots": [shots[i] for i in order],
            }
            blender.ask(request, Run(), RENDER_TIMEOUT_S)
        for one, (picture, path, camera, mask) in zip(shots, asked, strict=True):
            own = read_picture(Path(one["output"]))
            # Light adds up; sRGB values do not.
            linear = srgb_to_linear(read_picture(path))
            expected = to_srgb(_reduced(linear, camera.width_px, camera.height_px))
            if own.shape != expected.shape:
                raise ValueError(f"Blender rendered {own.shape}, expected {expected.shape}")
            save_pair(pictures / f"relit_{Path(picture.file).stem}.png", expected, own, mask)
            where = "relit" if picture.view == PHOTO else "relit_turned"
            found[where].append(compare(own, expected, mask, embed))
    return {
        f"{where}_{name}": _mean([values[name] for values in rows])
        for where, rows in found.items()
        if rows
        for name in rows[0]
    }


def compare(
    own_srgb: Picture, truth_srgb: Picture, mask: NDArray[Any], embed: FaceEmbedder | None = None
) -> dict[str, float | None]:
    """One relit picture against truth's on the face."""
    values = {
        "psnr_db": psnr_db(own_srgb, truth_srgb, mask),
        "ssim": ssim(own_srgb, truth_srgb, mask),
        "ms_gms": gradient_similarity(own_srgb, truth_srgb, mask),
    }
    if embed is not None:
        values["csim"] = identity_similarity(embed, own_srgb, truth_srgb)
    return values


def shot(
    camera: Camera,
    mask: NDArray[np.bool_],
    picture: RelitPicture,
    hdri: Path,
    turn: NDArray[np.float64],
    output: Path,
) -> dict[str, Any]:
    """What Blender is asked to draw: the face ``mask`` ``(H, W)`` and a margin, in the picture's light.

    ``turn`` ``(3, 3)`` goes from the avatar's head space to the truth's, where the light stands.
    """
    return {
        "camera": msgspec.to_builtins(record_of(camera)),
        "output": str(output),
        "window": window_around(mask),
        "hdri": str(hdri.absolute()),
        "rotation_degrees": picture.rotation_degrees,
        "strength": picture.strength,
        "head_turn": turn.tolist(),
    }


def window_around(mask: NDArray[np.bool_]) -> list[int] | None:
    """Left, top, right and bottom (the last two exclusive) of the mask's box with a margin; None if empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return None
    height, width = mask.shape
    margin = 2 + round(_MARGIN * max(np.ptp(rows), np.ptp(columns)))
    return [
        int(max(columns[0] - margin, 0)),
        int(max(rows[0] - margin, 0)),
        int(min(columns[-1] + 1 + margin, width)),
        int(min(rows[-1] + 1 + margin, height)),
    ]


def find_hdri(name: str, case: Case) -> Path:
    """The light ``name`` (with or without .exr or .hdr): in the case's truth, or one of Blender's own.

    Raises: BadInput when it is in neither place.
    """
    places = [case.directory / "truth" / "relit", case.directory / "truth"]
    spec = importlib.util.find_spec("bpy")
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        places += sorted(package.glob("*/datafiles/studiolights/world"))
    for place in places:
        for suffix in ("", ".exr", ".hdr"):
            path = place / (name + suffix)
            if path.is_file():
                return path
    raise BadInput(
        f"the light '{name}' is neither in the case's truth/relit nor one of Blender's; put it there"
    )


def small_camera(camera: Camera) -> Camera:
    """``camera`` with a picture whose longer side is at most SIDE_PX.

    Pixels stay square; what rounding takes is taken equally from both sides.
    """
    scale = min(1.0, SIDE_PX / max(camera.width_px, camera.height_px))
    width, height = max(1, round(camera.width_px * scale)), max(1, round(camera.height_px * scale))
    principal = (
        (camera.principal_px[0] - camera.width_px / 2) * scale + width / 2,
        (camera.principal_px[1] - camera.height_px / 2) * scale + height / 2,
    )
    return Camera(camera.focal_px * scale, principal, width, height, camera.world_to_camera)


def read_picture(path: Path) -> F32:
    """An 8-bit PNG as sRGB ``(H, W, 3)`` in [0, 1]. Raises: BadInput."""
    import cv2

    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BadInput(f"'{path}' is not a picture that can be read; render the case again")
    return np.asarray(image[..., ::-1], np.float32) / np.float32(255)


def _by_view(case: Case) -> dict[str, list[tuple[RelitPicture, Path]]]:
    """The truth's relit pictures by view, of the views whose masks are there."""
    found: dict[str, list[tuple[RelitPicture, Path]]] = {}
    for picture, path in case.relit():
        if picture.view not in (PHOTO, *_TURNED):
            raise BadInput(f"case '{case.id}': {picture.file} has an unknown view '{picture.view}'")
        if case.has(f"view {picture.view}"):
            found.setdefault(picture.view, []).append((picture, path))
    return found


def _reduced(image: F32, width: int, height: int) -> F32:
    import cv2

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _infos(prefix: str, words: str) -> dict[str, MetricInfo]:
    return {
        f"{prefix}_psnr_db": MetricInfo(f"Relit PSNR{words}", "dB", "higher"),
        f"{prefix}_ssim": MetricInfo(f"Relit SSIM{words}", "", "higher", 3),
        f"{prefix}_ms_gms": MetricInfo(f"Relit gradient similarity{words}", "", "higher", 3),
    }


GROUPS = (
    MetricGroup(
        name="relighting",
        metrics=_infos("relit", "") | _infos("relit_turned", ", ±45°"),
        opened=opened,
        needs=("landmarks", "view photo", "relit pictures"),
    ),
    MetricGroup(
        name="identity",
        metrics={"relit_csim": MetricInfo("Relit CSIM", "", "higher", 3)},
        lacks=("face embedder",),  # none ships; ``relight`` takes one
    ),
)
