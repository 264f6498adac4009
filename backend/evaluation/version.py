"""What figures depend on beside the case and the options: code, its libraries, the head model's content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from backend.head.registry import load_head
from backend.stages import code_version, head_digest

# Modules that begin so: showing a figure does not change it.
_SHOWING = ("report", "compare", "command", "gallery")
_MAKING = (  # the avatar that is measured, beside what ``stages.code_version`` counts
    "backend/evaluation/methods.py",
    "backend/export/bundle_writer.py",
    "backend/export/map_files.py",
    "blender_addon/arrays.py",
    "blender_addon/bundle.py",
    "blender_addon/correctives.py",
    "blender_addon/landmarks.py",
    "blender_addon/splat_binding.py",
    "blender_addon/splat_sh.py",
    "blender_addon/splats.py",
    "blender_addon/splats_record.py",
)
_DRAWING = (  # views of it
    "backend/export/blend_worker.py",
    "backend/export/blender_process.py",
    "backend/export/views.py",
    "blender_addon/scene",
    "blender_addon/splat_frames.py",
)
_LIBRARIES = ("numpy", "scipy", "numba", "opencv-contrib-python", "pillow", "msgspec", "bpy")


def avatar_version(head: str) -> str:
    """A hash of all that an avatar depends on beside photo and options.

    Of a ``head`` in a file of its own the content counts, not only the name. Raises: as ``load_head``.
    """
    return _hash((head_digest(load_head(head)).encode(), code_version().encode(), *_content(making_files())))


@cache
def evaluation_version() -> str:
    """A hash of the code that makes, draws and measures avatars, and of its libraries."""
    files = (*making_files(), *measuring_files())
    return _hash((*_content(files), *(f"{name} {_version(name)}".encode() for name in _LIBRARIES)))


def making_files() -> tuple[Path, ...]:
    """The modules that write avatars."""
    return _modules(_MAKING)


def measuring_files() -> tuple[Path, ...]:
    """The modules that draw and measure avatars."""
    own = Path(__file__).parent.glob("*.py")
    return (*sorted(file for file in own if not file.stem.startswith(_SHOWING)), *_modules(_DRAWING))


def _modules(names: Iterable[str]) -> tuple[Path, ...]:
    found: list[Path] = []
    for name in names:
        package, _, rest = name.partition("/")
        path = _folder(package) / rest
        found += sorted(path.glob("*.py")) if path.is_dir() else [path]
    return tuple(found)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # found, not imported: the add-on's package asks for Blender
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {package} beside the backend: install Likeness again.")
    return Path(spec.origin).parent


def _content(files: Iterable[Path]) -> Iterable[bytes]:
    return (file.name.encode() + b"\0" + file.read_bytes() for file in files)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"  # bpy is optional: what needs it is left out


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
