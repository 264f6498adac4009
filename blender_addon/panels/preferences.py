"""The add-on's preferences."""

from __future__ import annotations

from typing import Any

from .. import runtime
from .backend import draw_backend, draw_doctor


def draw_preferences(layout: Any, chosen: Any, context: Any) -> None:
    """Backend on the left, files and import on the right."""
    columns = layout.grid_flow(row_major=True, columns=2, even_columns=True)
    left = columns.column()
    left.label(text="Backend")
    box = left.box()
    box.row().prop(chosen, "location", expand=True)
    if chosen.location == "REMOTE":
        box.prop(chosen, "connection_file", text="")
    else:
        box.prop(chosen, "start_on_demand")
        box.prop(chosen, "cache_cap_gb")
    view = runtime.get().view
    draw_backend(box, context, view)
    left.label(text="Doctor")
    draw_doctor(left.box(), context, view.backend)

    right = columns.column()
    right.label(text="Import")
    box = right.box()
    box.row().prop(chosen, "textures", expand=True)
    for name in ("proxies", "set_camera", "set_world", "frame_heads", "mark_asset"):
        box.prop(chosen, name)
    right.label(text="Light")
    right.box().prop(chosen, "hdri_folder", text="HDRIs")
