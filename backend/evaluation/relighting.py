"""Relighting: the reconstruction rendered in Cycles as the truth was, under lights that neither was made in.

The avatar stays in its own head space: the truth's camera and light are brought there by the similarity
between the two, so both heads stand in the same light before the same camera; in the photo's view the camera
is the method's. Blender runs in its own process (``backend.export.blender_process``). Pictures are compared
on the truth's visible face, as sRGB under the Standard view transform.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
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
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.side_by_side import save_pair
from backend.evaluation.texture_metrics import to_srgb
from backend.evaluation.truth_masks import face_of
from backend.export.blender_process import RENDER_TIMEOUT_S, BlenderProcess
from blender_addon.bundle import MESH_NAME, Avatar, write_manifest

SIDE_PX = 320  # the longer side of what is rendered and compared: sixty cases must end in a night
SAMPLES = 24  # denoised
_TURNED = ("left45", "right45")
_FULLY = 0.999  # of a small pixel that the face must fill

Picture = NDArray[np.floating[Any]]


def measure(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """PSNR, SSIM and gradient similarity, means over the lights, by the photo's view and ±45°."""
    with BlenderProcess() as blender:
        return relight(case, prediction, pictures, blender)


def relight(
    case: Case,
    prediction: Prediction,
    pictures: Path,
    blender: BlenderProcess,
    *,
    samples: int = SAMPLES,
    embed: FaceEmbedder | None = None,
) -> Values:
    """``measure`` with a Blender that may be warm; with ``embed`` also CSIM.

    Raises: BadInput (a light or mask that is not there), Missing (bpy), ValueError, BlenderFailed.
    """
    found: dict[str, list[dict[str, float | None]]] = {"relit": [], "relit_turned": []}
    turn = onto_truth(case, prediction).rotation
    with tempfile.TemporaryDirectory(prefix="likeness-relit-") as scratch:
        for view, listed in _by_view(case).items():
            truth = case.view(view)
            camera = own_camera(case, prediction, view, truth.camera)
            folder = with_camera(prediction.avatar, camera, Path(scratch) / view)
            width, height = small_size(camera.width_px, camera.height_px)
            mask = _reduced(face_of(truth).astype(np.float32), width, height) > _FULLY
            for picture, path in listed:
                request = render_request(
                    folder, camera, picture, find_hdri(picture.hdri, case), turn, samples
                )
                blender.ask(request, Run(), RENDER_TIMEOUT_S)
                own = read_picture(Path(request["output"]))
                # Light adds up; sRGB values do not.
                expected = to_srgb(_reduced(srgb_to_linear(read_picture(path)), width, height))
                if own.shape != expected.shape:
                    raise ValueError(f"Blender rendered {own.shape}, expected {expected.shape}")
                save_pair(pictures / f"relit_{Path(picture.file).stem}.png", expected, own, mask)
                where = "relit" if view == PHOTO else "relit_turned"
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


def with_camera(avatar: Avatar, camera: Camera, folder: Path) -> Path:
    """A copy of the avatar's folder whose photo camera is ``camera``. Raises: OSError."""
    folder.mkdir(parents=True)
    shutil.copyfile(avatar.directory / MESH_NAME, folder / MESH_NAME)
    write_manifest(folder, msgspec.structs.replace(avatar.manifest, camera=record_of(camera)))
    for name in ("maps", "proxies"):
        if (avatar.directory / name).is_dir():
            shutil.copytree(avatar.directory / name, folder / name)
    return folder


def render_request(
    folder: Path,
    camera: Camera,
    picture: RelitPicture,
    hdri: Path,
    turn: NDArray[np.float64],
    samples: int,
) -> dict[str, Any]:
    """What Blender is asked: the avatar in ``folder`` through its own ``camera`` in the picture's light.

    ``turn`` ``(3, 3)`` goes from the avatar's head space to the truth's, where the light stands.
    """
    return {
        "command": "render",
        "avatar": str(folder),
        "output": str(folder / "render.png"),
        "view": PHOTO,
        "size": max(small_size(camera.width_px, camera.height_px)),
        "samples": samples,
        "hdri": str(hdri.absolute()),
        "rotation_degrees": picture.rotation_degrees,
        "strength": picture.strength,
        "head_turn": turn.tolist(),
        "seed": 0,
    }


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


def small_size(width_px: int, height_px: int) -> tuple[int, int]:
    """The size of what is rendered: the truth's, or smaller with the longer side SIDE_PX."""
    scale = min(1.0, SIDE_PX / max(width_px, height_px))
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


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
        measure=measure,
        needs=("landmarks", "view photo", "relit pictures"),
    ),
    MetricGroup(
        name="identity",
        metrics={"relit_csim": MetricInfo("Relit CSIM", "", "higher", 3)},
        lacks=("face embedder",),  # none ships; ``relight`` takes one
    ),
)
