"""The backend: install, start, look after, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import StringProperty

from .. import obstacles, runtime, waiting
from ..paths import ROOT_PACKAGE
from ..preferences import remote_connection
from ..view import size_label
from .base import LikenessOperator, Refusal


def is_remote() -> bool:
    """Whether the preferences name a backend on another machine."""
    return remote_connection() is not None


def to_start() -> str | None:
    """Why the backend cannot be started, or connected to."""
    remote = remote_connection()
    if remote is not None and not remote.is_file():
        return "Choose the connection file in the add-on's preferences"
    return obstacles.to_start(runtime.get().view, remote=remote is not None)


class LIKENESS_OT_install_backend(LikenessOperator):
    """Download and install what reconstructs heads (PyTorch and more), apart from Blender's own Python"""

    bl_idname = "likeness.install_backend"
    bl_label = "Install Backend"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_install(
            runtime.get().view, online=bool(bpy.app.online_access), remote=is_remote()
        )

    def run(self, context: Any) -> None:
        current = runtime.get()
        current.control.install(online=bool(bpy.app.online_access))
        if bpy.app.background:
            waiting.until_installed(current)


class LIKENESS_OT_cancel_install(LikenessOperator):
    """Stop installing; the next installation goes on from here"""

    bl_idname = "likeness.cancel_install"
    bl_label = "Stop Installing"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return None if runtime.get().view.backend.state == "installing" else "Nothing is being installed"

    def run(self, context: Any) -> None:
        runtime.get().control.environment.cancel()


class LIKENESS_OT_uninstall_backend(LikenessOperator):
    """Delete the backend's programs and models. Avatars and the cache stay"""

    bl_idname = "likeness.uninstall_backend"
    bl_label = "Uninstall Backend"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_remove(runtime.get().view, remote=is_remote())

    def invoke(self, context: Any, event: Any) -> set[str]:
        current = runtime.get()
        freed = current.view.backend.installed_bytes or current.control.environment.size_bytes()
        confirmed: set[str] = context.window_manager.invoke_confirm(
            self,
            event,
            title="Uninstall the backend?",
            message=f"This frees {size_label(freed)}. Heads in your files stay.",
            confirm_text="Uninstall",
            icon="WARNING",
        )
        return confirmed

    def run(self, context: Any) -> None:
        current = runtime.get()
        current.control.uninstall()
        if bpy.app.background:
            waiting.until_installed(current)


class LIKENESS_OT_start_backend(LikenessOperator):
    """Start the backend, or connect to the one on another machine"""

    bl_idname = "likeness.start_backend"
    bl_label = "Start Backend"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return to_start()

    def run(self, context: Any) -> None:
        current = runtime.get()
        current.start_backend()
        if bpy.app.background:
            waiting.until_ready(current)


class LIKENESS_OT_stop_backend(LikenessOperator):
    """Stop the backend; a photo that is being worked on can be run again later"""

    bl_idname = "likeness.stop_backend"
    bl_label = "Stop Backend"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_stop(runtime.get().view, remote=is_remote())

    def invoke(self, context: Any, event: Any) -> set[str]:
        if not runtime.get().view.queue():
            return self.execute(context)
        confirmed: set[str] = context.window_manager.invoke_confirm(
            self,
            event,
            title="Stop the backend?",
            message="Photos that are being worked on are interrupted.",
            confirm_text="Stop",
        )
        return confirmed

    def run(self, context: Any) -> None:
        runtime.get().stop_backend()


class LIKENESS_OT_restart_backend(LikenessOperator):
    """Stop the backend and start it again"""

    bl_idname = "likeness.restart_backend"
    bl_label = "Restart Backend"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if is_remote():
            return "The backend is on another machine; restart it there"
        state = runtime.get().view.backend.state
        return obstacles.to_ask(runtime.get().view) if state in ("absent", "installing", "removing") else None

    def run(self, context: Any) -> None:
        runtime.get().restart_backend()


class LIKENESS_OT_doctor(LikenessOperator):
    """Check everything that the add-on and its backend need"""

    bl_idname = "likeness.doctor"
    bl_label = "Doctor"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return "The checks are running" if runtime.get().view.backend.checking else None

    def run(self, context: Any) -> None:
        current = runtime.get()
        current.run_checks(online=bool(bpy.app.online_access))
        if bpy.app.background:
            for line in waiting.until_checked(current):
                self.report({"WARNING" if line.state == "bad" else "INFO"}, f"{line.name}: {line.detail}")


class LIKENESS_OT_free_memory(LikenessOperator):
    """Let the backend drop its models; they are loaded again with the next photo"""

    bl_idname = "likeness.free_memory"
    bl_label = "Free Memory"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        runtime.get().free_memory()


class LIKENESS_OT_open_log(LikenessOperator):
    """Open the backend's log as a text"""

    bl_idname = "likeness.open_log"
    bl_label = "Open Log"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if is_remote():
            return "The backend is on another machine; its log is there"
        return None if runtime.get().control.log_file is not None else "There is no log yet"

    def run(self, context: Any) -> None:
        log_file = runtime.get().control.log_file
        if log_file is None:
            raise Refusal("There is no log yet")
        show_text(context, log_file)


class LIKENESS_OT_open_install_log(LikenessOperator):
    """Open the log of the last installation as a text"""

    bl_idname = "likeness.open_install_log"
    bl_label = "Open Installation Log"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return None if runtime.get().control.environment.log is not None else "There is no log yet"

    def run(self, context: Any) -> None:
        log_file = runtime.get().control.environment.log
        if log_file is None:
            raise Refusal("There is no log yet")
        show_text(context, log_file)


class LIKENESS_OT_open_report(LikenessOperator):
    """Open the report of this failure as a text"""

    bl_idname = "likeness.open_report"
    bl_label = "Open Report"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def run(self, context: Any) -> None:
        if not Path(self.filepath).is_file():
            raise Refusal(f"The report '{self.filepath}' is not on this machine")
        show_text(context, Path(self.filepath))


class LIKENESS_OT_open_preferences(LikenessOperator):
    """Open the add-on's preferences"""

    bl_idname = "likeness.open_preferences"
    bl_label = "Open Preferences"

    def run(self, context: Any) -> None:
        bpy.ops.preferences.addon_show(module=ROOT_PACKAGE)


class LIKENESS_OT_open_system_preferences(LikenessOperator):
    """Open Blender's system preferences, which hold "Allow Online Access" """

    bl_idname = "likeness.open_system_preferences"
    bl_label = "Open System Preferences"

    def run(self, context: Any) -> None:
        context.preferences.active_section = "SYSTEM"
        bpy.ops.screen.userpref_show("INVOKE_DEFAULT")


CLASSES = (
    LIKENESS_OT_install_backend,
    LIKENESS_OT_cancel_install,
    LIKENESS_OT_uninstall_backend,
    LIKENESS_OT_start_backend,
    LIKENESS_OT_stop_backend,
    LIKENESS_OT_restart_backend,
    LIKENESS_OT_doctor,
    LIKENESS_OT_free_memory,
    LIKENESS_OT_open_log,
    LIKENESS_OT_open_install_log,
    LIKENESS_OT_open_report,
    LIKENESS_OT_open_preferences,
    LIKENESS_OT_open_system_preferences,
)


def show_text(context: Any, file: Path) -> None:
    """Load ``file`` as a text and show it in a window of its own, where there are windows."""
    name = file.name
    old = bpy.data.texts.get(name)
    if old is not None:
        bpy.data.texts.remove(old)
    text = bpy.data.texts.load(str(file))
    text.name = name
    if bpy.app.background:
        return
    bpy.ops.wm.window_new()
    area = context.window_manager.windows[-1].screen.areas[0]
    area.type = "TEXT_EDITOR"
    area.spaces.active.text = text
