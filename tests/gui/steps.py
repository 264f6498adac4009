"""Scenarios in a real Blender window: generators of steps, driven by a timer. Runs inside Blender.

A scenario is a generator that takes a ``Session`` and yields what it waits for: seconds, or a ``Wait``.
``perform(scenario)`` runs it, writes ``result.json`` beside the screenshots in ``/out`` and ends Blender:
with 0 when every step held, else with 1, a traceback and a screenshot of the moment.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

OUT = Path("/out")
TICK_S = 0.02
QUIT_S = 30.0
HUNG = 71  # exit code of a Blender that did not quit
REDRAW_S = 0.4  # software OpenGL draws a window within this


@dataclass(frozen=True)
class Wait:
    """Goes on when ``condition`` holds; fails the scenario when it does not within ``seconds``."""

    what: str
    condition: Callable[[], bool]
    seconds: float = 30.0


Steps = Generator[float | Wait, None, None]


@dataclass(frozen=True)
class Box:
    """A part of the window in pixels of a screenshot: from the left and top, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass
class Session:
    """What a scenario has at hand, and what it leaves in ``result.json``."""

    ticks: TickTimes
    mouse: tuple[int, int] = (0, 0)  # window pixels from the left and the bottom
    step: str = "start"
    steps: list[dict[str, Any]] = field(default_factory=list)
    shots: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def window(self) -> bpy.types.Window:
        """Blender's first window; looked up each time, since loading a file makes another one."""
        return bpy.context.window_manager.windows[0]

    def begin(self, step: str) -> None:
        """Name what follows; a failure is reported under this name."""
        now = time.monotonic()
        if self.steps:
            self.steps[-1]["seconds"] = round(now - self.started, 2)
        self.step, self.started = step, now
        self.steps.append({"name": step})
        print(f"step: {step}", flush=True)

    def shot(self, name: str, region: Box | None = None) -> Steps:
        """Draw everything and save ``/out/NAME.png``; ``region`` is where the picture must not be flat."""
        redraw()
        yield REDRAW_S
        save_screen(name)
        self.shots.append({"name": name, "region": None if region is None else vars(region)})

    def expect_change(self, before: str, after: str, region: Box) -> None:
        """State that two screenshots differ in a region; checked where the pictures are compared."""
        self.changes.append({"before": before, "after": after, "region": vars(region)})


def redraw() -> None:
    """Ask every area of every window to draw itself again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            area.tag_redraw()


def save_screen(name: str) -> None:
    """Save the whole screen, as the artist sees it, to ``/out/NAME.png``."""
    subprocess.run(["import", "-window", "root", str(OUT / f"{name}.png")], check=True, timeout=60)


def screen_pixels(part: Box) -> NDArray[np.uint8]:
    """What a part of the screen shows now: H×W×3, top row first."""
    width, height = part.right - part.left, part.bottom - part.top
    crop = f"{width}x{height}+{part.left}+{part.top}"
    command = ["import", "-window", "root", "-crop", crop, "-depth", "8", "rgb:-"]
    raw = subprocess.run(command, check=True, timeout=60, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


class TickTimes:
    """How long each call of a timer function of the add-on keeps Blender's main thread."""

    def __init__(self, module_prefix: str) -> None:
        self._prefix = module_prefix
        self._milliseconds: dict[str, list[float]] = {}
        self._wrappers: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._timers = bpy.app.timers
        self._register = self._timers.register

    def watch(self) -> None:
        """From now on, time the add-on's timers; Blender's own functions stay replaced until it ends."""
        unregister, is_registered = self._timers.unregister, self._timers.is_registered
        self._timers.register = self.register
        self._timers.unregister = lambda function: unregister(self._wrappers.get(function, function))
        self._timers.is_registered = lambda function: is_registered(self._wrappers.get(function, function))

    def register(self, function: Callable[..., Any], **options: Any) -> None:
        """Register a timer; one of the add-on's is timed at every call."""
        module = getattr(function, "__module__", "") or ""
        if not module.startswith(self._prefix):
            self._register(function, **options)
            return
        name = f"{module.removeprefix(self._prefix)}.{getattr(function, '__qualname__', repr(function))}"
        kept = self._milliseconds.setdefault(name, [])

        def timed() -> float | None:
            start = time.perf_counter()
            try:
                return function()
            finally:
                kept.append(1000 * (time.perf_counter() - start))

        self._wrappers[function] = timed
        self._register(timed, **options)

    def clear(self) -> None:
        """Forget the calls so far."""
        for kept in self._milliseconds.values():
            kept.clear()

    def summary(self) -> dict[str, dict[str, float]]:
        """Calls, median and worst milliseconds of every timer function."""
        return {
            name: {
                "calls": len(kept),
                "median_ms": round(statistics.median(kept), 3),
                "worst_ms": round(max(kept), 3),
            }
            for name, kept in self._milliseconds.items()
            if kept
        }


def perform(scenario: Callable[[Session], Steps], extension: str) -> None:
    """Run a scenario once Blender's window is there, and end Blender with its result.

    ``extension`` is the package whose timers are timed, as Blender names it.
    """
    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.system.use_region_overlap = False  # a plain ground under the sidebar
    ticks = TickTimes(extension)
    ticks.watch()
    session = Session(ticks)
    steps = scenario(session)
    waiting: dict[str, Any] = {"for": None, "until": time.monotonic() + 1.0}
    longest: dict[str, float] = {}
    last = [time.perf_counter()]

    def advance() -> float | None:
        start = time.perf_counter()
        # Since our last call ended, less the pause we asked for: drawing, and everybody's timers.
        longest[session.step] = max(longest.get(session.step, 0.0), 1000 * (start - last[0] - TICK_S))
        try:
            if not _is_over(waiting):
                return TICK_S
            wanted = next(steps)
            if isinstance(wanted, Wait):
                waiting.update({"for": wanted, "until": time.monotonic() + wanted.seconds})
            else:
                waiting.update({"for": None, "until": time.monotonic() + wanted})
            return TICK_S
        except StopIteration:
            _finish(session, longest, error=None)
        except BaseException:
            _finish(session, longest, error=traceback.format_exc())
        finally:
            last[0] = time.perf_counter()
        return None

    # A file load must not stop the scenario.
    bpy.app.timers.register(advance, first_interval=1.0, persistent=True)


def _is_over(waiting: dict[str, Any]) -> bool:
    wait = waiting["for"]
    late = time.monotonic() >= waiting["until"]
    if wait is None:
        return late
    if wait.condition():
        return True
    if late:
        raise TimeoutError(f"waited {wait.seconds:g} s in vain for: {wait.what}")
    return False


def _finish(session: Session, longest: dict[str, float], error: str | None) -> None:
    if error is not None:
        print(error, file=sys.stderr, flush=True)
        try:
            save_screen("failure")
        except (OSError, subprocess.SubprocessError) as screen_error:
            error += f"\nand no screenshot: {screen_error}"
    if session.steps:
        session.steps[-1]["seconds"] = round(time.monotonic() - session.started, 2)
    result = {
        "ok": error is None,
        "failed_step": None if error is None else session.step,
        "error": error,
        "blender": bpy.app.version_string,
        "python": sys.version.split()[0],
        "steps": session.steps,
        "shots": session.shots,
        "changes": session.changes,
        "figures": session.figures,
        "ticks": session.ticks.summary(),
        "longest_gap_ms": {name: round(value, 1) for name, value in longest.items()},
    }
    (OUT / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    sys.stdout.flush()
    if error is not None:
        os._exit(1)
    bpy.ops.wm.quit_blender()  # as the artist does, so that the add-on's own farewell runs
    bpy.app.timers.register(lambda: os._exit(HUNG), first_interval=QUIT_S, persistent=True)
