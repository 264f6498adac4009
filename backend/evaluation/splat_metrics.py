"""What is shown as captured, against truth in the photo's own light: other views, and another expression.

An engine is judged by its splats; ``no-delight`` stands beside it as the mesh with the photo's texture, which
splats have to beat. Drawing speed is measured by ``likeness bench``: reports hold no times, so that they are
the same whenever they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.errors import BadInput
from backend.evaluation.captured_look import GREY_SRGB, captured_look, with_expression
from backend.evaluation.case_schema import NovelPicture
from backend.evaluation.cases import Case
from backend.evaluation.image_metrics import psnr_db, ssim
from backend.evaluation.prediction import Prediction
from backend.evaluation.registration import camera_of, moved_camera, onto_truth
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.side_by_side import save_pair

_CHIN = 152  # of Face Mesh
_BELOW_CHIN_M = 0.03  # further down, clothes and the end of the bust begin
_WIDENED = 1 / 80  # of the picture: an outline in the wrong place counts on both its sides

Picture = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Frame:
    """One picture beside its truth: sRGB ``(H, W, 3)`` in [0, 1] and masks ``(H, W)`` of the truth."""

    rendered: Picture
    truth: Picture
    face: NDArray[Any]
    head: NDArray[Any]


def compare_frames(frames: Iterable[Frame]) -> dict[str, float | None]:
    """PSNR and SSIM on the face and on the whole head, each the mean over the frames where it is known."""
    found: dict[str, list[float]] = {name: [] for name in _PICTURE_METRICS}
    for frame in frames:
        for where, mask in (("face", frame.face), ("head", frame.head)):
            for name, value in (
                (f"{where}_psnr_db", psnr_db(frame.rendered, frame.truth, mask)),
                (f"{where}_ssim", ssim(frame.rendered, frame.truth, mask)),
            ):
                if value is not None:
                    found[name].append(value)
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def novel_pictures(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """Figures of the views at ±30° and ±45° and of the moved face; {} for a method that shows neither.

    Raises: BadInput (damaged pictures or splats), ValueError (too few key points).
    """
    draw = captured_look(prediction)
    if draw is None:
        return {}
    turn = onto_truth(case, prediction)
    chin = case.landmarks.get("points478_head")
    frames: dict[str, list[Frame]] = {}
    for picture, folder in case.novel():
        truth, cover = _over_grey(folder / picture.file, picture)
        face = _read(folder / picture.face_file, picture)
        camera = camera_of(picture.camera)
        vertices = with_expression(prediction.avatar.mesh, picture.expression)
        own = np.clip(draw(moved_camera(camera, turn), vertices), 0, 1)
        head = head_mask(cover, camera, None if chin is None else chin[_CHIN])
        frame = Frame(own, truth, (face[..., 0] > 0.5) & head, head)
        frames.setdefault(_kind(picture), []).append(frame)
        save_pair(pictures / f"novel_{Path(picture.file).stem}.png", truth, own, head)
    return {
        f"{kind}_{name}": value
        for kind, listed in frames.items()
        if kind in _KINDS
        for name, value in compare_frames(listed).items()
    }


def head_mask(cover: F32, camera: Camera, chin_head: Sequence[float] | None) -> NDArray[np.bool_]:
    """``(H, W)``: the covered pixels and a rim about them, down to a little below the chin if it is known."""
    side = 2 * round(_WIDENED * max(cover.shape)) + 1
    mask: NDArray[np.bool_] = cv2.dilate((cover > 0.5).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    if chin_head is not None and np.isfinite(chin_head).all():
        below = np.asarray(chin_head, np.float64) - (0.0, _BELOW_CHIN_M, 0.0)
        mask[max(int(camera.project(below[None])[0][0, 1]), 0) :] = False
    return mask


def _kind(picture: NovelPicture) -> str:
    return "novel_expression" if picture.expression is not None else f"novel{abs(picture.turn_degrees):.0f}"


def _over_grey(path: Path, picture: NovelPicture) -> tuple[F32, F32]:
    rgba = _read(path, picture)
    if rgba.shape[-1] != 4:
        raise BadInput(f"'{path}' has no transparency; render the case's novel pictures again")
    cover = rgba[..., 3]
    return rgba[..., :3] * cover[..., None] + (1 - cover[..., None]) * np.float32(GREY_SRGB), cover


def _read(path: Path, picture: NovelPicture) -> F32:
    """``(H, W, C)`` in [0, 1], RGB(A). Raises: BadInput."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BadInput(f"'{path}' is not a picture that can be read; render the case's novel pictures again")
    size = (picture.camera.height_px, picture.camera.width_px)
    if image.shape[:2] != size:
        found = f"{image.shape[1]}×{image.shape[0]}"
        raise BadInput(f"'{path}' is {found}, its camera's picture {size[1]}×{size[0]}")
    if image.ndim == 2:
        image = image[..., None]
    channels = [2, 1, 0, 3][: image.shape[-1]] if image.shape[-1] > 1 else [0]
    return np.asarray(image[..., channels], np.float32) / np.float32(np.iinfo(image.dtype).max)


_PICTURE_METRICS = ("face_psnr_db", "face_ssim", "head_psnr_db", "head_ssim")
_KINDS = {"novel30": "±30°", "novel45": "±45°", "novel_expression": "moved"}


def _infos(kind: str, words: str) -> dict[str, MetricInfo]:
    label = f"As captured, {words}"
    return {
        f"{kind}_face_psnr_db": MetricInfo(f"{label}: PSNR, face", "dB", "higher"),
        f"{kind}_face_ssim": MetricInfo(f"{label}: SSIM, face", "", "higher", 3),
        f"{kind}_head_psnr_db": MetricInfo(f"{label}: PSNR, head", "dB", "higher"),
        f"{kind}_head_ssim": MetricInfo(f"{label}: SSIM, head", "", "higher", 3),
    }


GROUPS = (
    MetricGroup(
        name="splats",
        metrics={name: info for kind, words in _KINDS.items() for name, info in _infos(kind, words).items()},
        measure=novel_pictures,
        needs=("landmarks", "novel pictures"),
        wants_splats=True,
    ),
)
