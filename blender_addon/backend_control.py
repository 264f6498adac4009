"""The backend as the panels command it: this machine's process, or a server elsewhere. No Blender.

Brings supervisor, installer and checks together and turns what they say into ``view.BackendView``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from . import protocol
from .checks import Check
from .client import Client
from .connection import CONNECTION_NAME
from .doctor import Known, examine
from .environment_control import EnvironmentControl, in_thread
from .supervision import State
from .supervisor import ServerProcess, Supervisor, clean_environment, serve_command
from .view import BackendState, View, sentence

_LOCAL: dict[str, BackendState] = {
    "stopped": "stopped",
    "looking": "starting",
    "starting": "starting",
    "running": "ready",
    "waiting": "starting",
    "stopping": "stopping",
    "gave_up": "failed",
}


@dataclass
class BackendControl:
    """One per runtime; ``poll`` is called on every tick and never blocks."""

    data: Path  # the server's data folder on this machine
    downloads: Path  # avatar folders of servers elsewhere
    environment: EnvironmentControl
    program_name: str  # for Hello
    remote: Callable[[], Path | None]  # the connection file of a server elsewhere; None: this machine
    serve_arguments: Callable[[], list[str]] = list
    _supervisor: Supervisor[Client] | None = None
    _peek: Client | None = None  # looks for a server that another Blender, or one before this, has left
    _peeked: bool = False
    _once_stopped: Callable[[], None] | None = None  # what waits for the server's end
    _remote_client: Client | None = None

    @property
    def client(self) -> Client | None:
        """The connection, while one is wanted."""
        if self._remote_client is not None:
            return self._remote_client
        return self._supervisor.client if self._supervisor is not None else None

    @property
    def log_file(self) -> Path | None:
        """The server's log on this machine, else what its process said; None when there is neither."""
        for file in (self.data / "logs" / "server.log", self._process_log):
            if file.is_file():
                return file
        return None

    @property
    def _process_log(self) -> Path:
        return self.data / "logs" / "process.log"

    def start(self) -> None:
        """Want a backend. What comes of it is seen by ``poll``."""
        remote = self.remote()
        if remote is not None:
            self._close_remote()
            self._remote_client = Client(remote, self.program_name)
            return
        self.environment.problem = self.environment.freed_bytes = None
        if self._supervisor is None:
            self._supervisor = Supervisor(
                spawn=self._spawn, open_client=self._open_client, process_log=self._process_log
            )
        self._supervisor.start()

    def stop(self) -> None:
        """Want none; a server of this machine ends."""
        self._close_remote()
        if self._supervisor is not None:
            self._supervisor.stop()

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    @property
    def busy(self) -> bool:
        """Whether something is being installed or removed, or will be once the server has ended."""
        return self._once_stopped is not None or self.environment.busy

    def install(self, *, online: bool) -> None:
        """Stop the server of this machine, then install or update its environment."""
        self._after_stopping(lambda: self.environment.install(online=online))

    def uninstall(self) -> None:
        """Stop the server of this machine, then delete its environment."""
        self._after_stopping(self.environment.uninstall)

    def _after_stopping(self, work: Callable[[], None]) -> None:
        self.stop()
        self._once_stopped = work

    def examine(self, *, online: bool, server: protocol.State | None) -> Future[list[Check]]:
        """Run the doctor in a thread."""
        client = self.client
        known = Known(
            environment=self.environment.place,
            wheel_folder=self.environment.wheel_folder,
            data=self.data,
            remote=self.remote(),
            online=online,
            supervisor=self._supervisor.state if self._supervisor is not None else State(),
            welcome=client.welcome if client is not None else None,
            problem=client.problem if client is not None else None,
            server=server,
        )
        return in_thread(lambda: examine(known))

    def disconnect(self) -> None:
        """Let go of any server, without ending it."""
        self._close_remote()
        if self._peek is not None:
            self._peek.close()
            self._peek = None
        if self._supervisor is not None:
            self._supervisor.leave()
            self._supervisor = None

    def close(self) -> None:
        """The add-on is switched off: no thread stays; a server ends when its queue is empty."""
        self.disconnect()
        self.environment.close()

    def poll(self, view: View) -> None:
        """Look how things stand and bring ``view.backend`` up to date."""
        backend = view.backend
        self._look_for_a_server()
        if self._once_stopped is not None and self._has_stopped():
            work, self._once_stopped = self._once_stopped, None
            work()
        if self.environment.poll(backend):
            view.touch()
        if backend.state in ("installing", "removing"):
            return
        state, message, remedy = self._stands()
        shown = (state, message, remedy)
        if shown != (backend.state, backend.message, backend.remedy):
            backend.state, backend.message, backend.remedy = state, message, remedy
            view.touch()

    def _look_for_a_server(self) -> None:
        """Once, at the beginning: use a server that runs already, and start none."""
        if self._peek is None:
            if not self._peeked and self._supervisor is None and self.remote() is None:
                self._peeked = True
                if (self.data / CONNECTION_NAME).is_file():
                    self._peek = Client(self.data / CONNECTION_NAME, self.program_name)
            return
        found, wanted = self._peek.connected, self._supervisor is not None or self.remote() is not None
        if found or wanted or self._peek.problem is not None:
            self._peek.close()
            self._peek = None
        if found and not wanted:
            self.start()

    def _has_stopped(self) -> bool:
        return self._supervisor is None or self._supervisor.poll().phase in ("stopped", "gave_up")

    def _stands(self) -> tuple[BackendState, str, str | None]:
        remote = self.remote()
        if remote is not None:
            return self._stands_remote(remote)
        installed = self.environment.program() is not None
        if self._supervisor is None or (self._supervisor.state.phase == "stopped" and not installed):
            if self.environment.problem is not None:
                return "stopped" if installed else "absent", self.environment.problem, self.environment.remedy
            return "stopped" if installed else "absent", self.environment.told(), None
        state = self._supervisor.poll()
        shown = _LOCAL[state.phase]
        client = self._supervisor.client
        message = sentence(state.message)
        if shown == "ready" and (client is None or not client.connected):
            return "lost", "The backend does not answer; waiting for it", "restart"
        if shown == "ready":
            return "ready", "", None
        if shown == "failed":
            return "failed", message, state.remedy or "log"
        return shown, message, None

    def _stands_remote(self, file: Path) -> tuple[BackendState, str, str | None]:
        client = self._remote_client
        if client is None:
            return "stopped", "", None
        if client.connected:
            return "ready", "", None
        if not file.is_file():
            message = f"There is no connection file '{file}'; choose it in the add-on's preferences"
            return "failed", message, "preferences"
        if client.problem is None:
            return "starting", "", None
        return "failed", sentence(client.problem.message), "preferences"

    def _spawn(self) -> ServerProcess:
        program = self.environment.program()
        if program is None:
            raise FileNotFoundError(2, "it is not installed")
        command = serve_command(program, self.data, os.getpid(), self.serve_arguments())
        return ServerProcess(command, self._process_log, clean_environment(os.environ))

    def _open_client(self) -> Client:
        return Client(self.data / CONNECTION_NAME, self.program_name)

    def _close_remote(self) -> None:
        if self._remote_client is not None:
            self._remote_client.close()
            self._remote_client = None
