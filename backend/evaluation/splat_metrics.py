"""Splats: pictures of novel views and expressions against truth, and frames per second.

Functions over rendered pictures; whoever draws splats hands them in. Splats show the photograph's own light,
and no case has truth in that light from other views yet: the group says so and gives no figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.image_metrics import psnr_db, ssim
from backend.evaluation.registry import MetricGroup, MetricInfo

Picture = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Frame:
    """One novel view or expression: sRGB ``(H, W, 3)`` in [0, 1] and masks ``(H, W)`` of the truth."""

    rendered: Picture
    truth: Picture
    face: NDArray[Any]
    head: NDArray[Any]


def compare_frames(frames: Iterable[Frame]) -> dict[str, float | None]:
    """PSNR and SSIM on the face and on the whole head, each the mean over the frames where it is known."""
    found: dict[str, list[float]] = {f"splat_{m}": [] for m in _PICTURE_METRICS}
    for frame in frames:
        for where, mask in (("face", frame.face), ("head", frame.head)):
            for name, value in (
                (f"splat_{where}_psnr_db", psnr_db(frame.rendered, frame.truth, mask)),
                (f"splat_{where}_ssim", ssim(frame.rendered, frame.truth, mask)),
            ):
                if value is not None:
                    found[name].append(value)
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def frames_per_second(
    draw: Callable[[int], object],
    frames: int,
    *,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How many frames a second ``draw(index)`` makes: the inverse of its median time after ``warm_up``.

    ``draw`` must return only when its picture is there. Raises: ValueError for no frames.
    """
    if frames < 1:
        raise ValueError("frames per second need at least one frame")
    for index in range(warm_up):
        draw(index)
    seconds = []
    for index in range(frames):
        start = clock()
        draw(index)
        seconds.append(clock() - start)
    return 1 / max(float(np.median(seconds)), 1e-9)


_PICTURE_METRICS = ("face_psnr_db", "face_ssim", "head_psnr_db", "head_ssim")

GROUPS = (
    MetricGroup(
        name="splats",
        metrics={
            "splat_face_psnr_db": MetricInfo("Splats, PSNR on the face", "dB", "higher"),
            "splat_face_ssim": MetricInfo("Splats, SSIM on the face", "", "higher", 3),
            "splat_head_psnr_db": MetricInfo("Splats, PSNR on the head", "dB", "higher"),
            "splat_head_ssim": MetricInfo("Splats, SSIM on the head", "", "higher", 3),
            "splat_frames_per_second": MetricInfo("Splats, frames per second", "1/s", "higher", 0),
        },
        lacks=("views in the photo's light",),
    ),
)
