"""``likeness doctor``: one line per check, and on each bad one what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from backend import __version__


@dataclass(frozen=True)
class Check:
    """The answer of one check; ``optional`` means absent but not needed for a reconstruction."""

    name: str
    state: Literal["good", "optional", "bad"]
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_all() -> list[Check]:
    """Every check, in the order a user would want to read them."""
    return [
        _python(),
        *_packages(),
        _weights(),
        _blender(),
        _gpu(),
        _memory(),
        _disk(),
    ]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Check("Python", "good", f"{version}, likeness {__version__}")
    return Check("Python", "bad", version, "make an environment with Python 3.11 or 3.12")


# Import name, distribution, what it is for.
_REQUIRED = (
    ("numpy", "numpy", "arrays"),
    ("numba", "numba", "rasteriser"),
    ("torch", "torch", "shading"),
    ("cv2", "opencv-contrib-python", "image sampling"),
    ("mediapipe", "mediapipe", "face landmarks"),
    ("PIL", "pillow", "photo decoding"),
    ("safetensors", "safetensors", "weights"),
)


def _packages() -> Iterator[Check]:
    for module, distribution, purpose in _REQUIRED:
        error = _import_error(module)
        if error is None:
            version = importlib.metadata.version(distribution)
            yield Check(distribution, "good", f"{version} ({purpose})")
        else:
            yield Check(
                distribution, "bad", f"{purpose}: {error}", _remedy(error, f"pip install {distribution}")
            )


def _import_error(module: str) -> str | None:
    """The last line of the error of importing ``module`` in a process of its own, None when it imports."""
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _remedy(error: str, install: str) -> str:
    if "cannot open shared object file" in error:
        return "a system library is missing; run packaging/setup.sh, which installs it"
    return install


def _weights() -> Check:
    from backend.errors import LikenessError
    from backend.head.registry import load_head

    try:
        head = load_head("open")
    except LikenessError as error:
        return Check(
            "open head", "bad", str(error), "reinstall likeness: its weights ship inside the package"
        )
    return Check("open head", "good", f"{len(head.mean_vertices)} vertices, licence {head.licence}")


def _blender() -> Check:
    name = "bpy (.blend, .glb, Cycles)"
    error = _import_error("bpy")
    if error is None:
        return Check(name, "good", importlib.metadata.version("bpy"))
    install = "pip install 'likeness[blend]' with Python 3.11; without it use reconstruct --no-blend"
    return Check(name, "bad", error, _remedy(error, install))


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("GPU", "good", torch.cuda.get_device_name(0))
    return Check("GPU", "optional", "none that CUDA can use; the embedded engine runs on the CPU")


def _memory() -> Check:
    total_gib = _total_memory() / 2**30
    detail = f"{total_gib:.1f} GiB, {os.cpu_count()} processors"
    if total_gib >= 4:
        return Check("memory", "good", detail)
    return Check("memory", "bad", detail, "at least 4 GiB are needed; 1K maps use up to 3 GiB")


def _total_memory() -> int:
    """Bytes of physical memory."""
    if sys.platform != "win32":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import ctypes

    kib = ctypes.c_ulonglong()
    ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kib))
    return kib.value * 1024


def _disk() -> Check:
    free_gib = shutil.disk_usage(os.getcwd()).free / 2**30
    detail = f"{free_gib:.1f} GiB free here"
    if free_gib >= 1:
        return Check("disk", "good", detail)
    return Check("disk", "bad", detail, "free some space: an avatar takes up to 200 MB at 4K")
