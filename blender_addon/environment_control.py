"""The backend's installation as the panels command it: progress in, view state out. No Blender."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .environment import Environment, EnvironmentProblem, find_wheel
from .install import Installation, InstallError, Progress, Request
from .view import BackendView, sentence, size_label

# Code of an InstallError: the button that helps.
_REMEDIES = {
    "offline": "online",
    "no_python": "doctor",
    "disk": "install",
    "network": "install",
    "rights": "install_log",
    "pip": "install_log",
    "check": "install_log",
    "busy": "install",
    "cancelled": "install",
}


@dataclass
class EnvironmentControl:
    """One per runtime. Work is done in threads; ``poll`` brings their news into the view."""

    folder: Path
    wheel_folder: Path  # of the extension: the backend's wheel
    helper_python: str
    problem: str | None = None  # of the last installation or removal
    remedy: str | None = None
    freed_bytes: int | None = None  # by the last removal
    _installation: Installation | None = None
    _removal: Future[int] | None = None
    _size: Future[int] | None = None
    _shown: Progress | None = None
    _receipt: tuple[int, Path | None] = (0, None)
    place: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.place = Environment(self.folder)

    @property
    def busy(self) -> bool:
        """Whether something is being installed or removed."""
        return self._installation is not None or self._removal is not None

    @property
    def log(self) -> Path | None:
        """The log of the last installation."""
        return self.place.log if self.place.log.is_file() else None

    def program(self) -> Path | None:
        """The ``likeness`` command, None when nothing whole is installed."""
        try:
            written = self.place.receipt_file.stat().st_mtime_ns
        except OSError:
            return None
        if written != self._receipt[0]:
            whole = self.place.receipt() is not None
            self._receipt = (written, self.place.program if whole else None)
        return self._receipt[1]

    def outdated(self) -> bool:
        """Whether the add-on carries another backend than the one that is installed."""
        try:
            return self.place.state(find_wheel(self.wheel_folder)) == "outdated"
        except EnvironmentProblem:
            return False  # told when Install is pressed

    def install(self, *, online: bool) -> None:
        """Install, go on with, or update the backend."""
        if self.busy:
            return
        self.problem = self.remedy = self.freed_bytes = None
        try:
            wheel = find_wheel(self.wheel_folder)
        except EnvironmentProblem as error:
            self._failed(str(error), "install_log")
            return
        if wheel is None:
            self._failed("this copy of the add-on carries no backend; install its released zip", None)
            return
        request = Request(self.folder, wheel, allow_network=online, helper_python=self.helper_python)
        self._installation = Installation(request)
        self._installation.start()

    def cancel(self) -> None:
        """Stop installing; the next time goes on from there."""
        if self._installation is not None:
            self._installation.cancel()

    def uninstall(self) -> None:
        """Delete the environment; the server must have stopped."""
        if not self.busy:
            self.problem = self.remedy = self.freed_bytes = None
            self._removal = in_thread(self.place.uninstall)

    def size_bytes(self) -> int:
        """What uninstalling would free. Walks the folder: some tenths of a second."""
        return self.place.size_bytes()

    def close(self) -> None:
        """The add-on is switched off; a half-done installation is gone on with next time."""
        if self._installation is not None:
            self._installation.cancel()

    def poll(self, backend: BackendView) -> bool:
        """Bring the view up to date; whether it changed."""
        if self._size is not None and self._size.done():
            backend.installed_bytes, self._size = self._size.result(), None
            return True
        if backend.installed_bytes is None and self._size is None and not self.busy and self.program():
            self._size = in_thread(self.place.size_bytes)  # what uninstalling would free
        if self._installation is not None:
            return self._poll_installation(self._installation, backend)
        if self._removal is not None:
            changed = backend.state != "removing"
            backend.state, backend.step, backend.step_fraction = "removing", "Deleting the backend", None
            if self._removal.done():
                self._settle_removal(self._removal, backend)
                return True
            return changed
        return False

    def _poll_installation(self, installation: Installation, backend: BackendView) -> bool:
        progress = installation.progress
        changed = progress != self._shown or backend.state != "installing"
        self._shown = progress
        backend.state = "installing"
        backend.step, backend.step_fraction = progress.title, progress.fraction
        backend.log_line = progress.line
        if not installation.done:
            return changed
        self._installation = self._shown = None
        backend.state, backend.log_line = "stopped", ""
        try:
            installation.wait(0)
        except InstallError as error:
            self._failed(str(error), _REMEDIES.get(error.code, "install_log"))
        else:
            backend.installed_bytes = None
        return True

    def _settle_removal(self, removal: Future[int], backend: BackendView) -> None:
        self._removal = None
        backend.state, backend.installed_bytes = "stopped", None
        try:
            self.freed_bytes = removal.result()
        except (EnvironmentProblem, OSError) as error:
            self._failed(str(error), "restart")

    def told(self) -> str:
        """One sentence on the last removal, '' when there is nothing to say."""
        return "" if self.freed_bytes is None else f"{size_label(self.freed_bytes)} are free again"

    def _failed(self, message: str, remedy: str | None) -> None:
        self.problem, self.remedy = sentence(message), remedy


def in_thread(work: Callable[[], Any]) -> Future[Any]:
    """Do ``work`` in a thread of its own; its result or exception waits in the future."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    future.set_running_or_notify_cancel()
    threading.Thread(target=run, name="likeness-environment", daemon=True).start()
    return future
