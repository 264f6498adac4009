"""Installs the backend into an environment of its own, in a thread. No Blender.

    installation = Installation(Request(folder, wheel, allow_network=True, helper_python=sys.executable))
    installation.start()
    installation.progress          # at any time, from any thread
    installation.cancel()
    installation.wait()            # Receipt, or raises InstallError

The same call installs, goes on where it was interrupted, repairs, and brings an older environment up to
the wheel. The server must not run meanwhile.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from .environment import DoctorLine, Environment, EnvironmentProblem, Receipt, Wheel, write_whole
from .install_plan import FREE_GB, Downloads, Step, diagnose, package_steps, python_steps, step_environment
from .pythons import Found, Host, how_to_get_python, search, this_host
from .runner import Runner, SystemRunner
from .torch_source import TorchSource, choose, find_gpu, versions_at

OFFLINE = (
    "Blender may not go online; allow it in Edit > Preferences > System > Network > Allow Online Access, "
    "then install again"
)
# Lines of the doctor about the machine or about Blender's module, which the add-on does without.
_NOT_OF_THE_INSTALLATION = ("bpy", "GPU", "memory", "disk")
_FIRST_STEPS_SHARE = 0.08  # of the whole time: before it is known which PyTorch it will be
_KEPT_LINES = 60


class InstallError(Exception):
    """``str``: one sentence with its advice. ``code``: offline, no_python, disk, network, rights, pip,
    check, busy or cancelled."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """``folder`` is the installer's alone. ``helper_python``: any Python ≥ 3.8 that is surely there."""

    folder: Path
    wheel: Wheel
    allow_network: bool
    helper_python: str | None = None


@dataclass(frozen=True)
class Progress:
    """``fraction`` of the whole, in [0, 1], never falling; ``line`` of what the program says."""

    fraction: float = 0.0
    title: str = ""
    line: str = ""


class Installation:
    """One run. ``on_progress`` is called on its thread; a panel reads ``progress`` instead."""

    def __init__(
        self,
        request: Request,
        *,
        host: Host | None = None,
        runner: Runner | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.progress = Progress()
        self._request = request
        self._host, self._runner = host or this_host(), runner or SystemRunner()
        self._place = Environment(request.folder, windows=self._host.windows)
        self._on_progress, self._free_bytes = on_progress, free_bytes
        self._cancelled = threading.Event()
        self._future: Future[Receipt] = Future()
        self._thread = threading.Thread(target=self._run, name="likeness-install", daemon=True)

    def start(self) -> None:
        self._future.set_running_or_notify_cancel()
        self._thread.start()

    @property
    def done(self) -> bool:
        return self._future.done()

    @property
    def log(self) -> Path:
        return self._place.log

    def cancel(self) -> None:
        """Stop at once. What is finished stays and is not done again next time."""
        self._cancelled.set()
        self._runner.kill()

    def wait(self, timeout_s: float | None = None) -> Receipt:
        """The receipt. Raises: InstallError, TimeoutError."""
        return self._future.result(timeout_s)

    # ------------------------------------------------------------------------------ its own thread

    def _run(self) -> None:
        try:
            self._future.set_result(self._install())
        except InstallError as error:
            self._future.set_exception(error)
        except EnvironmentProblem as error:
            self._future.set_exception(InstallError("busy", str(error)))
        except OSError as error:
            where = error.filename or self._place.folder
            code = "rights" if isinstance(error, PermissionError) else "disk"
            advice = "check the folder's rights" if code == "rights" else "check the disk"
            message = f"'{where}' cannot be written ({error.strerror}); {advice} and install again"
            self._future.set_exception(InstallError(code, message))
        except Exception as error:
            message = f"installing failed because of a bug of ours ({error!r}); the log is {self._place.log}"
            self._future.set_exception(InstallError("pip", message))

    def _install(self) -> Receipt:
        if not self._request.allow_network:
            raise InstallError("offline", OFFLINE)
        with self._place.locked():
            self._place.receipt_file.unlink(missing_ok=True)
            self._place.temporary.mkdir(exist_ok=True)
            try:
                with self._place.log.open("w", encoding="utf-8", buffering=1) as log:
                    return self._install_logged(log)
            finally:
                shutil.rmtree(self._place.temporary, ignore_errors=True)  # a killed program may write on

    def _install_logged(self, log: TextIO) -> Receipt:
        self._tell(Progress(0.0, "Looking for Python"))
        place, wheel = self._place, self._request.wheel
        gpu = find_gpu(self._host, self._runner)
        self._check_disk(FREE_GB[gpu is not None and not self._host.windows])
        found = self._python()
        note = (
            f"{found.python or found.uv or found.helper}; {gpu or 'no NVIDIA card'}; wheel {wheel.path.name}"
        )
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {note}\n")
        stamps = self._finished_steps()
        self._work(log, python_steps(found, place), stamps, 0.0, _FIRST_STEPS_SHARE)

        minor = found.python.minor if found.python is not None else "3.11"
        torch = choose(
            self._host,
            gpu,
            wheel.torch,
            lambda index: versions_at(index, self._host, self._runner, place.python, minor),
        )
        self._stop_if_cancelled()
        for line in torch.notes:
            log.write(f"note: {line}\n")
        self._check_disk(FREE_GB[torch.cuda])
        steps = package_steps(wheel, torch, place)
        said = self._work(log, steps, stamps, _FIRST_STEPS_SHARE, 1.0)
        return self._finish(said, torch, minor)

    def _finish(self, said: list[str], torch: TorchSource, minor: str) -> Receipt:
        """Judge the doctor's answer and write the receipt."""
        doctor = read_doctor(said)
        ours = [line for line in doctor if not line.name.startswith(_NOT_OF_THE_INSTALLATION)]
        bad = next((line for line in ours if line.state == "bad"), None)
        if not doctor or bad is not None:
            self._forget_step("check")
            what = f"{bad.name}: {bad.detail}; {bad.remedy}" if bad else "its doctor gave no answer"
            raise InstallError("check", f"the backend was installed but does not work ({what})")
        wheel = self._request.wheel
        receipt = Receipt(
            wheel_sha256=wheel.sha256,
            likeness=wheel.version,
            torch=f"{torch.version} {torch.label}",
            python=minor,
            finished_s=time.time(),
            doctor=tuple(doctor),
        )
        self._stop_if_cancelled()
        self._place.write_receipt(receipt)
        self._tell(Progress(1.0, "The backend is installed"))
        return receipt

    def _python(self) -> Found:
        if self._host.system == "Darwin" and self._host.machine == "x86_64":
            message = "PyTorch is not made for Intel Macs any more; use a backend on another machine"
            raise InstallError("no_python", message)
        found = search(self._host, self._runner, self._request.helper_python)
        self._stop_if_cancelled()
        if found.python is None and found.uv is None and found.helper is None:
            raise InstallError("no_python", how_to_get_python(self._host, found))
        return found

    def _check_disk(self, needed_gb: float) -> None:
        """What lies in the folder already counts as free, since it is part of what is needed."""
        free = self._free_bytes(self._place.folder) + self._place.size_bytes()
        if free < needed_gb * 1e9:
            message = (
                f"installing the backend needs {needed_gb:.0f} GB of free disk, and '{self._place.folder}' "
                f"has {free / 1e9:.1f} GB; free some space and install again"
            )
            raise InstallError("disk", message)

    # -------------------------------------------------------------------------------------- steps

    def _work(
        self, log: TextIO, steps: list[Step], stamps: dict[str, str], begin: float, end: float
    ) -> list[str]:
        """Carry out what is not done yet; returns the last step's lines. Shares of the whole: begin, end."""
        whole = sum(step.weight for step in steps)
        lines: list[str] = []
        for step in steps:
            share = (end - begin) * step.weight / whole
            at = self.progress.fraction
            if stamps.get(step.key) != step.stamp or step.key == "check":
                for stale in _from(stamps, step.key):  # the later ones stand on this one
                    del stamps[stale]
                self._write_stamps(stamps)
                lines = self._carry_out(log, step, at, share)
                stamps[step.key] = step.stamp
                self._write_stamps(stamps)
            self._tell(Progress(min(at + share, end), step.title))
        return lines

    def _carry_out(self, log: TextIO, step: Step, begin: float, share: float) -> list[str]:
        self._stop_if_cancelled()
        log.write(f"\n== {step.title}\n$ {' '.join(step.command)}\n")
        self._tell(Progress(begin, step.title))
        downloads = Downloads(step.download_bytes)
        last: deque[str] = deque(maxlen=_KEPT_LINES)

        def take(line: str) -> None:
            if not downloads.take(line):
                log.write(line + "\n")
                last.append(line)
            shown = last[-1] if last else ""
            self._tell(Progress(begin + share * downloads.fraction, step.title, shown))

        try:
            environment = step_environment(self._host, self._place)
            code = self._runner.run(step.command, environment, self._place.folder, take)
        except FileNotFoundError:
            self._stop_if_cancelled()
            raise InstallError("pip", f"'{step.command[0]}' cannot be run; install again") from None
        self._stop_if_cancelled()
        if code not in step.accepts:
            diagnosis = diagnose(step, code, list(last))
            raise InstallError(diagnosis.code, f"{diagnosis.message} (log: {self._place.log})")
        return list(last)

    def _finished_steps(self) -> dict[str, str]:
        """Stamps of the steps that need no repetition, in their order."""
        try:
            stamps = msgspec.json.decode(self._place.stamps.read_bytes(), type=dict[str, str])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}
        python = str(self._place.python)
        answer = self._runner.ask([python, "-I", "-m", "pip", "--version"], self._host.environment, 60.0)
        self._stop_if_cancelled()
        return stamps if answer is not None and answer.code == 0 else {}

    def _forget_step(self, key: str) -> None:
        stamps = self._finished_steps()
        stamps.pop(key, None)
        self._write_stamps(stamps)

    def _write_stamps(self, stamps: dict[str, str]) -> None:
        write_whole(self._place.stamps, msgspec.json.encode(stamps))

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise InstallError("cancelled", "installing was cancelled; install again to go on from here")

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        self._on_progress(progress)


def _from(stamps: dict[str, str], key: str) -> list[str]:
    """``key`` and the keys after it; [] when it is not there."""
    keys = list(stamps)
    return keys[keys.index(key) :] if key in keys else []


def read_doctor(lines: list[str]) -> list[DoctorLine]:
    """The doctor's checks from the lines of ``likeness doctor --json``; [] when there are none."""
    for line in reversed(lines):
        try:
            return msgspec.convert(json.loads(line), list[DoctorLine])
        except (ValueError, msgspec.ValidationError):
            continue
    return []
