"""The one timer: takes news in, advances an import by one step, asks panels to redraw when they should."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import bakes, framing, heads, pictures, runtime, takes
from .disk import disk_sentence
from .importer import HeadImport, ImportFailed
from .operators.base import EXPECTED, report_of
from .preferences import preferences
from .runtime import Runtime
from .scene.asset import write_catalogue
from .scene.importing import ImportOptions, import_steps
from .scene.quality import full_maps_for_render, proxies_after_render
from .view import Notice, sentence

DRAIN_SECONDS = 0.004
BUSY_SECONDS = 0.05  # between ticks while something is going on
IDLE_SECONDS = 0.25
PASSING_STATES = ("installing", "removing", "starting", "stopping", "lost")
STEP_SECONDS = 0.01  # between the steps of an import

_drawn_revision = -1


def start() -> None:
    """Begin ticking and watching the open file."""
    for handlers, function in _handlers():
        handlers.append(function)
    if not bpy.app.background:  # there timers never fire; operators wait by themselves
        bpy.app.timers.register(_tick, first_interval=BUSY_SECONDS, persistent=True)


def stop() -> None:
    """Leave neither timer nor handler behind."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    for handlers, function in _handlers():
        if function in handlers:
            handlers.remove(function)


def _handlers() -> list[tuple[Any, Any]]:
    """Blender's lists and what we put into them."""
    app = bpy.app.handlers
    return [
        (app.load_post, _file_loaded),
        (app.undo_post, _undone),
        (app.redo_post, _undone),
        (app.render_init, _render_begins),
        (app.render_complete, _render_ends),
        (app.render_cancel, _render_ends),
        (app.save_post, _file_saved),
    ]


def _tick() -> float:
    """One turn of the timer. Nothing may escape: Blender would end the timer without a word."""
    current = runtime.get()
    try:
        return turn(current)
    except Exception as error:
        _report_slip(current, error)
        return IDLE_SECONDS


def _report_slip(current: Runtime, error: Exception) -> None:
    """One report, however often the same mistake comes."""
    if repr(error) != current.last_slip:
        current.last_slip = repr(error)
        current.view.notice = Notice(f"A mistake of ours; {report_of('tick', error)}")
        current.view.touch()


def turn(current: Runtime) -> float:
    """Take news in and advance an import; returns the seconds until the next turn."""
    started = time.perf_counter()
    current.drain(started + DRAIN_SECONDS)
    current.refine(time.monotonic())
    if current.later:
        with _window():
            current.do_later()
    drained = time.perf_counter()
    current.drain_seconds.append(drained - started)
    stepped = False
    if current.imports:
        note = obstacle_to_import()
        if note != current.import_note:
            current.import_note = note
            current.view.touch()
        if not note:
            import_step(current)
            stepped = True
            current.import_seconds.append(time.perf_counter() - drained)
    elif current.takes and not obstacle_to_import():
        with _window():
            made = takes.apply_next(current, bpy.context.scene)
            if made is not None:
                push_undo(made)
    elif current.bake is not None and not obstacle_to_import():
        with _window():
            made = bakes.advance(current, bpy.context.scene)
            if made is not None:
                push_undo(made)
    elif current.import_note:
        current.import_note = ""
        current.view.touch()
    _redraw(current)
    if (stepped and current.imports) or current.bake is not None:
        return STEP_SECONDS
    view = current.view
    waits = current.outbox or current.imports or current.takes or current.edit or current.later
    busy = view.queue() or waits
    return BUSY_SECONDS if busy or view.backend.state in PASSING_STATES else IDLE_SECONDS


def obstacle_to_import() -> str:
    """Why nothing may be built in the scene right now; empty when it may."""
    if bpy.app.is_job_running("RENDER"):
        return "A head is ready; it comes in when the render has ended"
    if bpy.context.mode != "OBJECT":
        return "A head is ready; it comes in when you go back to object mode"
    return ""


def import_step(current: Runtime) -> None:
    """One step of the import at work; a finished head becomes one undo step."""
    with _window():
        try:
            finished = current.imports.advance()
        except ImportFailed as failure:
            _report_failed(current, failure)
            return
        if finished is None:
            return
        if heads.job_of(finished.uuid) is None and preferences().frame_heads:  # its first appearance
            bpy.context.view_layer.update()
            framing.frame_head(bpy.context.window_manager, finished.uuid)
        heads.note_job(finished.uuid, finished.job)
        if finished.complete:
            push_undo(f"Import {finished.directory.name}")
    current.view.touch()


def make_steps(head: HeadImport) -> Iterator[str]:
    """The steps that build ``head`` with what the preferences say."""
    return import_steps(head.directory, import_options(), collection_uuid=head.uuid)


def import_options() -> ImportOptions:
    """How heads come into the file."""
    chosen = preferences()
    beside = chosen.textures == "BESIDE"
    folder = Path(bpy.data.filepath).parent / "likeness" if beside and bpy.data.filepath else None
    return ImportOptions(
        proxies=chosen.proxies,
        pack=not beside or folder is None,
        maps_folder=folder,
        set_camera=chosen.set_camera,
        set_world=chosen.set_world,
        mark_asset=chosen.mark_asset,
    )


def push_undo(message: str) -> None:
    """One step in the undo history, where there is a window to have one."""
    if bpy.context.window is not None and bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=message)


def _report_failed(current: Runtime, failure: ImportFailed) -> None:
    cause = failure.__cause__ or failure
    if isinstance(cause, EXPECTED):
        current.view.notice = Notice(sentence(str(cause)))
    elif isinstance(cause, OSError):
        current.view.notice = Notice(disk_sentence(cause))
    else:
        told = report_of("import", cause)
        current.view.notice = Notice(f"The head could not be built, a mistake of ours; {told}")
    current.view.touch()


def _window() -> Any:
    """Timers run without a window; builders and undo want one."""
    windows = bpy.context.window_manager.windows
    return bpy.context.temp_override(window=windows[0]) if len(windows) else bpy.context.temp_override()


def _redraw(current: Runtime) -> None:
    """Redraw where panels or pins show what changed."""
    global _drawn_revision
    if current.view.revision == _drawn_revision:
        return
    _drawn_revision = current.view.revision
    pictures.drop_stages(current.view.jobs.values())
    shown = {"VIEW_3D", "PREFERENCES"} | ({"IMAGE_EDITOR"} if current.edit else set())
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type not in shown:
                continue
            for region in area.regions:
                if region.type == "UI" or area.type != "VIEW_3D":
                    region.tag_redraw()


@persistent  # type: ignore[untyped-decorator]
def _file_loaded(*_: Any) -> None:
    runtime.get().file_loaded(set(heads.uuids()))


@persistent  # type: ignore[untyped-decorator]
def _undone(*_: Any) -> None:
    runtime.get().imports.restart()


@persistent  # type: ignore[untyped-decorator]
def _render_begins(scene: Any, *_: Any) -> None:
    full_maps_for_render(scene)


@persistent  # type: ignore[untyped-decorator]
def _render_ends(scene: Any, *_: Any) -> None:
    proxies_after_render(scene)


@persistent  # type: ignore[untyped-decorator]
def _file_saved(path: str, *_: Any) -> None:
    if not heads.uuids():
        return
    try:
        write_catalogue(Path(path or bpy.data.filepath))
    except OSError as error:
        runtime.get().view.notice = Notice(disk_sentence(error))
        runtime.get().view.touch()
