"""How the pipeline runs its stages: timed, reported, and, where a cache is given, made only once.

A stage's **key** is a hash of its name and implementation, the code and libraries that compute, and all
that it reads: the keys of its inputs, its options, and the job's seed where ``Stage.reads_seed`` says so.
The arguments that the pipeline hands a stage are thereby the whole truth of what it depends on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from backend.artifacts import OnHead, Photo, Run, StageRecord
from backend.engines import Given, Stage
from backend.head.base import ParametricHead

P = ParamSpec("P")
R = TypeVar("R")

_COMPUTING = (
    "gaussians",
    "geometry",
    "head",
    "marcus",
    "photo",
    "shading",
    "texture",
    "uvspace",
    "weights",
)  # packages whose code counts
_COMPUTING_MODULES = ("artifacts.py", "colour.py", "corrections.py", "engines.py", "exr.py", "pipeline.py")
_LIBRARIES = ("numpy", "scipy", "numba", "opencv-contrib-python", "mediapipe", "pillow", "torch")


@dataclass(frozen=True)
class Kept:
    """What the cache holds of one stage."""

    value: object
    warnings: tuple[str, ...]  # that the stage gave when it was run


class Cache(Protocol):
    """Keeps results of stages. An entry that cannot be read counts as none; one not written, as well."""

    def load(self, key: str, given: Given) -> Kept | None:
        """The entry ``key``, its value's fields in ``given`` had from there."""

    def save(self, key: str, kept: Kept, given: Given) -> None:
        """Keep ``kept`` without its value's fields in ``given``."""


@dataclass(frozen=True)
class Finished:
    """One stage that has ended well."""

    stage: str
    value: object
    record: StageRecord
    cached: bool


class Watcher(Protocol):
    """Is told of every stage by the thread that runs it; what it raises stops the pipeline."""

    def started(self, stage: str, implementation: str) -> None: ...

    def finished(self, stage: Finished) -> None: ...


class Stages:
    """Calls stages in turn for one job; ``records`` are their lines of ``avatar.json``."""

    def __init__(self, run: Run, cache: Cache | None = None, watcher: Watcher | None = None) -> None:
        self.records: list[StageRecord] = []
        self._run = run
        self._cache = cache
        self._watcher = watcher
        self._keys: dict[int, tuple[object, str]] = {}  # by identity; the object is held so that it stays one

    def __call__(self, stage: Stage[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The stage's result, from the cache if it has one. Raises: Cancelled, what the stage raises."""
        self._run.progress(stage.name, 0.0)
        if self._watcher is not None:
            self._watcher.started(stage.name, stage.implementation)
        start = time.perf_counter()
        value, cached = self._made(stage, args, lambda: stage(*args, **kwargs))
        record = StageRecord(stage.name, stage.implementation, time.perf_counter() - start)
        self.records.append(record)
        if self._watcher is not None:
            self._watcher.finished(Finished(stage.name, value, record, cached))
        self._run.progress(stage.name, 1.0)
        return value

    def continued(self, run: Run) -> Stages:
        """The same stages so far for one of several results; what follows is recorded apart."""
        other = Stages(run, self._cache, self._watcher)
        other.records.extend(self.records)
        other._keys.update(self._keys)
        return other

    def _made(self, stage: Stage[..., R], args: tuple[Any, ...], make: Callable[[], R]) -> tuple[R, bool]:
        if self._cache is None:
            return make(), False
        if not stage.kept:
            value = make()
            if not isinstance(value, Photo):  # a photo's key is its content, wherever it was read from
                self._remember(value, self._key_of_stage(stage, args))
            return value, False
        key = self._key_of_stage(stage, args)
        given = stage.given(*args)
        kept = self._cache.load(key, given)
        if kept is not None:
            for warning in kept.warnings:
                self._run.warn(warning)
            value = kept.value  # type: ignore[assignment]
        else:
            before = len(self._run.warnings)
            value = make()
            self._cache.save(key, Kept(value, tuple(self._run.warnings[before:])), given)
        self._remember(value, key)
        return value, kept is not None

    def _remember(self, value: object, key: str) -> None:
        """``value`` and the dataclasses in it can be later stages' inputs."""
        self._keys[id(value)] = (value, key)
        if is_dataclass(value):
            for field in fields(value):
                part = getattr(value, field.name)
                if is_dataclass(part) and id(part) not in self._keys:
                    self._keys[id(part)] = (part, f"{key}.{field.name}")

    def _key_of_stage(self, stage: Stage[Any, Any], args: tuple[Any, ...]) -> str:
        digest = hashlib.blake2b(digest_size=20)
        for part in (stage.name, stage.implementation, code_version(), *(self._key(stage, a) for a in args)):
            digest.update(part.encode() + b"\0")
        return digest.hexdigest()

    def _key(self, stage: Stage[Any, Any], argument: object) -> str:
        if isinstance(argument, Run):
            return f"seed {argument.seed}" if stage.reads_seed else ""
        if isinstance(argument, Photo):
            return f"photo {argument.sha256}"
        if isinstance(argument, ParametricHead):
            return f"head {head_digest(argument)}"
        if isinstance(argument, np.ndarray):
            return f"array {array_digest(argument)}"
        if isinstance(argument, str | int | float | tuple | Path | None):
            return repr(argument)
        if isinstance(argument, OnHead):
            return " ".join(self._key(stage, getattr(argument, field.name)) for field in fields(argument))
        known = self._keys.get(id(argument))
        if known is None:
            raise TypeError(f"stage '{stage.name}' reads a {type(argument).__name__} that no stage made")
        return known[1]


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """A hash of an array's type, shape and values."""
    digest = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def head_digest(head: ParametricHead) -> str:
    """A hash of all of a head model; the last head's is kept, since its arrays are large."""
    return _head_digest(_ByIdentity(head))


@dataclass(frozen=True, eq=False)
class _ByIdentity:
    head: ParametricHead

    def __hash__(self) -> int:
        return id(self.head)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.head is self.head


@lru_cache(maxsize=1)
def _head_digest(key: _ByIdentity) -> str:
    parts = [f"{key.head.name} {key.head.part_names} {key.head.expression_names}"]
    for field in fields(key.head):
        parts += _array_digests(getattr(key.head, field.name))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def _array_digests(value: object) -> list[str]:
    """Hashes of the arrays in ``value``: itself, a dataclass' fields, a dictionary's values."""
    if isinstance(value, np.ndarray):
        return [array_digest(value)]
    if is_dataclass(value):
        return [digest for inner in fields(value) for digest in _array_digests(getattr(value, inner.name))]
    if isinstance(value, dict):
        return [f"{name} {digest}" for name in sorted(value) for digest in _array_digests(value[name])]
    return []


@cache
def code_version() -> str:
    """A hash of the code that computes, the weights that ship with it and the libraries that it uses."""
    root = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for file in (*computing_files(), *sorted((root / "weights" / "embedded").glob("*.safetensors"))):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    for library in _LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\0".encode())
    return digest.hexdigest()


def computing_files() -> tuple[Path, ...]:
    """The modules that compute."""
    root = Path(__file__).parent
    packages = (path for package in _COMPUTING for path in sorted((root / package).rglob("*.py")))
    return (*(root / name for name in _COMPUTING_MODULES), *packages)
