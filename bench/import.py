"""Importing a head, step by step: main-thread time of each, headless or in the window of a real Blender.

    python bench/import.py AVATAR [--repeat 3]             headless, in this environment's bpy
    python bench/import.py AVATAR --window OUT [WHEEL]     in packaging/gui's Blender (BLENDER=trixie, sid)

AVATAR is a finished avatar folder with 1K maps or stand-ins. In the window a timer does one step per tick; a
stall is a step and all that Blender does before it calls the timer again: evaluation of the scene and drawing
included. WHEEL is msgspec's for that Blender's Python, as packaging/build_extension.py downloads it.
"""

from __future__ import annotations

import argparse
import json
import os
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--window", nargs="+", type=Path, metavar=("OUT", "WHEEL"))
    options = parser.parse_args()
    if options.window:
        out = options.window[0]
        _run_window(options.avatar, out, options.window[1] if len(options.window) > 1 else None)
        record = json.loads((out / "import.json").read_text())
        _report(f"Blender {record['blender']} in its window: the steps", record["steps"][-1:])
        _report("the same with what Blender does before the next tick", record["stalls"][-1:])
        print(f"a redraw of the window alone: {1000 * statistics.median(record['redraws']):.0f} ms")
        return
    os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp())
    sys.path.insert(0, str(REPOSITORY))
    import bpy

    wall, busy = [], []
    for _ in range(options.repeat + 1):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        steps = _steps(options.avatar)
        wall.append([])
        busy.append([])
        while True:
            start, start_busy = time.perf_counter(), time.thread_time()
            name = next(steps, None)
            if name is None:
                break
            busy[-1].append((name, time.thread_time() - start_busy))
            wall[-1].append((name, time.perf_counter() - start))
    _report(f"bpy {bpy.app.version_string}, headless", wall[1:])
    # On a machine that is shared, the processor's own time says more than the clock.
    _report("the same in processor time of the main thread", busy[1:])


def _steps(avatar: Path) -> Iterator[str]:
    from blender_addon.scene.importing import ImportOptions, import_steps

    return import_steps(avatar, ImportOptions(), collection_uuid="bench")


def _report(title: str, rounds: list[list[tuple[str, float]]]) -> None:
    """Milliseconds by kind of step, medians over rounds."""
    print(title)
    by_name: dict[str, list[float]] = {}
    for taken in rounds:
        sums: dict[str, float] = {}
        for name, seconds in taken:
            sums[name] = sums.get(name, 0.0) + seconds
        for name, seconds in sums.items():
            by_name.setdefault(name, []).append(1000 * seconds)
    for name, times in by_name.items():
        print(f"  {name:28s} {statistics.median(times):7.1f} ms")
    totals = [1000 * sum(seconds for _, seconds in taken) for taken in rounds]
    worst = [1000 * max(seconds for _, seconds in taken) for taken in rounds]
    print(f"  total {statistics.median(totals):.0f} ms, longest step {statistics.median(worst):.0f} ms")


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
    else:
        main()
