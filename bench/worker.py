"""The server's worker: seconds from submit to mesh, first albedo, maps and done; pins and poses.

    python bench/worker.py [PHOTO] [--maps 1024]

Rows: the first job of a process (models load meanwhile), another photo warm (the same, mirrored), the
same photo again, another seed, a painted mask, a pin. The demo's astronaut is taken when no photo is given.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from backend.server.worker_protocol import (
    DriveDone,
    Freed,
    FreeMemory,
    FromWorker,
    Heartbeat,
    JobDone,
    JobFailed,
    PartialReady,
    Ready,
    RefineDone,
    RequestFailed,
    RunDrive,
    RunJob,
    RunRefine,
    Stop,
    Writer,
    reader_from_worker,
)
from blender_addon.landmarks import read_landmarks
from blender_addon.protocol import Options, Pin

COLUMNS = ("mesh", "albedo", "maps", "done")


class Bench:
    """One worker process."""

    def __init__(self, data: Path) -> None:
        self.start = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backend.server.worker", "--data", str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(data / "worker.log").open("wb"),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer = Writer(self._process.stdin)
        self._reader = reader_from_worker(self._process.stdout)

    def ask(self, message: Any, *kinds: type) -> list[tuple[float, FromWorker]]:
        """Everything told up to one of ``kinds``, with the seconds since ``message`` was sent."""
        start = time.perf_counter()
        if message is not None:
            self._writer.send(message)
        told: list[tuple[float, FromWorker]] = []
        while (got := self._reader.receive()) is not None:
            told.append((time.perf_counter() - start, got))
            if isinstance(got, kinds):
                return told
        raise SystemExit("the worker ended")

    def end(self) -> None:
        self._writer.send(Stop())
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--maps", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), options.photo, options.maps)


def _measure(data: Path, photo: Path | None, maps: int) -> None:
    (data / "jobs").mkdir()
    first, mirrored, mask = data / "first.png", data / "mirrored.png", data / "mask.png"
    if photo is None:
        from skimage import data as pictures

        picture = Image.fromarray(pictures.astronaut())
    else:
        picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    picture.save(first)
    ImageOps.mirror(picture).save(mirrored)
    painted = np.zeros((picture.height, picture.width), np.uint8)
    painted[: picture.height // 4] = 255
    Image.fromarray(painted).save(mask)

    bench = Bench(data)
    print(f"worker ready after {bench.ask(None, Ready)[-1][0]:.2f} s; seconds from submit to:")
    print(f"{'':24s}" + "".join(f"{name:>9s}" for name in COLUMNS))

    def job(label: str, path: Path, **changes: Any) -> Path:
        chosen = Options(maps=maps, seed=changes.pop("seed", 0))
        directory = data / "jobs" / label.replace(" ", "-")
        order = RunJob(
            job=label,
            photo_path=str(path),
            photo_name=label,
            options=chosen,
            directory=str(directory),
            **changes,
        )
        told = bench.ask(order, JobDone, JobFailed)
        if isinstance(told[-1][1], JobFailed):
            raise SystemExit(told[-1][1].problem.message)
        partial = [(t, m) for t, m in told if isinstance(m, PartialReady)]
        row = (
            next(t for t, m in partial if m.kind == "mesh"),
            next(t for t, m in partial if m.kind == "map"),
            partial[-1][0],
            told[-1][0],
        )
        print(f"{label:24s}" + "".join(f"{t:9.2f}" for t in row), flush=True)
        return directory

    directory = job("first job", first)
    job("warm", mirrored)
    job("same again", first)
    job("another seed", first, seed=1)
    job("painted mask", first, exclude_path=str(mask))
    x, y = (float(v) for v in read_landmarks(directory).solved_px[61])
    job("pinned", first, pins=(Pin(landmark=61, x_px=x - 3, y_px=y),))

    drags = []
    for step in range(10):
        pin = Pin(landmark=61, x_px=x - step, y_px=y)
        told = bench.ask(
            RunRefine(request=step, directory=str(directory), pins=(pin,)), RefineDone, RequestFailed
        )
        drags.append(told[-1][0])
    print(f"refine: first {drags[0]:.3f} s, then median {np.median(drags[1:]):.3f} s")
    weights = np.random.default_rng(0).random((24, 52)).astype("<f4")
    poses = [
        bench.ask(
            RunDrive(request=99, directory=str(directory), frames=24, weights=weights.tobytes()),
            DriveDone,
            RequestFailed,
        )[-1][0]
        for _ in range(3)
    ]
    print(f"drive, 24 frames: first {poses[0]:.3f} s, then {poses[-1]:.3f} s")
    before = bench.ask(None, Heartbeat)[-1][1]
    freed = bench.ask(FreeMemory(), Freed)[-1][1]
    after = bench.ask(None, Heartbeat)[-1][1]
    if isinstance(before, Heartbeat) and isinstance(after, Heartbeat) and isinstance(freed, Freed):
        print(
            f"resident {(before.rss_bytes or 0) >> 20} MiB, after free memory "
            f"{(after.rss_bytes or 0) >> 20} MiB ({freed.bytes >> 20} MiB told as freed)"
        )
    kept = sum(path.stat().st_size for path in (data / "cache").rglob("*") if path.is_file())
    print(f"stage cache of both photos: {kept >> 20} MiB")
    bench.end()


if __name__ == "__main__":
    main()
