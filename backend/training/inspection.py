"""A few instances of a set, spread over it, and the metadata of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from backend.errors import BadInput
from backend.training.loader import Instance, Record, decode_instance
from backend.training.schema import META, SHARD_FOLDER, InstanceMeta, read_manifest
from backend.training.shards import records
from backend.training.statistics import Histogram, histograms


@dataclass(frozen=True)
class Inspection:
    """What a page shows."""

    title: str
    shown: tuple[Instance, ...]
    histograms: tuple[Histogram, ...]


def look(folder: Path, count: int) -> Inspection:
    """Read the set once; ``count`` instances at even steps are decoded. Raises: BadInput."""
    manifest = read_manifest(folder)
    shards = [shard for shard in manifest.shards if shard.kind == "instances"]
    total = sum(shard.records for shard in shards)
    if total == 0:
        raise BadInput(f"'{folder}' holds no instances yet; `likeness synth run … --resume` goes on with it")
    wanted = {round(k * total / count) for k in range(min(count, total))}
    metas: list[InstanceMeta] = []
    shown: list[Instance] = []
    for shard in shards:
        for record in records(folder / SHARD_FOLDER / shard.name):
            if len(metas) in wanted:
                shown.append(decode_instance(record))
            metas.append(_meta_of(record))
    title = (
        f"{manifest.recipe.preset}: {total} instances, {len({m.person.identity for m in metas})} identities"
    )
    return Inspection(title, tuple(shown), histograms(metas))


def _meta_of(record: Record) -> InstanceMeta:
    key, members = record
    try:
        return msgspec.msgpack.decode(members[META], type=InstanceMeta)
    except (KeyError, msgspec.DecodeError) as error:
        raise BadInput(f"the metadata of record {key} are damaged ({error})") from error
