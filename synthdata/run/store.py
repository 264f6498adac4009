"""The folder of a set while it is made: finished units, sealed shards, the manifest, one writer.

A unit is a folder that appears whole under ``.parts/``; a shard is joined from its units, written beside its
place, and renamed; only then does the manifest name it, and only then are its units deleted. So whatever the
moment of a kill, what is missing is known, and nothing is there twice.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from backend.errors import BadInput, OutOfResources
from backend.export.map_files import write_whole
from backend.training.schema import (
    FORMAT,
    MANIFEST_NAME,
    SCHEMA,
    SHARD_FOLDER,
    Kind,
    Licence,
    Manifest,
    Recipe,
    Shard,
    kinds_of,
    read_manifest,
)
from backend.training.shards import END
from synthdata.run.plan import ShardPlan, Unit

_PARTS, _LOCK = ".parts", ".lock"


def unit_folder(folder: Path, unit: Unit) -> Path:
    """Where a finished unit waits for its shard."""
    return folder / _PARTS / f"{unit.identity:07d}"


def keep_unit(folder: Path, unit: Unit, records: dict[Kind, bytes]) -> None:
    """Put a finished unit there, whole. Raises: OSError, which leaves nothing of it."""
    place = unit_folder(folder, unit)
    fresh = place.with_name(f"{place.name}.{os.getpid()}.new")
    try:
        fresh.mkdir(parents=True)
        for kind, data in records.items():
            (fresh / kind).write_bytes(data)
        fresh.rename(place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


class Store:
    """One set that this process alone writes."""

    def __init__(self, folder: Path, manifest: Manifest, plans: Sequence[ShardPlan]) -> None:
        self._folder, self._plans = folder, plans
        self._kinds = kinds_of(manifest.recipe)
        self.manifest = manifest

    def missing(self) -> list[Unit]:
        """Units that are neither sealed nor waiting, by identity."""
        sealed = {shard.name for shard in self.manifest.shards}
        return sorted(
            (
                unit
                for plan in self._plans
                if not all(plan.name(kind) in sealed for kind in self._kinds)
                for unit in plan.units
                if not unit_folder(self._folder, unit).is_dir()
            ),
            key=lambda unit: unit.identity,
        )

    def instances_kept(self) -> int:
        """How many instances need not be made."""
        lacking = sum(unit.count for unit in self.missing())
        return self.manifest.recipe.count - lacking

    def seal_what_is_whole(self) -> list[str]:
        """Join every shard whose units are all there; names of the new shards. Raises: OSError."""
        made: list[str] = []
        sealed = {shard.name for shard in self.manifest.shards}
        for plan in self._plans:
            if all(plan.name(kind) in sealed for kind in self._kinds):
                continue
            waiting = [unit_folder(self._folder, unit) for unit in plan.units]
            if not all(path.is_dir() for path in waiting):
                continue
            fresh = [self._seal(plan, kind, waiting) for kind in self._kinds]
            self._write([*self.manifest.shards, *fresh])
            for path in waiting:
                shutil.rmtree(path, ignore_errors=True)
            made += [shard.name for shard in fresh]
        return made

    def _seal(self, plan: ShardPlan, kind: Kind, waiting: Sequence[Path]) -> Shard:
        name = plan.name(kind)
        path = self._folder / SHARD_FOLDER / name
        fresh = path.with_name(f".{name}.new")
        digest, size = hashlib.sha256(), 0
        try:
            with fresh.open("wb") as file:
                for piece in (*(part / kind for part in waiting), None):
                    data = END if piece is None else piece.read_bytes()
                    file.write(data)
                    digest.update(data)
                    size += len(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return Shard(
            name=name,
            kind=kind,
            split=plan.split,
            records=len(plan.units) if kind == "heads" else sum(unit.count for unit in plan.units),
            identities=tuple(unit.identity for unit in plan.units),
            bytes=size,
            sha256=digest.hexdigest(),
        )

    def _write(self, shards: Sequence[Shard]) -> None:
        by_name = {shard.name: shard for shard in shards}
        ordered = tuple(
            by_name[name] for plan in self._plans for name in map(plan.name, self._kinds) if name in by_name
        )
        complete = len(ordered) == len(self._kinds) * len(self._plans)
        self.manifest = msgspec.structs.replace(self.manifest, shards=ordered, complete=complete)
        _write_manifest(self._folder, self.manifest)
        if complete:
            shutil.rmtree(self._folder / _PARTS, ignore_errors=True)


@contextmanager
def open_store(
    folder: Path,
    recipe: Recipe,
    licences: Sequence[Licence],
    skipped: Sequence[str],
    plans: Sequence[ShardPlan],
    resume: bool,
) -> Iterator[tuple[Store, tuple[str, ...]]]:
    """The set at ``folder``, begun or gone on with, and what had to be said of it.

    Raises: BadInput when it is another set, when it is there and ``resume`` is not given, or when another
    process writes it.
    """
    (folder / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+b") as lock:
        try:
            _lock(lock)
        except OSError as error:
            raise BadInput(
                f"another run writes to '{folder}'; wait for it or choose another folder"
            ) from error
        said: list[str] = []
        if (folder / MANIFEST_NAME).exists():
            manifest = _gone_on_with(folder, recipe, resume, said)
        else:
            manifest = Manifest(
                format=FORMAT,
                schema=SCHEMA,
                recipe=recipe,
                licences=tuple(licences),
                skipped=tuple(skipped),
                shards=(),
                complete=False,
            )
            _write_manifest(folder, manifest)
        for left in (folder / _PARTS).glob("*.new"):
            shutil.rmtree(left, ignore_errors=True)
        for left in (folder / SHARD_FOLDER).glob(".*.new"):
            left.unlink(missing_ok=True)
        yield Store(folder, manifest, plans), tuple(said)


def _gone_on_with(folder: Path, recipe: Recipe, resume: bool, said: list[str]) -> Manifest:
    manifest = read_manifest(folder)
    if not resume:
        raise BadInput(f"'{folder}' holds a training set already; add --resume to go on with it")
    if manifest.recipe != recipe:
        names = (n for n in recipe.__struct_fields__ if getattr(recipe, n) != getattr(manifest.recipe, n))
        raise BadInput(
            f"'{folder}' was begun with another {', '.join(names)}; give the same or choose another folder"
        )
    kept = []
    for shard in manifest.shards:
        path = folder / SHARD_FOLDER / shard.name
        size = path.stat().st_size if path.is_file() else None
        if size == shard.bytes:
            kept.append(shard)
        else:
            why = "is missing" if size is None else "was cut short or changed"
            said.append(f"shard '{shard.name}' {why} and is made again")
    complete = manifest.complete and len(kept) == len(manifest.shards)
    return msgspec.structs.replace(manifest, shards=tuple(kept), complete=complete)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    write_whole(folder / MANIFEST_NAME, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def full_disk(error: OSError, folder: Path) -> OutOfResources | None:
    """The line for a disk without room, None for other errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfResources(
            f"the disk of '{folder}' is full; make room and run again with --resume, nothing is lost"
        )
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
