"""The doctor from the add-on's side: what is right, what is not, and which button helps. No Blender.

``check_all`` judges ``Facts``; whoever gathers them touches files, clients and Blender. ``run_doctor``
asks the installed backend and takes seconds: call it from a thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import protocol
from .connection import Connection
from .environment import DoctorLine, EnvironmentState, Receipt, Wheel
from .install import read_doctor
from .protocol import PROTOCOL, Problem
from .pythons import this_host
from .runner import Runner, SystemRunner
from .supervision import State as SupervisorState

GIB = 1 << 30
LEAST_MEMORY = 4 * GIB
LEAST_DISK = 2 * GIB
_MUCH_OF_MEMORY = 0.5  # of the machine's, held by an idle backend

# Lines of the backend's own doctor that are told here better, or that the add-on does without.
_TOLD_HERE = ("Python", "bpy", "GPU", "memory", "disk")


@dataclass(frozen=True)
class Check:
    """One line. ``optional``: not needed, or not known while the backend is off.

    ``remedy``: an id of ``remedies.REMEDIES``.
    """

    name: str
    state: Literal["good", "optional", "bad"]
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known at the moment of checking; None where it is not."""

    remote: bool  # the preferences name a server on another machine
    online_access: bool  # bpy.app.online_access
    environment: EnvironmentState
    receipt: Receipt | None
    wheel: Wheel | None  # that the add-on carries
    supervisor: SupervisorState
    connection: Connection | None  # the connection file
    welcome: protocol.Welcome | None  # while connected
    problem: Problem | None  # of the client, while not connected
    server: protocol.State | None  # the last answer to List
    disk_free_bytes: int
    memory_total_bytes: int | None
    doctor: Sequence[DoctorLine] = ()


def check_all(facts: Facts) -> list[Check]:
    """Every check, in the order in which one builds on the other."""
    checks = [] if facts.remote else [_installed(facts), _version(facts), _online(facts)]
    checks += [_running(facts), _protocol(facts), _device(facts), *_last_exit(facts)]
    checks += [_memory(facts), *([] if facts.remote else [_disk(facts)]), *_cache(facts), _privacy(facts)]
    if not facts.remote:
        checks += _of_the_backend(facts.doctor)
    return checks


def _installed(facts: Facts) -> Check:
    name = "Backend"
    if facts.environment == "absent":
        if facts.wheel is None:
            detail = "this build of the add-on carries none; install the add-on's zip from its releases"
            return Check(name, "bad", detail, "preferences")
        return Check(name, "bad", "not installed", "install")
    if facts.environment == "partial":
        return Check(name, "bad", "its installation was interrupted; install goes on from there", "install")
    receipt = facts.receipt
    detail = (
        f"{receipt.likeness}, Python {receipt.python}, PyTorch {receipt.torch}" if receipt else "installed"
    )
    return Check(name, "good", detail)


def _version(facts: Facts) -> Check:
    name = "Version"
    if facts.receipt is None or facts.wheel is None:
        return Check(name, "optional", "nothing to compare")
    if facts.environment == "outdated":
        detail = f"backend {facts.receipt.likeness} is not the one of this add-on ({facts.wheel.version})"
        return Check(name, "bad", detail, "reinstall")
    server = facts.welcome.server if facts.welcome else None
    if server is not None and server.split()[-1] != facts.receipt.likeness:
        return Check(name, "bad", f"{server} still runs, {facts.receipt.likeness} is installed", "restart")
    return Check(name, "good", f"backend and add-on belong together ({facts.receipt.likeness})")


def _online(facts: Facts) -> Check:
    name = "Online access"
    if facts.online_access:
        return Check(name, "good", "allowed; used for installing the backend only")
    if facts.environment in ("ready", "outdated"):
        return Check(name, "optional", "off; only installing the backend needs it")
    return Check(name, "bad", "off; installing the backend needs it", "online")


def _running(facts: Facts) -> Check:
    name = "Server"
    if facts.welcome is not None:
        return Check(name, "good", f"{facts.welcome.server} answers")
    if facts.remote:
        detail = facts.problem.message if facts.problem else "not connected"
        return Check(name, "bad", detail, "preferences")
    state = facts.supervisor
    if state.phase == "gave_up":
        return Check(name, "bad", state.message, state.remedy or "log")
    if state.phase in ("looking", "starting", "waiting"):
        return Check(name, "optional", f"starting ({state.message})" if state.message else "starting")
    if state.phase == "running":
        detail = facts.problem.message if facts.problem else "it does not answer"
        return Check(name, "bad", detail, "restart")
    if state.phase == "stopping":
        return Check(name, "optional", "stopping")
    installed = facts.environment in ("ready", "outdated")
    return Check(name, "optional", state.message or "not running", "start" if installed else None)


def _protocol(facts: Facts) -> Check:
    name = "Protocol"
    if facts.problem is not None and facts.problem.code == "protocol":
        remedy = (
            "preferences" if facts.remote or "update the add-on" in facts.problem.message else "reinstall"
        )
        return Check(name, "bad", facts.problem.message, remedy)
    if facts.welcome is None:
        return Check(name, "optional", f"{PROTOCOL} here; the backend's is known when it runs")
    return Check(name, "good", f"{PROTOCOL} on both sides")


def _device(facts: Facts) -> Check:
    name = "Device"
    if facts.server is not None and facts.server.workers:
        return Check(name, "good", ", ".join(dict.fromkeys(w.device for w in facts.server.workers)))
    gpu = next((line for line in facts.doctor if line.name == "GPU"), None)
    if gpu is not None:
        return Check(name, "good", gpu.detail)
    return Check(name, "optional", "known when the backend runs")


def _last_exit(facts: Facts) -> list[Check]:
    """Workers that ended against their will."""
    workers = facts.server.workers if facts.server else ()
    return [
        Check(f"Worker ({worker.device})", "bad", f"was started again: {worker.last_exit}", "log")
        for worker in workers
        if worker.last_exit
    ]


def _memory(facts: Facts) -> Check:
    name = "Memory"
    total = facts.memory_total_bytes
    server = facts.server
    parts = [server.rss_mb, *(worker.rss_mb for worker in server.workers)] if server else []
    used = sum(part for part in parts if part is not None) * 1e6
    detail = ", ".join(
        [
            *([f"{total / GIB:.1f} GiB"] if total and not facts.remote else []),
            *([f"the backend holds {used / GIB:.1f} GiB"] if server else []),
        ]
    )
    if total is None or facts.remote:
        return Check(name, "good" if server else "optional", detail or "known when the backend runs")
    if total < LEAST_MEMORY:
        return Check(name, "bad", f"{detail}; at least 4 GiB are needed, 1K maps use up to 3 GiB", None)
    idle = server is not None and all(worker.state != "busy" for worker in server.workers)
    if idle and used > _MUCH_OF_MEMORY * total:
        return Check(name, "bad", f"{detail} while it is idle", "free_memory")
    return Check(name, "good", detail)


def _disk(facts: Facts) -> Check:
    detail = f"{facts.disk_free_bytes / GIB:.1f} GiB free for photos and avatars"
    if facts.disk_free_bytes < LEAST_DISK:
        return Check("Disk", "bad", f"{detail}; free some space or lower the cache limit", "preferences")
    return Check("Disk", "good", detail)


def _cache(facts: Facts) -> list[Check]:
    server = facts.server
    if server is None:
        return []
    detail = f"{server.cache_bytes / GIB:.1f} of {server.cache_cap_bytes / GIB:.0f} GiB"
    return [Check("Cache", "good", detail)]


def _privacy(facts: Facts) -> Check:
    name = "Privacy"
    if facts.remote:
        where = facts.connection.commands if facts.connection else "another machine"
        return Check(name, "optional", f"photos are sent to {where}, encrypted")
    if facts.server is not None and facts.server.networked:
        return Check(name, "optional", "the backend serves other machines too; your photos stay here")
    if facts.connection is not None and not is_local(facts.connection):
        detail = f"the backend listens at {facts.connection.commands}, not on this machine alone"
        return Check(name, "bad", detail, "restart")
    return Check(name, "good", "nothing left this machine")


def _of_the_backend(doctor: Sequence[DoctorLine]) -> list[Check]:
    """The lines of the backend's own doctor about its packages and weights."""
    return [
        Check(
            line.name,
            line.state,
            f"{line.detail}; {line.remedy}" if line.state == "bad" and line.remedy else line.detail,
            "reinstall" if line.state == "bad" else None,
        )
        for line in doctor
        if not line.name.startswith(_TOLD_HERE)
    ]


def is_local(connection: Connection) -> bool:
    """Whether both endpoints can be reached from this machine alone."""
    local = ("ipc://", "tcp://127.", "tcp://[::1]:", "tcp://localhost:")
    return all(endpoint.startswith(local) for endpoint in (connection.commands, connection.events))


def run_doctor(program: Path, runner: Runner | None = None) -> list[DoctorLine]:
    """What ``likeness doctor`` of the installed backend says; blocks for seconds.

    A doctor that cannot answer is itself a bad line.
    """
    answer = (runner or SystemRunner()).ask(
        [str(program), "doctor", "--json"], this_host().environment, 180.0
    )
    lines = read_doctor(answer.text.splitlines()) if answer is not None else []
    if lines:
        return lines
    said = answer.text.strip().splitlines()[-1:] if answer is not None else []
    detail = said[0] if said else "it gave no answer"
    return [DoctorLine(name="Doctor", state="bad", detail=detail, remedy="install the backend again")]


def total_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not tell."""
    if sys.platform == "win32":
        import ctypes

        kib = ctypes.c_ulonglong()
        told = ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kib))
        return kib.value * 1024 if told else None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
