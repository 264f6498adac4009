"""Results of stages on disk: one safetensors file per stage and photo, nothing pickled.

``cache/<photo sha256>/<key>.safetensors`` holds the arrays of a stage's result; its header holds the
shape of the result (a small JSON tree over ``backend.artifacts``), the stage's warnings and a checksum
of all of it. A file appears whole; one that cannot be read in full is deleted and counts as absent. The
server forgets a photo by deleting its folder and trims the oldest used files (``storage.py``).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import zlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from backend import artifacts
from backend.engines import Given
from backend.stages import Kept

FORMAT = "likeness stage 1"
SUFFIX = ".safetensors"

_log = logging.getLogger(__name__)
_TYPES = {
    name: kind
    for name, kind in vars(artifacts).items()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == artifacts.__name__
}


class Damaged(ValueError):
    """An entry that is not what was written."""


class StageCache:
    """The stages kept of one photo (``backend.stages.Cache``)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # cache/<photo sha256>; made when first needed

    def load(self, key: str, given: Given) -> Kept | None:
        """The entry ``key``; None where there is none or it is damaged, which deletes it."""
        path = self._path(key)
        try:
            kept = read_entry(path, given)
            os.utime(path)  # the cache is trimmed by last use
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("a cached stage cannot be read (%s); it is made again", error)
            return None
        except (Damaged, SafetensorError, ValueError, KeyError, TypeError) as error:
            _log.warning("cached stage %s is damaged (%s); it is made again", path.name, error)
            with contextlib.suppress(OSError):  # then it is written over
                path.unlink()
            return None
        return kept

    def save(self, key: str, kept: Kept, given: Given) -> None:
        """Keep an entry. A disk that refuses it costs time later, not this job: it is logged."""
        path = self._path(key)
        fresh = self._folder / f".{key}.{secrets.token_hex(4)}.partial"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_entry(fresh, kept, given)
            fresh.replace(path)
        except (OSError, SafetensorError) as error:
            _log.warning("a stage was not kept for later (%s)", error)
        finally:
            with contextlib.suppress(OSError):  # mostly: it is in its place, or was never made
                fresh.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"


def write_entry(path: Path, kept: Kept, given: Given) -> None:
    """Write ``kept`` without its value's fields in ``given``. Raises: OSError, SafetensorError, TypeError."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = {"value": _flattened(kept.value, arrays, set(given)), "warnings": list(kept.warnings)}
    text = json.dumps(tree)
    save_file(arrays, path, {"format": FORMAT, "tree": text, "crc32": str(_checksum(text, arrays))})


def read_entry(path: Path, given: Given) -> Kept:
    """What ``write_entry`` wrote, the fields in ``given`` had from there.

    Raises: FileNotFoundError; Damaged, OSError, SafetensorError, ValueError, KeyError for a bad file.
    """
    if path.stat().st_size == 0:
        raise Damaged("empty")
    with safe_open(path, framework="np") as file:
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    if header.get("format") != FORMAT:
        raise Damaged("of another format")
    if header["crc32"] != str(_checksum(header["tree"], arrays)):
        raise Damaged("its checksum differs")
    tree = json.loads(header["tree"])
    return Kept(_restored(tree["value"], arrays, given), tuple(tree["warnings"]))


def _checksum(text: str, arrays: dict[str, np.ndarray[Any, Any]]) -> int:
    value = zlib.crc32(text.encode())
    for name in sorted(arrays):
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, value)
    return value


def _flattened(value: object, arrays: dict[str, np.ndarray[Any, Any]], left_out: set[str]) -> Any:
    """``value`` as a JSON tree, its arrays moved into ``arrays``."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}  # exact, also for infinities and NaN
    if isinstance(value, np.generic):
        return _flattened(value.item(), arrays, set())
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return {"tuple": [_flattened(item, arrays, set()) for item in value]}
    if type(value).__name__ in _TYPES and is_dataclass(value):
        own = [field.name for field in fields(value) if field.name not in left_out]
        return {
            "type": type(value).__name__,
            "fields": {name: _flattened(getattr(value, name), arrays, set()) for name in own},
        }
    raise TypeError(f"a stage's result holds a {type(value).__name__}, which the cache cannot keep")


def _restored(tree: Any, arrays: dict[str, np.ndarray[Any, Any]], given: Given) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "array" in tree:
        return arrays[tree["array"]].reshape(tree["shape"])
    if "tuple" in tree:
        return tuple(_restored(item, arrays, {}) for item in tree["tuple"])
    kind: Callable[..., Any] = _TYPES[tree["type"]]
    own = {name: _restored(item, arrays, {}) for name, item in tree["fields"].items()}
    return kind(**own, **{name: part() for name, part in given.items()})
