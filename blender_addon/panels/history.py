"""Finished reconstructions, the newest first."""

from __future__ import annotations

from typing import Any

import bpy

from .. import obstacles, runtime
from ..view import JobView, preset_label
from .photo import LikenessPanel
from .widgets import draw_button, draw_problem, draw_reason, draw_text

_ICONS = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "CANCEL", "interrupted": "PAUSE"}


class LIKENESS_PT_history(LikenessPanel, bpy.types.Panel):
    """What the backend keeps."""

    bl_idname = "LIKENESS_PT_history"
    bl_parent_id = "LIKENESS_PT_photo"
    bl_label = "History"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        current = runtime.get()
        view = current.view
        jobs = view.history()
        if not jobs:
            reason = obstacles.to_ask(view)
            draw_reason(layout, context, reason or "Nothing has been reconstructed yet")
            return
        rows = context.window_manager.likeness.history_rows
        column = layout.column(align=True)
        for number, job in enumerate(jobs[:rows]):
            if number:
                column.separator(factor=0.5)
            _draw_row(column, job)
            told_above = job.job in current.heads or job.dismissed  # in the panel's upper part
            if job.state == "failed" and job.problem is not None and not told_above:
                box = column.box()
                draw_problem(box, context, job.problem, job.job)
            elif job.state == "interrupted":
                draw_text(column, context, "Interrupted; run it again to go on", "BLANK1", dim=True)
            for warning in job.warnings:
                draw_text(column, context, warning, "INFO", dim=True)
        if len(jobs) > rows:
            layout.operator("likeness.more_history", text=f"Show {min(len(jobs) - rows, 8)} more")


CLASSES = (LIKENESS_PT_history,)


def _draw_row(column: Any, job: JobView) -> None:
    row = column.row(align=True)
    row.label(text=job.name, icon=_ICONS.get(job.state, "DOT"))
    detail = row.row(align=True)
    detail.alignment = "RIGHT"
    detail.active = False
    seed = f", seed {job.options.seed}" if job.options.seed else ""
    detail.label(text="video" if job.is_take else f"{preset_label(job.options.maps)}{seed}")
    reason = obstacles.to_ask(runtime.get().view)
    if job.state == "done":
        draw_button(row, "likeness.reimport", reason, text="", icon="IMPORT").job = job.job
    else:
        draw_button(row, "likeness.rerun", reason, text="", icon="FILE_REFRESH").job = job.job
    row.operator("likeness.job_menu", text="", icon="DOWNARROW_HLT").job = job.job
