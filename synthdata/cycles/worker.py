"""``python -m synthdata.cycles.worker FOLDER``: renders a job's photographs in a Blender of its own.

Long loops in one Blender degrade, and a crash must not take the run with it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from backend.head.registry import load_head
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
from synthdata.cycles.process import Chart, baked, camera_record, leave, read_chart
from synthdata.cycles.stage import Sitter, Stage, build_stage, dress_up


def main() -> None:
    """Do the job in the folder that is the one argument."""
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
    chart = read_chart(folder / CHART_NAME)
    np.save(folder / EVEN_NAME, baked(stage, chart, job.samples, 0, from_camera=False))
    spent["even"] = time.process_time() - begun
    for number in range(len(job.shots)):
        _shoot(stage, sitter, job, chart, folder, number, spent)
    (folder / SPENT_NAME).write_bytes(msgspec.json.encode(spent))


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
    camera = camera_record(shot.camera)
    taken = shoot.take(stage, camera, shoot.Focus(shot.f_number, shot.focus_m), job.samples, shot.seed)
    spent[f"portrait {number}"] = time.process_time() - begun
    begun = time.process_time()
    lit = baked(stage, chart, job.samples, shot.seed, from_camera=True)
    spent[f"bake {number}"] = time.process_time() - begun
    shoot.take_away(wall)
    np.savez(
        shot_path(folder, number),
        rgba=taken.rgba_linear.astype(np.float32),
        covers=np.rint(255 * taken.covers).astype(np.uint8),
        t_env=lit.astype(np.float32),
    )


if __name__ == "__main__":
    leave(main)
