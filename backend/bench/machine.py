"""The machine in words and figures, without its name or its user's."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from backend import __version__
from backend.bench.record import Machine

DISTRIBUTIONS = (
    "numpy",
    "numba",
    "torch",
    "scipy",
    "opencv-contrib-python",
    "mediapipe",
    "pyzmq",
    "bpy",
    "embreex",
    "mitsuba",
    "moderngl",
    "nvdiffrast",
)


def describe() -> Machine:
    """This machine, now."""
    total, free = _memory_gib()
    return Machine(
        cpu=_cpu(),
        cores=_usable_cores(),
        cores_of_the_machine=os.cpu_count() or 1,
        memory_gib=round(total, 1),
        memory_free_gib=round(free, 1),
        load_at_start=load(),
        system=_system(),
        gpu=_gpu(),
        versions=_versions(),
    )


def load() -> float | None:
    """Processes that wanted a core, averaged over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return " ".join(value.split())
    return (
        _first_line(["sysctl", "-n", "machdep.cpu.brand_string"])
        or platform.processor()
        or platform.machine()
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> tuple[float, float]:
    """All memory and what is free for programs; 0 where the system does not tell."""
    info = Path("/proc/meminfo")
    if info.is_file():
        kib = {line.split(":")[0]: int(line.split()[1]) for line in info.read_text().splitlines()}
        return kib["MemTotal"] / 2**20, kib.get("MemAvailable", kib["MemFree"]) / 2**20
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 0.0
    return 0.0, 0.0


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = f"{platform.system()} {platform.release()}"
    return f"{name}, {platform.machine()}"


def _gpu() -> str | None:
    return _first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version(), "Likeness": __version__}
    commit = _commit()
    if commit is not None:
        found["commit"] = commit
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The checkout's commit, with "+" where files differ from it; None when this is not a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _first_line(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    if commit is None:
        return None
    changed = _first_line(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}+" if changed else commit


def _first_line(command: list[str]) -> str | None:
    """What a program says first; None when it is not there, fails or says nothing."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None
