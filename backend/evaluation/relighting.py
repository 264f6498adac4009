"""Relighting: the reconstruction rendered in Cycles as the truth was, under lights that neither was made in.

The avatar is brought into the truth's head space (a copy of its folder, moved), so that camera and light are
the truth's own to the last digit; in the photo's view the camera is the method's. Blender runs in its own
process (``backend.export.blender_process``). Pictures are compared on the truth's visible face, as sRGB
under the Standard view transform.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, Run
from backend.colour import srgb_to_linear
from backend.errors import BadInput
from backend.evaluation.align import Similarity
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
from backend.evaluation.registration import (
    PHOTO,
    camera_of,
    moved_camera,
    onto_truth,
    record_of,
    same_picture,
)
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.side_by_side import save_pair
from backend.evaluation.texture_metrics import to_srgb
from backend.evaluation.truth_masks import face_of
from backend.export.blender_process import RENDER_TIMEOUT_S, BlenderProcess
from blender_addon.bundle import Avatar, SparseOffsets, write_manifest, write_mesh

SIDE_PX = 384  # the longer side of what is rendered and compared: sixty cases must end in a night
SAMPLES = 48
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
    move = onto_truth(case, prediction)
    with tempfile.TemporaryDirectory(prefix="likeness-relit-") as scratch:
        for view, listed in _by_view(case).items():
            truth = case.view(view)
            camera = truth_camera(prediction, move, view, camera_of(truth.camera))
            folder = moved_copy(prediction.avatar, move, camera, Path(scratch) / view)
            width, height = small_size(camera.width_px, camera.height_px)
            mask = _reduced(face_of(truth).astype(np.float32), width, height) > _FULLY
            for picture, path in listed:
                hdri = find_hdri(picture.hdri, case)
                own = _render(blender, folder, picture, hdri, Path(scratch) / "render.png", samples)
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


def truth_camera(prediction: Prediction, move: Similarity, view: str, truth: Camera) -> Camera:
    """The camera of ``view`` in the truth's head space, for an avatar moved by ``move``.

    The photo's view keeps the method's own camera, brought along, so that pixels stay where the method put
    them.
    """
    if view != PHOTO:
        return truth
    own = same_picture(camera_of(prediction.avatar.manifest.camera), truth.width_px, truth.height_px)
    return moved_camera(own, move.inverse())


def moved_copy(avatar: Avatar, move: Similarity, camera: Camera, folder: Path) -> Path:
    """The avatar in another head space, its photo camera ``camera``, as an avatar folder. Raises: OSError."""
    folder.mkdir(parents=True)
    mesh, manifest = avatar.mesh, avatar.manifest
    offsets = mesh.expressions
    turn = (move.scale * move.rotation).T
    write_mesh(
        folder,
        replace(
            mesh,
            vertices_neutral_head=move.apply(mesh.vertices_neutral_head).astype(np.float32),
            eye_centres_head=move.apply(mesh.eye_centres_head).astype(np.float32),
            expressions=SparseOffsets(
                offsets.start, offsets.vertex, (offsets.offset.astype(np.float64) @ turn).astype(np.float32)
            ),
        ),
    )
    centres = move.apply(np.array(manifest.eyes.centres)).tolist()
    write_manifest(
        folder,
        msgspec.structs.replace(
            manifest,
            camera=record_of(camera),
            displacement_scale_m=manifest.displacement_scale_m * move.scale,
            eyes=msgspec.structs.replace(manifest.eyes, centres=(tuple(centres[0]), tuple(centres[1]))),
        ),
    )
    for name in ("maps", "proxies"):
        if (avatar.directory / name).is_dir():
            shutil.copytree(avatar.directory / name, folder / name)
    return folder


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


def _render(
    blender: BlenderProcess, folder: Path, picture: RelitPicture, hdri: Path, output: Path, samples: int
) -> F32:
    """The avatar in ``folder`` through its own camera in the picture's light, sRGB."""
    camera = msgspec.json.decode((folder / "avatar.json").read_bytes())["camera"]
    blender.ask(
        {
            "command": "render",
            "avatar": str(folder),
            "output": str(output),
            "view": "photo",
            "size": max(small_size(camera["width_px"], camera["height_px"])),
            "samples": samples,
            "hdri": str(hdri.absolute()),
            "rotation_degrees": picture.rotation_degrees,
            "strength": picture.strength,
            "seed": 0,
        },
        Run(),
        RENDER_TIMEOUT_S,
    )
    return read_picture(output)


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
)
