"""What installing the backend consists of: the steps and their commands, as data. No Blender."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .environment import Environment, Wheel
from .pythons import Found, Host
from .torch_source import TorchSource

PYTHON_BY_UV = "3.11"
FREE_GB = {False: 5.0, True: 14.0}  # needed while installing, without and with CUDA libraries

_PIP = "pip>=24.1"  # the first that can tell its progress to programs
_TORCH_DOWNLOAD = {False: 250_000_000, True: 3_200_000_000}
_REST_DOWNLOAD = 480_000_000


@dataclass(frozen=True)
class Step:
    """One command. ``stamp`` changes when what it installs does."""

    key: str
    title: str
    weight: float  # share of the whole time, any unit
    command: tuple[str, ...]
    stamp: str
    download_bytes: int = 0  # roughly, for the progress within the step
    accepts: tuple[int, ...] = (0,)  # exit codes


def python_steps(found: Found, place: Environment) -> list[Step]:
    """Make the environment and bring its pip up to date."""
    python, helper = str(place.python), str(place.helper_python)
    steps = []
    if found.python is not None:
        minor = found.python.minor
        make: tuple[str, ...] = (found.python.path, "-I", "-m", "venv", "--clear", str(place.venv))
    else:
        minor = PYTHON_BY_UV
        uv = found.uv
        if uv is None:
            assert found.helper is not None
            uv = str(place.helper_uv)
            steps = [
                _step(
                    "helper",
                    "Making room for uv",
                    2,
                    (found.helper, "-I", "-m", "venv", "--clear", str(place.helper)),
                ),
                _step("uv", "Fetching uv", 2, (*_pip(helper), "install", "--upgrade", "uv"), 20_000_000),
            ]
        make = (uv, "venv", "--seed", "--python", minor, str(place.venv))
    return [
        *steps,
        _step("python", f"Making an environment of Python {minor}", 4, make, marks=minor),
        _step("pip", "Updating pip", 2, (*_pip(python), "install", "--upgrade", _PIP), 2_000_000),
    ]


def package_steps(wheel: Wheel, torch: TorchSource, place: Environment) -> list[Step]:
    """Install PyTorch and the backend, then let the backend check itself."""
    python = str(place.python)
    pin = f"torch=={wheel.torch}"
    index = ("--index-url", torch.index) if torch.index else ()
    install = (*_pip(python), "install", "--progress-bar", "raw")
    return [
        _step(
            "torch",
            f"Installing PyTorch {torch.version} {torch.label}",
            60 if torch.cuda else 30,
            (*install, f"torch=={torch.version}", *index),
            _TORCH_DOWNLOAD[torch.cuda],
        ),
        _step(
            "packages",
            "Installing what the backend needs",
            40,
            # the pin again, so that no other package brings another torch
            (*install, pin, str(wheel.path)),
            _REST_DOWNLOAD,
            marks=wheel.sha256,
        ),
        _step(
            "backend",
            f"Installing the backend {wheel.version}",
            2,
            # a wheel of the same version with other contents replaces the one that is there
            (*_pip(python), "install", "--no-deps", "--force-reinstall", str(wheel.path)),
            marks=wheel.sha256,
        ),
        _step(
            "check",
            "Checking the backend",
            10,
            (str(place.program), "doctor", "--json"),
            marks=wheel.sha256,
            accepts=(0, 3),
        ),
    ]


def step_environment(host: Host, place: Environment) -> Mapping[str, str]:
    """Variables for every step: nothing of the user's that sends packages elsewhere."""
    misleading = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON"}
    kept = {name: value for name, value in host.environment.items() if name.upper() not in misleading}
    scratch = str(place.temporary)
    return kept | {
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_PYTHON_INSTALL_DIR": str(place.pythons),
        "UV_NO_PROGRESS": "1",
        "UV_VENV_CLEAR": "1",  # as an option it is unknown to older ones, which clear unasked
        "TMPDIR": scratch,
        "TEMP": scratch,
        "TMP": scratch,
    }


def _pip(python: str) -> tuple[str, ...]:
    return (python, "-I", "-m", "pip")


def _step(
    key: str,
    title: str,
    weight: float,
    command: tuple[str, ...],
    download_bytes: int = 0,
    *,
    marks: str = "",
    accepts: tuple[int, ...] = (0,),
) -> Step:
    """The stamp hashes ``marks`` where the command itself may change without need (paths, titles)."""
    digest = hashlib.sha256("\0".join([key, marks] if marks else [key, *command]).encode())
    return Step(key, title, weight, command, digest.hexdigest(), download_bytes, accepts)


# ---------------------------------------------------------------------- what the programs say

_RAW = re.compile(r"^Progress (\d+) of (\d+)$")
_NO_NETWORK = re.compile(
    r"name resolution|NameResolutionError|NewConnectionError|ConnectTimeout|Connection refused|"
    r"Network is unreachable|getaddrinfo failed|nodename nor servname|ProxyError|"
    r"Max retries exceeded|dns error|error sending request|SSLError|CERTIFICATE_VERIFY_FAILED",
)
_DISK_FULL = re.compile(r"No space left on device|not enough space|Disk quota exceeded", re.I)
_NO_RIGHTS = re.compile(r"Permission denied|Access is denied|Operation not permitted|Read-only file system")
_NO_MATCH = re.compile(r"No matching distribution found|from versions: none")


class Downloads:
    """Turns pip's raw progress into the fraction of a step."""

    def __init__(self, expected_bytes: int) -> None:
        self._expected = expected_bytes
        self._done = self._current = self._size = 0
        self.fraction = 0.0

    def take(self, line: str) -> bool:
        """Whether ``line`` is progress and nothing for the log."""
        match = _RAW.match(line)
        if match is None:
            if line.startswith("Installing collected packages"):
                self.fraction = max(self.fraction, 0.8)
            return False
        current, size = int(match[1]), int(match[2])
        if size != self._size or current < self._current:
            self._done += self._size
        self._current, self._size = current, size
        if self._expected:
            share = (self._done + current) / max(self._expected, self._done + size)
            self.fraction = max(self.fraction, 0.8 * share)
        return True


@dataclass(frozen=True)
class Diagnosis:
    code: str  # "network", "disk", "rights" or "pip"
    message: str


def diagnose(step: Step, code: int, lines: list[str]) -> Diagnosis:
    """Why a step failed, from the last lines of its program."""
    text = "\n".join(lines)
    if _DISK_FULL.search(text):
        return Diagnosis("disk", "the disk is full; free some space and install again")
    if _NO_NETWORK.search(text) or (_NO_MATCH.search(text) and not _reached(lines)):
        return Diagnosis(
            "network", "the package server cannot be reached; check network and proxy, then install again"
        )
    if _NO_RIGHTS.search(text):
        line = next(line for line in reversed(lines) if _NO_RIGHTS.search(line))
        return Diagnosis("rights", f"a file may not be written ({_short(line)}); check the folder's rights")
    errors = [line for line in lines if re.match(r"(ERROR|error|Error|fatal|×)[: ]", line)]
    said = next(reversed(errors), next((line for line in reversed(lines) if line.strip()), "no message"))
    return Diagnosis("pip", f"'{step.title}' failed with exit code {code}: {_short(said)}")


def _reached(lines: list[str]) -> bool:
    """Whether any package was found: then a missing one is not for want of a network."""
    return any(line.startswith(("Collecting", "Downloading", "Using cached")) for line in lines)


def _short(line: str) -> str:
    line = re.sub(r"^(ERROR|error|Error): *", "", line.strip())
    return line if len(line) <= 200 else line[:199] + "…"
