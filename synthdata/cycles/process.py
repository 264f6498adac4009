"""What every process with Blender does: follow its parent, bake, read cameras, end."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.training.schema import CameraMeta
from backend.uvspace.seams import dilate
from blender_addon.bundle import CameraRecord
from synthdata.cycles import shoot
from synthdata.cycles.stage import Stage

_BAKE_SHARE = 0.15  # of a picture's samples, for each texel, before noise is taken out
_LEAST_SAMPLES = 3
_PAD_TEXELS = 8
_LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class Chart:
    """What bakes are cleaned by."""

    inside: NDArray[np.bool_]  # (S, S)
    albedo_linear: F32  # (S, S, 3)
    normal_head: F32  # (S, S, 3)


def read_chart(path: Path) -> Chart:
    """As ``unit`` and ``views.rendered`` write it."""
    with np.load(path) as arrays:
        return Chart(arrays["inside"], arrays["albedo_linear"], arrays["normal_head"])


def baked(stage: Stage, chart: Chart, picture_samples: int, seed: int, from_camera: bool) -> F32:
    """The skin's light on its chart ``(S, S, 3)`` without noise."""
    samples = max(int(_BAKE_SHARE * picture_samples), _LEAST_SAMPLES)
    noisy = shoot.bake(stage, len(chart.inside), samples, seed, from_camera)
    return shoot.denoised(dilate(noisy, chart.inside, _PAD_TEXELS), chart.albedo_linear, chart.normal_head)


def camera_record(camera: CameraMeta) -> CameraRecord:
    """The metadata's camera as Blender's builders take it."""
    return CameraRecord(
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        width_px=camera.width_px,
        height_px=camera.height_px,
        world_to_camera=camera.world_to_camera,  # type: ignore[arg-type]
        focal_source="exif",
    )


def leave(main: Callable[[], None]) -> NoReturn:
    """Run ``main`` while the parent lives, then end at once: Blender's destructors can wait for ever."""
    _follow_parent()
    code = 0
    try:
        main()
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _follow_parent() -> None:
    """End when the process that wants the pictures has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
