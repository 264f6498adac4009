"""Draws the pins over the photo in the image editor."""

from __future__ import annotations

from typing import Any

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from numpy.typing import NDArray

from . import runtime
from .pins import HANDLES, LINES, PinBoard, handle_name, to_view
from .scene.identity import ROLE_KEY, UUID_KEY

CORNERS = 16
RADIUS = 3.5  # of a handle, points
LINE = (1.0, 1.0, 1.0, 0.35)
FREE = (0.85, 0.85, 0.85, 0.9)
PINNED = (1.0, 0.55, 0.1, 1.0)
HOVERED = (1.0, 1.0, 1.0, 1.0)
RIM = (0.0, 0.0, 0.0, 0.8)

_handler: Any = None


def show() -> None:
    """Begin drawing in every image editor that shows the photo."""
    global _handler
    if _handler is None:
        _handler = bpy.types.SpaceImageEditor.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def hide() -> None:
    """Stop drawing."""
    global _handler
    if _handler is not None:
        bpy.types.SpaceImageEditor.draw_handler_remove(_handler, "WINDOW")
        _handler = None


def discs(centres: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float32]:
    """Triangles ``(N·CORNERS·3, 2)`` of discs around ``centres`` ``(N, 2)``."""
    angle = np.linspace(0.0, 2.0 * np.pi, CORNERS + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    fan = np.stack([np.zeros((CORNERS, 2)), ring[:-1], ring[1:]], axis=1).reshape(-1, 2)
    points = centres[:, None, :] + radii[:, None, None] * fan[None]
    flat: NDArray[np.float32] = points.reshape(-1, 2).astype(np.float32)
    return flat


def looks(board: PinBoard, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Radius ``(N,)`` in pixels and colour ``(N, 4)`` of every handle."""
    radius = np.full(len(HANDLES), RADIUS * scale)
    colour = np.tile(np.array(FREE, np.float32), (len(HANDLES), 1))
    for row, landmark in enumerate(HANDLES):
        if landmark in board.pinned:
            colour[row], radius[row] = PINNED, 1.25 * RADIUS * scale
        if landmark in (board.hovered, board.held):
            radius[row] = 1.6 * RADIUS * scale
            if landmark not in board.pinned:
                colour[row] = HOVERED
    return radius, colour


def is_photo_of(image: Any, head: str) -> bool:
    """Whether ``image`` is the photo of the head whose pins are dragged."""
    return bool(image.get(UUID_KEY) == head and image.get(ROLE_KEY) == "photo")


def _draw() -> None:
    edit = runtime.get().edit
    context = bpy.context
    space, region = context.space_data, context.region
    if edit is None or space.image is None or not is_photo_of(space.image, edit.head):
        return
    board, scale = edit.board, float(context.preferences.system.ui_scale)
    view = to_view(board.places(), board.size_px)
    centres = np.array([region.view2d.view_to_region(x, y, clip=False) for x, y in view], np.float64)
    row_of = {landmark: row for row, landmark in enumerate(HANDLES)}
    gpu.state.blend_set("ALPHA")
    lines = np.array([centres[row_of[i]] for pair in LINES for i in pair], np.float32)
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", LINE)
    batch_for_shader(shader, "LINES", {"pos": lines}).draw(shader)

    radius, colour = looks(board, scale)
    flat = gpu.shader.from_builtin("FLAT_COLOR")
    for grow, tint in ((1.5 * scale, np.tile(np.array(RIM, np.float32), (len(HANDLES), 1))), (0.0, colour)):
        places = discs(centres, radius + grow)
        colours = np.repeat(tint, CORNERS * 3, axis=0)
        batch_for_shader(flat, "TRIS", {"pos": places, "color": colours}).draw(flat)
    gpu.state.blend_set("NONE")
    _write(region, board, scale, edit.problem)


def _write(region: Any, board: PinBoard, scale: float, problem: str | None) -> None:
    """One line at the bottom: what is under the mouse, what keys do."""
    landmark = board.held if board.held is not None else board.hovered
    if problem is not None:
        text = problem
    elif landmark is not None:
        state = "pinned; Alt-click gives it back" if landmark in board.pinned else "drag to pin"
        text = f"{handle_name(landmark)}: {state}"
    else:
        text = "Drag a point to where it belongs.  Enter: keep   Esc: undo all"
    blf.size(0, 12.0 * scale)
    width, height = blf.dimensions(0, text)
    left, bottom, pad = (region.width - width) / 2, 16.0 * scale, 6.0 * scale
    corners = [(-pad, -pad), (width + pad, -pad), (width + pad, height + pad), (-pad, height + pad)]
    box = np.array([(left + x, bottom + y) for x, y in corners], np.float32)
    gpu.state.blend_set("ALPHA")
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", (0.0, 0.0, 0.0, 0.6))
    batch_for_shader(shader, "TRIS", {"pos": box}, indices=[(0, 1, 2), (0, 2, 3)]).draw(shader)
    blf.color(0, 1.0, 1.0, 1.0, 1.0)
    blf.position(0, left, bottom, 0.0)
    blf.draw(0, text)
    gpu.state.blend_set("NONE")
