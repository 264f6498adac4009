"""The main panel: photos, quality, Reconstruct, what is being worked on."""

from __future__ import annotations

from typing import Any

import bpy

from .. import obstacles, pictures, runtime
from ..preferences import preferences
from ..settings import photo_paths
from ..view import JobView, View, preset_label, stage_label
from .widgets import draw_button, draw_problem, draw_reason, draw_remedy, draw_text

SHOWN_PHOTOS = 4
SHOWN_QUEUE = 4


class LikenessPanel:
    """Where all panels lie."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Likeness"


class LIKENESS_PT_photo(LikenessPanel, bpy.types.Panel):
    """Choose photos and reconstruct heads."""

    bl_idname = "LIKENESS_PT_photo"
    bl_label = "Head from Photo"

    def draw(self, context: Any) -> None:
        current = runtime.get()
        view = current.view
        settings = context.window_manager.likeness
        layout = self.layout
        _draw_backend_hint(layout, context, view)
        _draw_photos(layout, settings)
        layout.row(align=True).prop(settings, "preset", expand=True)
        paths = photo_paths(settings)
        reason = obstacles.to_submit(view, paths, starts_on_demand=preferences().start_on_demand)
        column = layout.column(align=True)
        row = column.row(align=True)
        row.scale_y = 1.5
        count = len(paths)
        text = "Reconstruct" if count < 2 else f"Reconstruct {count} photos"
        draw_button(row, "likeness.reconstruct", reason, text=text, icon="USER")
        if reason is not None and view.backend.state not in ("absent", "installing"):
            draw_reason(layout, context, reason)
        if view.notice is not None:
            _draw_notice(layout, context, view)
        for submission in current.outbox[:SHOWN_QUEUE]:
            layout.label(text=f"{submission.message.name}: waits for the backend", icon="TIME")
        _draw_work(layout, context, view, current.import_note)
        for job in view.history():
            if job.job in current.heads and job.problem is not None and not job.dismissed:
                _draw_failed(layout, context, job)


class LIKENESS_PT_options(LikenessPanel, bpy.types.Panel):
    """What is rarely changed."""

    bl_idname = "LIKENESS_PT_options"
    bl_parent_id = "LIKENESS_PT_photo"
    bl_label = "Options"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        settings = context.window_manager.likeness
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "engine")
        if settings.engine == "marcus":
            layout.prop(settings, "caption")
            layout.prop(settings, "turbo")
        layout.prop(settings, "seed")
        layout.prop(settings, "splats")
        row = layout.row(heading="Choose face")
        row.prop(settings, "choose_face", text="")
        face = row.row()
        face.enabled = settings.choose_face
        face.prop(settings, "face", text="")
        layout.separator()
        layout.operator("likeness.import_avatar", icon="IMPORT")


CLASSES = (LIKENESS_PT_photo, LIKENESS_PT_options)


def _draw_backend_hint(layout: Any, context: Any, view: View) -> None:
    backend = view.backend
    if backend.state == "absent":
        box = layout.box()
        draw_text(
            box,
            context,
            "The backend that reconstructs heads is not installed yet.",
            "INFO",
        )
        draw_remedy(box, "install")
    elif backend.state in ("installing", "removing"):
        box = layout.box()
        draw_text(box, context, backend.step or "Preparing", "IMPORT")
        fraction = backend.step_fraction or 0.0
        row = box.row(align=True)
        row.progress(factor=fraction, text=f"{fraction:.0%}")
        if backend.state == "installing":
            row.operator("likeness.cancel_install", text="", icon="X")
    elif backend.state in ("failed", "lost"):
        box = layout.box()
        draw_text(box, context, backend.message or "The backend does not answer.", "ERROR")
        draw_remedy(box, backend.remedy)


def _draw_photos(layout: Any, settings: Any) -> None:
    paths = photo_paths(settings)
    if not paths:
        column = layout.column(align=True)
        column.scale_y = 1.4
        column.operator("likeness.choose_photo", text="Choose photo…", icon="IMAGE_DATA")
        hint = layout.row()
        hint.active = False
        hint.label(text="or drop pictures into the viewport")
        return
    box = layout.box()
    if len(paths) == 1:
        icon = pictures.icon_of_file(paths[0])
        if icon:
            box.template_icon(icon_value=icon, scale=7.0)
    for number, path in enumerate(paths[:SHOWN_PHOTOS]):
        row = box.row(align=True)
        icon = pictures.icon_of_file(path) if len(paths) > 1 else 0
        if not path.is_file():
            row.label(text=path.name, icon="ERROR")
        elif icon:
            row.label(text=path.name, icon_value=icon)
        else:
            row.label(text=path.name, icon="IMAGE_DATA")
        row.operator("likeness.remove_photo", text="", icon="X", emboss=False).index = number
    if len(paths) > SHOWN_PHOTOS:
        box.label(text=f"and {len(paths) - SHOWN_PHOTOS} more")
    box.operator("likeness.choose_photo", text="Choose others…", icon="FILE_FOLDER")


def _draw_notice(layout: Any, context: Any, view: View) -> None:
    notice = view.notice
    if notice is None:
        return
    box = layout.box()
    row = box.row()
    draw_text(row.column(), context, notice.text, "ERROR")
    row.operator("likeness.dismiss", text="", icon="X", emboss=False)
    draw_remedy(box, notice.remedy, job=notice.job or "")


def _draw_work(layout: Any, context: Any, view: View, import_note: str) -> None:
    queue = view.queue()
    for job in queue[:SHOWN_QUEUE]:
        if job.state == "running":
            _draw_running(layout, job)
        else:
            row = layout.row(align=True)
            row.label(text=job.name, icon="TIME")
            place = row.row()
            place.alignment = "RIGHT"
            place.active = False
            place.label(text=f"no. {max(job.position, 1)}")
            row.operator("likeness.cancel", text="", icon="X", emboss=False).job = job.job
    if len(queue) > SHOWN_QUEUE:
        layout.label(text=f"and {len(queue) - SHOWN_QUEUE} more in the queue")
    if import_note:
        draw_text(layout, context, import_note, "INFO")


def _draw_failed(layout: Any, context: Any, job: JobView) -> None:
    if job.problem is None or job.state == "cancelled":
        return
    box = layout.box()
    row = box.row()
    row.label(text=job.name, icon="USER")
    row.operator("likeness.dismiss", text="", icon="X", emboss=False).job = job.job
    draw_problem(box, context, job.problem, job.job)


def _draw_running(layout: Any, job: JobView) -> None:
    box = layout.box()
    row = box.row()
    row.label(text=job.name, icon="USER")
    quality = row.row()
    quality.alignment = "RIGHT"
    quality.active = False
    quality.label(text="video" if job.is_take else preset_label(job.options.maps))
    icon = pictures.icon_of_job(job)
    if icon:
        box.template_icon(icon_value=icon, scale=7.0)
    box.label(text=stage_label(job.stage))
    row = box.row(align=True)
    row.progress(factor=job.fraction, text=f"{job.fraction:.0%}")
    row.operator("likeness.cancel", text="", icon="X").job = job.job
