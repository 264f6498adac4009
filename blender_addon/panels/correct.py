"""Correct and re-solve: points and mask."""

from __future__ import annotations

from typing import Any

import bpy

from .. import exclude_mask, heads, runtime
from ..operators import correct
from .photo import LikenessPanel
from .widgets import draw_button, draw_reason, draw_text


class LIKENESS_PT_correct(LikenessPanel, bpy.types.Panel):
    """Put the solver right where it erred."""

    bl_idname = "LIKENESS_PT_correct"
    bl_label = "Correct and Re-solve"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 20

    def draw(self, context: Any) -> None:
        layout = self.layout
        current = runtime.get()
        if current.edit is not None:
            _draw_editing(layout, context)
            return
        reason = correct.to_correct(context)
        uuid = heads.active(context) or ""
        pins = len(current.corrected.get(uuid, ()))
        mask = exclude_mask.find(uuid) if uuid else None

        row = layout.row(align=True)
        draw_button(row, "likeness.edit_pins", reason, text="Adjust points", icon="PINNED")
        if pins:
            row.operator("likeness.clear_pins", text="", icon="X")
        row = layout.row(align=True)
        draw_button(row, "likeness.paint_mask", reason, text="Paint out", icon="BRUSH_DATA")
        if mask is not None:
            row.operator("likeness.clear_mask", text="", icon="X")
        if reason is not None:
            draw_reason(layout, context, reason)
            return
        if mask is not None:
            layout.prop(context.window_manager.likeness, "use_mask")
        again = None if pins or mask is not None else "Adjust points or paint a mask first"
        row = layout.row()
        row.scale_y = 1.3
        draw_button(
            row, "likeness.rerun_corrected", again, text="Re-run with corrections", icon="FILE_REFRESH"
        )
        if pins:
            layout.label(text=f"{pins} point{'s' if pins > 1 else ''} placed by hand", icon="INFO")
        draw_reason(layout, context, again)


CLASSES = (LIKENESS_PT_correct,)


def _draw_editing(layout: Any, context: Any) -> None:
    edit = runtime.get().edit
    if edit is None:
        return
    draw_text(layout, context, "Drag points on the photo; the head follows.", "PINNED")
    count = len(edit.board.pinned)
    solved = "" if edit.seconds is None else f", solved in {edit.seconds:.1f} s"
    draw_text(layout, context, f"{count} placed{solved}", "BLANK1", dim=True)
    if edit.landmark_error_px is not None:
        draw_text(layout, context, f"Points are {edit.landmark_error_px:.1f} px off", "BLANK1", dim=True)
    if edit.problem is not None:
        draw_text(layout, context, edit.problem, "ERROR")
    draw_text(layout, context, "Enter: keep.  Esc: undo all.", "BLANK1", dim=True)
