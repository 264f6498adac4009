"""Pieces that several panels draw."""

from __future__ import annotations

from typing import Any

import blf
import bpy

from ..protocol import Problem
from ..remedies import REMEDIES, remedy_of
from ..view import sentence

FONT_SIZE = 11.0  # of panels, points at interface scale 1
MARGIN = 88.0  # what panel, box and scroll bar take of a region's width, points
ICON_WIDTH = 20.0


def wrap(text: str, width: float, scale: float) -> list[str]:
    """``text`` in lines no wider than ``width`` pixels in the interface's font."""
    blf.size(0, FONT_SIZE * scale)
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and blf.dimensions(0, longer)[0] > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines


def text_width(context: Any) -> float:
    """Pixels that a line of text has in the region being drawn."""
    scale = interface_scale()
    region = getattr(context, "region", None)
    wide = region.width if region is not None else 260
    return max(float(wide) - MARGIN * scale, 80.0)


def interface_scale() -> float:
    return float(bpy.context.preferences.system.ui_scale)


def draw_text(layout: Any, context: Any, text: str, icon: str = "NONE", *, dim: bool = False) -> None:
    """A paragraph; Blender's labels know no line breaks."""
    scale = interface_scale()
    indent = ICON_WIDTH * scale if icon != "NONE" else 0.0
    column = layout.column(align=True)
    column.active = not dim
    column.scale_y = 0.8
    for number, line in enumerate(wrap(text, text_width(context) - indent, scale)):
        column.label(text=line, icon=icon if number == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


def draw_reason(layout: Any, context: Any, reason: str | None) -> None:
    """Why the button above is disabled."""
    if reason is not None:
        draw_text(layout, context, reason, "INFO", dim=True)


def draw_button(layout: Any, operator: str, reason: str | None, **appearance: Any) -> Any:
    """An operator's button, disabled while there is a reason against it."""
    row = layout.row(align=True)
    row.enabled = reason is None
    return row.operator(operator, **appearance)


def draw_remedy(layout: Any, remedy: str | None, *, job: str = "", path: str | None = None) -> None:
    """The button that helps, when there is one."""
    if remedy is None or (REMEDIES[remedy].takes_job and not job):
        return  # what cannot be done without a job is not offered without one
    entry = REMEDIES[remedy]
    button = layout.operator(entry.operator, text=entry.label, icon=entry.icon)
    if entry.takes_job:
        button.job = job
    if entry.takes_path and path is not None:
        button.filepath = path


def draw_problem(layout: Any, context: Any, problem: Problem, job: str) -> None:
    """One sentence and its remedy."""
    draw_text(layout, context, sentence(problem.message), "ERROR")
    draw_remedy(layout, remedy_of(problem), job=job, path=problem.report)
