"""The viewports turn to a head: one of 25 cm is a speck in Blender's default view."""

from __future__ import annotations

from typing import Any

from mathutils import Vector

from . import heads

ROOM = 2.4  # view distance in radii of the head; at Blender's 50 mm the head fills most of the height


def frame_head(window_manager: Any, uuid: str) -> None:
    """Centre every 3D viewport that is not looking through a camera on the head; directions stay."""
    skin = heads.skin(uuid)
    if skin is None:
        return
    corners = [skin.matrix_world @ Vector(corner) for corner in skin.bound_box]
    centre = sum(corners, Vector()) / len(corners)
    radius = max((corner - centre).length for corner in corners)
    for window in window_manager.windows:
        for area in window.screen.areas:
            if area.type != "VIEW_3D":
                continue
            view = area.spaces.active.region_3d
            if view.view_perspective != "CAMERA":
                view.view_location = centre
                view.view_distance = ROOM * radius
            area.tag_redraw()
