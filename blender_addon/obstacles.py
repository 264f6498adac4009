"""Why something is not available now: one short sentence for a disabled button, or None. No Blender."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .view import View

_NOT_READY = {
    "absent": "Install the backend first",
    "installing": "The backend is being installed",
    "removing": "The backend is being removed",
    "stopped": "Start the backend first",
    "starting": "The backend is starting",
    "stopping": "The backend is stopping",
    "lost": "The backend does not answer; waiting for it",
    "failed": "The backend has a problem; see the Backend panel",
}


def to_ask(view: View) -> str | None:
    """Against any request to the server."""
    return _NOT_READY.get(view.backend.state)


def to_start_work(view: View, *, starts_on_demand: bool) -> str | None:
    """Against any reconstruction now; one that may wait for a start is none."""
    startable = view.backend.state == "starting" or (starts_on_demand and view.backend.state == "stopped")
    return None if startable else to_ask(view)


def to_submit(view: View, photos: Sequence[Path], *, starts_on_demand: bool) -> str | None:
    """Against reconstructing ``photos``."""
    reason = to_start_work(view, starts_on_demand=starts_on_demand)
    if reason is not None:
        return reason
    if not photos:
        return "Choose a photo first"
    missing = next((photo for photo in photos if not photo.is_file()), None)
    if missing is not None:
        return f"'{missing.name}' is no longer there; choose it again"
    return None


def to_install(view: View, *, online: bool, remote: bool) -> str | None:
    """Against installing the backend."""
    if remote:
        return "The preferences name a backend on another machine"
    if not online:
        return "Allow online access in Blender's system preferences"
    if view.backend.state in ("installing", "removing"):
        return _NOT_READY[view.backend.state]
    if view.queue():
        return "Photos are being worked on; wait or cancel them"
    return None


def to_remove(view: View, *, remote: bool) -> str | None:
    """Against uninstalling the backend."""
    if remote:
        return "The backend is on another machine"
    if view.backend.state == "absent":
        return "The backend is not installed"
    if view.backend.state in ("installing", "removing"):
        return _NOT_READY[view.backend.state]
    if view.queue():
        return "Photos are being worked on; wait or cancel them"
    return None


def to_start(view: View, *, remote: bool) -> str | None:
    """Against starting the backend, or connecting to the one elsewhere."""
    state = view.backend.state
    if state in ("stopped", "failed", "lost"):
        return None
    if state == "ready":
        return "Already connected" if remote else "The backend is running"
    return _NOT_READY[state]


def to_stop(view: View, *, remote: bool) -> str | None:
    """Against stopping the backend."""
    if remote:
        return "The backend is on another machine; stop it there"
    if view.backend.state in ("ready", "starting", "lost"):
        return None
    return "The backend is not running"
