"""Importing a head, step by step: main-thread time of each, headless or in the window of a real Blender.

    likeness bench --only import [--avatar AVATAR]         headless, in this environment's bpy
    python bench/import.py AVATAR --window OUT [WHEEL]     in packaging/gui's Blender (BLENDER=trixie, sid)

AVATAR is a finished avatar folder with 1K maps or stand-ins. In the window a timer does one step per tick; a
stall is a step and all that Blender does before it calls the timer again: evaluation of the scene and drawing
included. WHEEL is msgspec's for that Blender's Python, as packaging/build_extension.py downloads it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
INSIDE = Path("/input")  # where packaging/gui/run.sh shows the folder handed to it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--window", nargs="+", type=Path, metavar=("OUT", "WHEEL"), required=True)
    options = parser.parse_args()
    out = options.window[0]
    _run_window(options.avatar, out, options.window[1] if len(options.window) > 1 else None)
    record = json.loads((out / "import.json").read_text())
    _report(f"Blender {record['blender']} in its window: the steps", record["steps"][-1])
    _report("the same with what Blender does before the next tick", record["stalls"][-1])
    print(f"a redraw of the window alone: {1000 * statistics.median(record['redraws']):.0f} ms")


def measure(setting: Any, sheet: Any) -> None:
    """Headless. On a machine that is shared, the processor's own time says more than the clock."""
    from backend.bench.scenes import avatar_of
    from backend.bench.sheet import YARDSTICK, yardstick

    avatar = avatar_of(setting)
    import bpy

    manifest = json.loads((avatar / "avatar.json").read_text())
    sheet.workload(
        f"{'a given avatar' if setting.avatar else 'the astronaut'}, schema {manifest['schema']}, "
        f"{bpy.app.version_string}; processor time of the main thread"
    )
    for number in range(setting.repeat + 1):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        start = time.perf_counter()
        taken = list(_busy_steps(avatar))
        wall = time.perf_counter() - start
        if number == 0:  # warms disk and memory
            continue
        for name, milliseconds in {**_sums(taken), **_extremes(taken)}.items():
            sheet.value(name, milliseconds, "ms", YARDSTICK)
        sheet.value("all steps by the clock", 1e3 * wall, "ms")
        sheet.value(YARDSTICK, 1e3 * yardstick(time.thread_time), "ms")


def _busy_steps(avatar: Path) -> Iterator[tuple[str, float]]:
    """Name and processor seconds of every step."""
    steps = _steps(avatar)
    while True:
        start = time.thread_time()
        name = next(steps, None)
        if name is None:
            return
        yield name, time.thread_time() - start


def _sums(taken: list[tuple[str, float]]) -> dict[str, float]:
    """Milliseconds by kind of step."""
    sums: dict[str, float] = {}
    for name, seconds in taken:
        sums[name] = sums.get(name, 0.0) + 1e3 * seconds
    return sums


def _extremes(taken: list[tuple[str, float]]) -> dict[str, float]:
    return {
        "all steps": 1e3 * sum(seconds for _, seconds in taken),
        "longest step": 1e3 * max(seconds for _, seconds in taken),
    }


def _steps(avatar: Path) -> Iterator[str]:
    from blender_addon.scene.importing import ImportOptions, import_steps

    return import_steps(avatar, ImportOptions(), collection_uuid="bench")


def _report(title: str, taken: list[tuple[str, float]]) -> None:
    print(title)
    for name, milliseconds in {**_sums(taken), **_extremes(taken)}.items():
        print(f"  {name:28s} {milliseconds:7.1f} ms")


def _run_window(avatar: Path, out: Path, wheel: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder)
        shutil.copytree(REPOSITORY / "blender_addon", shared / "blender_addon")
        shutil.copytree(avatar, shared / "avatar")
        if wheel is not None:
            zipfile.ZipFile(wheel).extractall(shared)
        run = REPOSITORY / "packaging" / "gui" / "run.sh"
        subprocess.run(["bash", run, __file__, out, shared], check=True)


def _in_window() -> None:
    """Inside Blender: import with a timer, once to warm up and once to time, then quit."""
    import bpy

    sys.path.insert(0, str(INSIDE))
    record: dict[str, Any] = {"blender": bpy.app.version_string, "steps": [], "stalls": [], "redraws": []}

    def ticks() -> Iterator[float]:
        """Yields how long Blender may go on before the next tick."""
        from blender_addon.scene.importing import remove

        for _ in range(2):
            remove("bench")
            yield 0.5  # let the window come to rest
            steps: list[tuple[str, float]] = []
            stalls: list[tuple[str, float]] = []
            start = time.perf_counter()
            for name in _steps(INSIDE / "avatar"):
                steps.append((name, time.perf_counter() - start))
                yield 0.0
                stalls.append((name, time.perf_counter() - start))
                start = time.perf_counter()
            for _ in range(4):  # what drawing alone costs in this window
                for area in bpy.context.window_manager.windows[0].screen.areas:
                    area.tag_redraw()
                start = time.perf_counter()
                yield 0.0
                record["redraws"].append(time.perf_counter() - start)
            record["steps"].append(steps)
            record["stalls"].append(stalls)
            Path("/out/import.json").write_text(json.dumps(record))
        bpy.ops.wm.quit_blender()

    work = ticks()
    bpy.app.timers.register(lambda: next(work, None), first_interval=2.0)


if __name__ == "__main__":
    if INSIDE.is_dir() and Path("/scenario").is_dir():
        _in_window()
    elif len(sys.argv) == 2 and sys.argv[1].startswith("{"):  # as `likeness bench` starts it
        from backend.bench import sheet

        sys.exit(sheet.main(measure))
    else:
        main()
