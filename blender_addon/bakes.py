"""A bake of decoded frames on Blender's main thread: one pose a turn, and the frames' way into the scene."""

from __future__ import annotations

import time
from typing import Any

import bpy

from . import waiting
from .operators.base import Refusal
from .runtime import Runtime
from .scene.splat_frames import attach_frames, posed_vertices
from .splat_bake import SplatBake
from .view import Notice, sentence

_COMING = ("starting", "ready")  # states of the backend in which there is something to wait for


def advance(current: Runtime, scene: Any) -> str | None:
    """One short step of ``current.bake``; the undo step's name when its frames came into the scene."""
    bake = current.bake
    if bake is None:
        return None
    try:
        _step(current, bake, scene)
    except LookupError as error:
        bake.fail(str(error))
    if not bake.is_over:
        return None
    current.bake = None
    current.view.touch()
    scene.frame_set(bake.frame_before)
    if bake.problem is None and not bake.cancelled:
        try:
            attach_frames(bake.head, bake.folder, bake.first, bake.last)
        except (LookupError, RuntimeError) as error:
            bake.fail(str(error))
    if bake.problem is not None:
        current.view.notice = Notice(sentence(bake.problem))
        return None
    return None if bake.cancelled else f"Bake splats of frames {bake.first} to {bake.last}"


def wait_for_bake(current: Runtime) -> None:
    """Without a window: bake to the end. Raises: Refusal."""
    if current.view.backend.state != "ready":
        waiting.until_ready(current)
    while current.bake is not None:
        current.drain(time.perf_counter() + waiting.DRAIN_SECONDS)
        advance(current, bpy.context.scene)
        if current.view.notice is not None:
            text, current.view.notice = current.view.notice.text, None
            raise Refusal(text)
        time.sleep(waiting.PAUSE_SECONDS)


def _step(current: Runtime, bake: SplatBake, scene: Any) -> None:
    if bake.settle():
        current.view.touch()
    state = current.view.backend.state
    if state not in _COMING:
        bake.fail("The backend is away; start it")
    if state != "ready":
        return
    frame = bake.next_frame()
    if frame is not None:
        scene.frame_set(frame)
        bake.pose(frame, posed_vertices(bake.head, bake.parts, bake.neutral), current.ask)
        current.view.touch()
