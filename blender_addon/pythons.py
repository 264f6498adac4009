"""Finds a Python that the backend's environment can be made with, or uv, which brings one. No Blender."""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .runner import Runner
from .supervisor import clean_environment

VERSIONS = ("3.11", "3.12")  # that the backend runs on, the preferred first
_HELPER_FROM = (3, 8)  # a Python that can install uv

_PROBE = (
    "import sys,json,struct,platform,importlib.util as u;"
    "print(json.dumps([sys.executable,list(sys.version_info[:3]),struct.calcsize('P')*8,platform.machine(),"
    "[m for m in ('venv','ensurepip') if not u.find_spec(m)]]))"
)


@dataclass(frozen=True)
class Host:
    """This machine, as far as the installer cares; tests make others."""

    system: str  # "Linux", "Darwin" or "Windows"
    machine: str  # "x86_64", "arm64", "AMD64"…
    environment: Mapping[str, str]
    home: Path
    which: Callable[[str], str | None] = shutil.which
    find: Callable[[str], list[str]] = field(default=lambda pattern: sorted(glob.glob(pattern), reverse=True))

    @property
    def windows(self) -> bool:
        return self.system == "Windows"


def this_host() -> Host:
    return Host(platform.system(), platform.machine(), clean_environment(os.environ), Path.home())


@dataclass(frozen=True)
class Interpreter:
    """A Python that was run and found fit."""

    path: str
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Rejected:
    path: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What there is to make an environment with; all None: nothing."""

    python: Interpreter | None = None
    uv: str | None = None
    helper: str | None = None  # a Python that can install uv
    rejected: tuple[Rejected, ...] = ()


def search(host: Host, runner: Runner, helper_python: str | None) -> Found:
    """Look for a fit Python, else for uv, else for any Python that can install uv.

    ``helper_python``: one that is known to be there, such as Blender's own.
    """
    rejected: list[Rejected] = []
    asked: set[str] = set()
    for command in _candidates(host):
        found = _probe(host, runner, command)
        if isinstance(found, Interpreter):
            return Found(python=found)
        if isinstance(found, Rejected) and found.path not in asked:
            asked.add(found.path)
            rejected.append(found)
    for uv in _uv_places(host):
        answer = runner.ask([uv, "--version"], host.environment, 20.0)
        if answer is not None and answer.code == 0:
            return Found(uv=uv, rejected=tuple(rejected))
    for helper in [*([helper_python] if helper_python else []), "python3", "python"]:
        if _can_help(host, runner, helper):
            return Found(helper=helper, rejected=tuple(rejected))
    return Found(rejected=tuple(rejected))


def _candidates(host: Host) -> Iterator[tuple[str, ...]]:
    """Commands that may start a fit Python, the likeliest first."""
    for version in VERSIONS:
        names: list[tuple[str, ...]] = [(f"python{version}",)]
        if host.windows:
            names.insert(0, ("py", f"-{version}"))
        yield from (name for name in names if host.which(name[0]))
        for pattern in _places(host, version):
            for path in host.find(pattern):
                yield (path,)
    yield from ((name,) for name in ("python3", "python") if host.which(name))


def _places(host: Host, version: str) -> list[str]:
    """Patterns of files outside PATH, which programs that were started from a desktop often lack."""
    home = str(host.home)
    if host.windows:
        digits = version.replace(".", "")
        local = host.environment.get("LOCALAPPDATA", home + r"\AppData\Local")
        return [
            rf"{local}\Programs\Python\Python{digits}\python.exe",
            rf"{host.environment.get('ProgramFiles', 'C:')}\Python{digits}\python.exe",
            rf"C:\Python{digits}\python.exe",
            rf"{home}\.pyenv\pyenv-win\versions\{version}.*\python.exe",
            rf"{host.environment.get('APPDATA', home)}\uv\python\cpython-{version}.*\python.exe",
        ]
    name = f"python{version}"
    places = [
        f"/usr/bin/{name}",
        f"/usr/local/bin/{name}",
        f"{home}/.local/bin/{name}",
        f"{host.environment.get('PYENV_ROOT', home + '/.pyenv')}/versions/{version}.*/bin/{name}",
        f"{home}/.local/share/uv/python/cpython-{version}.*/bin/{name}",
    ]
    if host.system == "Darwin":
        return [
            f"/opt/homebrew/bin/{name}",
            f"/opt/homebrew/opt/python@{version}/bin/{name}",
            f"/usr/local/opt/python@{version}/bin/{name}",
            f"/Library/Frameworks/Python.framework/Versions/{version}/bin/{name}",
            f"/opt/local/bin/{name}",
            *places,
        ]
    return [*places, f"/home/linuxbrew/.linuxbrew/bin/{name}", f"/opt/python/{version}*/bin/{name}"]


def _uv_places(host: Host) -> Iterator[str]:
    on_path = host.which("uv")
    if on_path:
        yield on_path
    home = str(host.home)
    if host.windows:
        patterns = [rf"{home}\.local\bin\uv.exe", rf"{home}\.cargo\bin\uv.exe"]
    else:
        patterns = [f"{home}/.local/bin/uv", f"{home}/.cargo/bin/uv", "/opt/homebrew/bin/uv"]
    for pattern in patterns:
        yield from host.find(pattern)


def _probe(host: Host, runner: Runner, command: tuple[str, ...]) -> Interpreter | Rejected | None:
    """What ``command`` starts; None when it starts no Python at all (a shim, a shop's placeholder)."""
    answer = runner.ask([*command, "-I", "-c", _PROBE], host.environment, 20.0)
    if answer is None or answer.code != 0:
        return None
    try:
        path, version, bits, machine, lacking = json.loads(answer.text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return None
    numbers = (int(version[0]), int(version[1]), int(version[2]))
    minor = f"{numbers[0]}.{numbers[1]}"
    if minor not in VERSIONS:
        return Rejected(path, f"it is Python {minor}")
    if lacking:
        return Rejected(path, f"it lacks {' and '.join(lacking)}")
    if bits != 64:
        return Rejected(path, "it is a 32-bit Python")
    if host.system == "Darwin" and host.machine == "arm64" and machine != "arm64":
        return Rejected(path, "it is an Intel Python on an Apple processor")
    return Interpreter(path, numbers)


def _can_help(host: Host, runner: Runner, python: str) -> bool:
    code = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {_HELPER_FROM})"
    answer = runner.ask([python, "-I", "-c", code], host.environment, 20.0)
    return answer is not None and answer.code == 0


def how_to_get_python(host: Host, found: Found) -> str:
    """One sentence: what to install where neither a fit Python nor uv was found."""
    lacking = next((r for r in found.rejected if r.reason.startswith("it lacks")), None)
    if lacking is not None and host.system == "Linux":
        name = Path(lacking.path).name
        return (
            f"'{lacking.path}' cannot make environments ({lacking.reason}); "
            f"install its package (Debian, Ubuntu: sudo apt install {name}-venv) and try again"
        )
    what = {
        "Windows": "install Python 3.11 from python.org (64-bit)",
        "Darwin": "install Python 3.11 from python.org, or run: brew install python@3.11",
    }.get(
        host.system,
        "install it (Debian, Ubuntu: sudo apt install python3.11-venv; Fedora: sudo dnf install python3.11) "
        "or uv (docs.astral.sh/uv)",
    )
    return f"the backend needs Python 3.11 or 3.12 and none was found; {what}, then try again"
