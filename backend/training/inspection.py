"""A few instances or moments of a set, spread over it, and the metadata of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from backend.errors import BadInput
from backend.training.loader import Instance, Moment, Record, decode_instance, decode_moment
from backend.training.schema import (
    META,
    SHARD_FOLDER,
    InstanceMeta,
    MomentMeta,
    kinds_of,
    read_manifest,
)
from backend.training.shards import records
from backend.training.statistics import Histogram, histograms, moment_histograms

Meta = TypeVar("Meta", InstanceMeta, MomentMeta)
Made = TypeVar("Made")


@dataclass(frozen=True)
class Inspection:
    """What a page shows."""

    title: str
    shown: tuple[Instance, ...] | tuple[Moment, ...]
    histograms: tuple[Histogram, ...]


def look(folder: Path, count: int) -> Inspection:
    """Read the set once; ``count`` of them at even steps are decoded. Raises: BadInput."""
    manifest = read_manifest(folder)
    kind = kinds_of(manifest.recipe)[0]
    shards = [shard for shard in manifest.shards if shard.kind == kind]
    total = sum(shard.records for shard in shards)
    if total == 0:
        raise BadInput(f"'{folder}' holds no {kind} yet; `likeness synth run … --resume` goes on with it")
    step = total / min(count, total)
    wanted = {int(k * step) for k in range(min(count, total))}
    found = (record for shard in shards for record in records(folder / SHARD_FOLDER / shard.name))
    many = f"{manifest.recipe.preset}: {total} {kind}"
    if kind == "moments":
        moments, of_moments = _read(found, wanted, MomentMeta, decode_moment)
        title = f"{many}, {_identities(of_moments)}, {manifest.recipe.cameras} cameras"
        return Inspection(title, tuple(moments), moment_histograms(of_moments))
    instances, metas = _read(found, wanted, InstanceMeta, decode_instance)
    return Inspection(f"{many}, {_identities(metas)}", tuple(instances), histograms(metas))


def _read(
    found: Iterable[Record], wanted: set[int], kind: type[Meta], decode: Callable[[Record], Made]
) -> tuple[list[Made], list[Meta]]:
    metas: list[Meta] = []
    shown: list[Made] = []
    for record in found:
        if len(metas) in wanted:
            shown.append(decode(record))
        metas.append(_meta_of(record, kind))
    return shown, metas


def _identities(metas: Sequence[InstanceMeta] | Sequence[MomentMeta]) -> str:
    return f"{len({meta.person.identity for meta in metas})} identities"


def _meta_of(record: Record, kind: type[Meta]) -> Meta:
    key, members = record
    try:
        return msgspec.msgpack.decode(members[META], type=kind)
    except (KeyError, msgspec.DecodeError) as error:
        raise BadInput(f"the metadata of record {key} are damaged ({error})") from error
