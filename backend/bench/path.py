"""The whole path: seconds per stage, photo to maps and preview, .blend and .glb, peak memory."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

from PIL import Image

from backend.artifacts import Run
from backend.bench.scenes import photo_of
from backend.bench.sheet import YARDSTICK, Setting, Sheet, main, reason, yardstick
from backend.errors import Missing
from backend.export.avatar import write_avatar
from backend.export.blender_process import BlenderProcess, export_avatar
from backend.export.preview import preview
from backend.pipeline import reconstruct

LARGE = "4k"
MOST_LARGE = 3  # rounds of it: each takes up to a minute and 4 GiB
TOTAL, ONCE_MORE, BLEND = "photo to maps and preview", "preview.png once more", ".blend and .glb"


def measure(setting: Setting, sheet: Sheet) -> None:
    """One cold round (compiling, model loading), written down apart, then warm ones."""
    large = setting.variant == LARGE
    photo, maps = photo_of(setting), 512 if setting.quick else 4096 if large else 1024
    rounds = min(setting.repeat, MOST_LARGE) if large else setting.repeat
    with Image.open(photo) as image:
        size = f"{image.width}×{image.height}"
    sheet.workload(f"{'a photo' if setting.photo else 'the astronaut'}, {size}, maps {maps}")
    with BlenderProcess() as process:
        blender: BlenderProcess | None = process
        try:
            process.start()  # as the command line does: it loads beside other work
        except Missing as error:
            sheet.leave_out(BLEND, reason(error))
            blender = None
        for number in range(rounds + 1):
            cold = ", cold" if number == 0 else ""
            for name, seconds in _once(photo, maps, setting.folder / str(number), blender).items():
                sheet.value(f"{name}{cold}", seconds, "s", *(() if number == 0 else (YARDSTICK,)))
            if number:
                sheet.value(YARDSTICK, yardstick(), "s")
    peak = peak_mib()
    if peak is None:
        sheet.leave_out("peak memory", "this system does not tell")
    else:
        sheet.value("peak resident memory", peak, "MiB")


def _once(photo: Path, maps: int, directory: Path, blender: BlenderProcess | None) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    result = reconstruct(photo, maps=maps, run=Run())
    for stage in result.stages:
        seconds[stage.name] += stage.seconds
    directory.mkdir()
    write_avatar(result, directory / "without", blender=None, overwrite=False, run=Run())
    seconds[TOTAL] = time.perf_counter() - start
    start = time.perf_counter()
    Image.fromarray(preview(result)).save(directory / "preview.png", compress_level=3)
    seconds[ONCE_MORE] = time.perf_counter() - start
    if blender is not None:
        start = time.perf_counter()
        export_avatar(directory / "without", Run(), blender=blender)
        seconds[BLEND] = time.perf_counter() - start
    return dict(seconds)


def peak_mib() -> float | None:
    """The most memory that this process ever held, MiB."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    units = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units


if __name__ == "__main__":
    sys.exit(main(measure))
