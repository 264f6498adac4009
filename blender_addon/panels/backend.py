"""The backend: state, memory, installation, doctor."""

from __future__ import annotations

from typing import Any

import bpy

from .. import obstacles, runtime
from ..operators.backend import is_remote, to_start
from ..view import BackendView, View, size_label
from .photo import LikenessPanel
from .widgets import draw_button, draw_reason, draw_remedy, draw_text

_STATES = {
    "absent": ("Not installed", "X"),
    "installing": ("Installing", "IMPORT"),
    "removing": ("Removing", "TRASH"),
    "stopped": ("Stopped", "PAUSE"),
    "starting": ("Starting", "TIME"),
    "stopping": ("Stopping", "TIME"),
    "ready": ("Running", "CHECKMARK"),
    "lost": ("Does not answer", "ERROR"),
    "failed": ("Problem", "ERROR"),
}


class LIKENESS_PT_backend(LikenessPanel, bpy.types.Panel):
    """The program that reconstructs heads."""

    bl_idname = "LIKENESS_PT_backend"
    bl_label = "Backend"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 90

    def draw_header_preset(self, _context: Any) -> None:
        word, icon = _STATES[runtime.get().view.backend.state]
        row = self.layout.row()
        row.active = False
        row.label(text=word, icon=icon)

    def draw(self, context: Any) -> None:
        draw_backend(self.layout, context, runtime.get().view)


class LIKENESS_PT_doctor(LikenessPanel, bpy.types.Panel):
    """Checks with their remedies."""

    bl_idname = "LIKENESS_PT_doctor"
    bl_parent_id = "LIKENESS_PT_backend"
    bl_label = "Doctor"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        draw_doctor(self.layout, context, runtime.get().view.backend)


CLASSES = (LIKENESS_PT_backend, LIKENESS_PT_doctor)


def draw_backend(layout: Any, context: Any, view: View) -> None:
    """State and buttons; the preferences draw the same."""
    backend = view.backend
    remote = is_remote()
    _draw_privacy(layout, backend, remote)
    if backend.state in ("installing", "removing"):
        _draw_installing(layout, context, backend)
        return
    if backend.message:
        box = layout.box()
        draw_text(box, context, backend.message, "ERROR" if backend.state == "failed" else "INFO")
        draw_remedy(box, backend.remedy)
    if backend.state == "absent":
        _draw_absent(layout, context, view, remote)
        return
    if backend.state == "ready":
        _draw_facts(layout, context, backend)
    row = layout.row(align=True)
    start = to_start()
    stop = obstacles.to_stop(view, remote=remote)
    draw_button(row, "likeness.start_backend", start, text="Connect" if remote else "Start", icon="PLAY")
    if not remote:
        draw_button(row, "likeness.stop_backend", stop, text="Stop", icon="PAUSE")
    if start is not None and stop is not None:
        draw_reason(layout, context, start)
    row = layout.row(align=True)
    memory = obstacles.to_ask(view)
    draw_button(row, "likeness.free_memory", memory, text="Free memory", icon="MEMORY")
    row.operator("likeness.open_log", text="Log", icon="TEXT")
    if not remote:
        _draw_uninstall(layout, view)


def draw_doctor(layout: Any, context: Any, backend: BackendView) -> None:
    """One line per check; a red one has its button."""
    text = "Checking…" if backend.checking else "Check everything"
    layout.operator("likeness.doctor", text=text, icon="VIEWZOOM")
    for check in backend.checks:
        line = f"{check.name}: {check.detail}"
        if check.state != "bad":
            draw_text(layout, context, line, "CHECKMARK" if check.state == "good" else "RADIOBUT_OFF")
            continue
        box = layout.box()
        alarm = box.column()
        alarm.alert = True
        draw_text(alarm, context, line, "ERROR")
        draw_remedy(box, check.remedy)


def _draw_privacy(layout: Any, backend: BackendView, remote: bool) -> None:
    row = layout.row()
    if remote:
        row.label(text="Photos are sent to another machine", icon="INTERNET")
    elif backend.networked:
        row.label(text="Other machines can reach this backend", icon="INTERNET")
    else:
        row.label(text="Nothing left this machine", icon="LOCKED")


def _draw_absent(layout: Any, context: Any, view: View, remote: bool) -> None:
    reason = obstacles.to_install(view, online=bool(bpy.app.online_access), remote=remote)
    draw_text(
        layout,
        context,
        "It runs beside Blender with a Python of its own: about 2 GB to download, 4 GB on disk.",
        dim=True,
    )
    row = layout.row()
    row.scale_y = 1.4
    draw_button(row, "likeness.install_backend", reason, text="Install backend", icon="IMPORT")
    if reason is not None:
        draw_reason(layout, context, reason)
        if not bpy.app.online_access and not remote:
            draw_remedy(layout, "online")


def _draw_installing(layout: Any, context: Any, backend: BackendView) -> None:
    draw_text(layout, context, backend.step or "Preparing", "IMPORT")
    row = layout.row(align=True)
    if backend.step_fraction is not None:
        row.progress(factor=backend.step_fraction, text=f"{backend.step_fraction:.0%}")
    if backend.state == "installing":
        row.operator("likeness.cancel_install", text="", icon="X")
    if backend.log_line:
        draw_text(layout, context, backend.log_line, dim=True)


def _draw_facts(layout: Any, context: Any, backend: BackendView) -> None:
    column = layout.column(align=True)
    memory = f"{backend.memory_mb / 1000:.1f} GB" if backend.memory_mb is not None else "unknown"
    cap = f" of {size_label(backend.cache_cap_bytes)}" if backend.cache_cap_bytes else ""
    for name, value in (
        ("Version", backend.server),
        ("Device", f"{backend.device or 'none'}{f' ({backend.worker})' if backend.worker else ''}"),
        ("Memory", memory),
        ("Cache", f"{size_label(backend.cache_bytes)}{cap}"),
    ):
        row = column.split(factor=0.3)
        left = row.row()
        left.active = False
        left.label(text=name)
        row.label(text=value)
    if backend.last_exit:
        draw_text(layout, context, f"A worker ended before: {backend.last_exit}", "INFO", dim=True)


def _draw_uninstall(layout: Any, view: View) -> None:
    reason = obstacles.to_remove(view, remote=False)
    size = view.backend.installed_bytes
    text = "Uninstall" if size is None else f"Uninstall (frees {size_label(size)})"
    row = layout.row()
    row.operator_context = "INVOKE_DEFAULT"
    draw_button(row, "likeness.uninstall_backend", reason, text=text, icon="TRASH")
