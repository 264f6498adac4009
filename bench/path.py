"""The whole path, warm: seconds per stage, photo to maps and preview, .blend and .glb, peak memory.

    python bench/path.py [PHOTO] [--maps 1024] [--repeat 3]

The first reconstruction of the process (compiling, model loading) is reported apart from the warm ones;
the demo's astronaut is taken when no photo is given.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from PIL import Image

from backend.artifacts import Run
from backend.export.avatar import write_avatar
from backend.export.blender_process import BlenderProcess, export_avatar
from backend.export.preview import preview
from backend.pipeline import reconstruct


def astronaut(folder: Path) -> Path:
    """Write scikit-image's public-domain astronaut portrait into ``folder``."""
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    return folder / "astronaut.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--maps", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo or astronaut(Path(folder))
        with BlenderProcess() as blender:
            rounds = [
                _once(photo, options.maps, Path(folder) / str(i), blender) for i in range(options.repeat + 1)
            ]
    print(
        f"{photo.name}, maps {options.maps}, first (cold) and median of {options.repeat} warm rounds, seconds"
    )
    for name in rounds[0]:
        warm = statistics.median(r[name] for r in rounds[1:])
        print(f"{name:32s} {rounds[0][name]:8.2f} {warm:8.2f}")
    print(f"peak RSS of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _once(photo: Path, maps: int, directory: Path, blender: BlenderProcess) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    result = reconstruct(photo, maps=maps, run=Run())
    for stage in result.stages:
        seconds[stage.name] += stage.seconds
    directory.mkdir()
    write_avatar(result, directory / "without", blender=None, overwrite=False, run=Run())
    seconds["photo to maps and preview"] = time.perf_counter() - start
    start = time.perf_counter()
    Image.fromarray(preview(result)).save(directory / "preview.png", compress_level=3)
    seconds["preview.png once more"] = time.perf_counter() - start
    start = time.perf_counter()
    export_avatar(directory / "without", Run(), blender=blender)
    seconds[".blend and .glb"] = time.perf_counter() - start
    return dict(seconds)


if __name__ == "__main__":
    main()
