"""What Blender is told when the add-on is switched on and off, in order."""

from __future__ import annotations

import sys

import bpy

from . import pictures, pin_overlay, preferences, runtime, settings, ticker
from .backend_control import BackendControl
from .environment_control import EnvironmentControl
from .importer import ImportQueue
from .operators import backend, correct, drive, head, history, light, reconstruct, splat_frames, splats
from .panels import backend as backend_panel
from .panels import correct as correct_panel
from .panels import head as head_panel
from .panels import history as history_panel
from .panels import light as light_panel
from .panels import photo as photo_panel
from .paths import extension_folder, user_folder

VERSION = "0.1.0"

MODULES = (
    settings,
    preferences,
    reconstruct,
    history,
    backend,
    light,
    head,
    correct,
    splats,
    splat_frames,
    drive,
    photo_panel,
    history_panel,
    correct_panel,
    head_panel,
    light_panel,
    backend_panel,
)


def classes() -> list[type]:
    """All classes in the order of their registration."""
    return [cls for module in MODULES for cls in module.CLASSES]


def register() -> None:
    """Classes, settings, pictures, the runtime, its timer."""
    for cls in classes():
        bpy.utils.register_class(cls)
    settings.register()
    pictures.register()
    runtime.open_runtime(make_runtime())
    ticker.start()


def unregister() -> None:
    """The reverse; threads and connections end, a server of ours lives until its queue is empty."""
    ticker.stop()
    pin_overlay.hide()
    runtime.close_runtime()
    pictures.unregister()
    settings.unregister()
    for cls in reversed(classes()):
        bpy.utils.unregister_class(cls)


def make_runtime() -> runtime.Runtime:
    """The runtime with this machine's folders."""
    control = BackendControl(
        data=user_folder("data"),
        downloads=user_folder("avatars"),
        environment=EnvironmentControl(
            user_folder("backend"), extension_folder() / "backend_wheel", sys.executable
        ),
        program_name=f"likeness-blender {VERSION}, Blender {bpy.app.version_string}",
        remote=preferences.remote_connection,
        serve_arguments=preferences.serve_arguments,
    )
    return runtime.Runtime(control, ImportQueue(ticker.make_steps))
