"""``python -m synthdata.cycles.worker FOLDER``: renders a job's photographs in a Blender of its own.

Long loops in one Blender degrade, and a crash must not take the run with it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.head.registry import load_head
from backend.uvspace.seams import dilate
from blender_addon.bundle import CameraRecord
from synthdata.cycles import shoot
from synthdata.cycles.job import (
    CHART_NAME,
    EVEN_NAME,
    JOB_NAME,
    SITTER_NAME,
    SPENT_NAME,
    RenderJob,
    light_path,
    shot_path,
)
from synthdata.cycles.stage import Sitter, Stage, build_stage, dress_up

_BAKE_SHARE = 0.15  # of a picture's samples, for each texel, before noise is taken out
_LEAST_SAMPLES = 4
_PAD_TEXELS = 8
_LOOK_EVERY_S = 2.0


def main() -> None:
    """Do the job in the folder that is the one argument."""
    _follow_parent()
    folder = Path(sys.argv[1])
    start = time.process_time()
    job = msgspec.json.decode((folder / JOB_NAME).read_bytes(), type=RenderJob)
    with np.load(folder / SITTER_NAME) as arrays:
        sitter = Sitter(
            head=load_head(job.head),
            looks=job.looks,
            iris_srgb=job.iris_srgb,
            subsurface=job.subsurface,
            mouth_open=job.mouth_open,
            **{name: arrays[name] for name in arrays.files},
        )
    stage = build_stage(sitter)
    spent = {"start": time.process_time() - start}
    begun = time.process_time()
    shoot.light_even(stage)
    with np.load(folder / CHART_NAME) as arrays:
        chart = Chart(arrays["inside"], arrays["albedo_linear"], arrays["normal_head"])
    np.save(folder / EVEN_NAME, _baked(stage, job, chart, 0, from_camera=False))
    spent["even"] = time.process_time() - begun
    for number in range(len(job.shots)):
        _shoot(stage, sitter, job, chart, folder, number, spent)
    (folder / SPENT_NAME).write_bytes(msgspec.json.encode(spent))


def _follow_parent() -> None:
    """End when the process that wants the pictures has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Chart:
    """What bakes are cleaned by."""

    inside: NDArray[np.bool_]  # (S, S)
    albedo_linear: F32  # (S, S, 3)
    normal_head: F32  # (S, S, 3)


def _baked(stage: Stage, job: RenderJob, chart: Chart, seed: int, from_camera: bool) -> F32:
    samples = max(int(_BAKE_SHARE * job.samples), _LEAST_SAMPLES)
    noisy = dilate(shoot.bake(stage, job.texels, samples, seed, from_camera), chart.inside, _PAD_TEXELS)
    return shoot.denoised(noisy, chart.albedo_linear, chart.normal_head)


def _shoot(
    stage: Stage,
    sitter: Sitter,
    job: RenderJob,
    chart: Chart,
    folder: Path,
    number: int,
    spent: dict[str, float],
) -> None:
    shot = job.shots[number]
    begun = time.process_time()
    radiance = np.load(light_path(folder, number)).astype(np.float32)
    shoot.light_from(stage, radiance, shot.turn_degrees, np.array(shot.colour, np.float32))
    wall = None
    if shot.shade is not None:
        to_light, into_shade = (np.array(way) for way in shot.shade)
        wall = shoot.shade_half(stage, to_light, into_shade)
    dress_up(stage, sitter, shot.dress)
    spent[f"dress {number}"] = time.process_time() - begun
    begun = time.process_time()
    camera = CameraRecord(
        focal_px=shot.camera.focal_px,
        principal_px=shot.camera.principal_px,
        width_px=shot.camera.width_px,
        height_px=shot.camera.height_px,
        world_to_camera=shot.camera.world_to_camera,  # type: ignore[arg-type]
        focal_source="exif",
    )
    taken = shoot.take(stage, camera, shoot.Focus(shot.f_number, shot.focus_m), job.samples, shot.seed)
    spent[f"portrait {number}"] = time.process_time() - begun
    begun = time.process_time()
    lit = _baked(stage, job, chart, shot.seed, from_camera=True)
    spent[f"bake {number}"] = time.process_time() - begun
    shoot.take_away(wall)
    np.savez(
        shot_path(folder, number),
        rgba=taken.rgba_linear.astype(np.float32),
        covers=np.rint(255 * taken.covers).astype(np.uint8),
        t_env=lit.astype(np.float32),
    )


def _leave() -> NoReturn:
    """Do the job, then end at once: the destructors of Blender's module can wait for ever."""
    code = 0
    try:
        main()
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave()
