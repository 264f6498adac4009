"""``python -m synthdata.cycles.dome_worker FOLDER``: a person's moments from all sides, in one Blender."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np

from backend.head.registry import load_head
from synthdata.cycles import shoot
from synthdata.cycles.dome_job import (
    JOB_NAME,
    LIGHT_NAME,
    DomeJob,
    chart_path,
    shaded_path,
    sitter_path,
    views_path,
)
from synthdata.cycles.process import baked, camera_record, leave, read_chart
from synthdata.cycles.stage import Sitter, build_stage, dress_up


def main() -> None:
    """Do the job in the folder that is the one argument."""
    folder = Path(sys.argv[1])
    job = msgspec.json.decode((folder / JOB_NAME).read_bytes(), type=DomeJob)
    head = load_head(job.head)
    radiance = np.load(folder / LIGHT_NAME).astype(np.float32)
    for moment, mouth_open in enumerate(job.mouth_open):
        with np.load(sitter_path(folder, moment)) as arrays:
            sitter = Sitter(
                head=head,
                looks=job.looks,
                iris_srgb=job.iris_srgb,
                subsurface=job.subsurface,
                mouth_open=mouth_open,
                **{name: arrays[name] for name in arrays.files},
            )
        # Vertices, relief and what hangs on them all differ: a new scene costs less than a picture.
        stage = build_stage(sitter)
        shoot.light_from(stage, radiance, job.turn_degrees, np.array(job.colour, np.float32))
        dress_up(stage, sitter, job.dress)
        taken = [
            shoot.take(stage, camera_record(camera), None, job.samples, job.seed + number)
            for number, camera in enumerate(job.cameras)
        ]
        np.savez(
            views_path(folder, moment),
            rgba=np.stack([one.rgba_linear for one in taken]).astype(np.float32),
            covers=np.stack([np.rint(255 * one.covers).astype(np.uint8) for one in taken]),
        )
        lit = baked(stage, read_chart(chart_path(folder, moment)), job.samples, job.seed, from_camera=False)
        np.save(shaded_path(folder, moment), lit.astype(np.float32))


if __name__ == "__main__":
    leave(main)
