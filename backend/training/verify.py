"""Is a training set what its manifest says?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.errors import BadInput
from backend.training.loader import DECODERS
from backend.training.schema import (
    SHARD_FOLDER,
    HeadMeta,
    Kind,
    Manifest,
    Shard,
    kinds_of,
    read_manifest,
)
from backend.training.shards import records

Watch = Callable[[str, float], None]
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and everything that is wrong, one line each."""

    shards: int
    records: dict[Kind, int]
    problems: tuple[str, ...]


def verify(folder: Path, watch: Watch = lambda stage, share: None) -> Verdict:
    """Read every byte: checksums, every record decoded, every instance once, no identity in two splits.

    Raises: BadInput when there is no readable manifest.
    """
    manifest = read_manifest(folder)
    problems = list(_of_manifest(folder, manifest))
    kinds = kinds_of(manifest.recipe)
    seen: dict[Kind, set[int]] = {kind: set() for kind in kinds}
    counts = dict.fromkeys(kinds, 0)
    for number, shard in enumerate(manifest.shards):
        watch("shards", number / len(manifest.shards))
        if shard.kind not in seen:
            problems.append(f"shard '{shard.name}' holds {shard.kind}, which this set has none of")
            continue
        try:
            found = _check_shard(folder / SHARD_FOLDER / shard.name, shard)
        except BadInput as error:
            problems.append(str(error))
            continue
        for index in found:
            if index in seen[shard.kind]:
                problems.append(f"shard '{shard.name}': record {index} is there twice")
            seen[shard.kind].add(index)
        counts[shard.kind] += len(found)
    if manifest.complete and not problems:
        missing = manifest.recipe.count - len(seen[kinds[0]])
        if missing:
            problems.append(f"{missing} of {manifest.recipe.count} {kinds[0]} are missing")
    return Verdict(len(manifest.shards), counts, tuple(problems))


def _of_manifest(folder: Path, manifest: Manifest) -> Iterator[str]:
    if not manifest.complete:
        yield f"'{folder}' is not complete; `likeness synth run … --resume` goes on with it"
    where: dict[int, str] = {}
    for shard in manifest.shards:
        for identity in shard.identities:
            if where.setdefault(identity, shard.split) != shard.split:
                yield f"identity {identity} is in {where[identity]} and in {shard.split}"
    named = {shard.name for shard in manifest.shards}
    for path in sorted((folder / SHARD_FOLDER).glob("*.tar")):
        if path.name not in named:
            yield f"shard '{path.name}' is not in the manifest; delete it"


def _check_shard(path: Path, shard: Shard) -> list[int]:
    """Numbers of its records. Raises: BadInput with the first thing that is wrong."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(
            f"shard '{path.name}' is missing; run `likeness synth run` again with --resume"
        ) from error
    if size != shard.bytes:
        raise BadInput(f"shard '{path.name}' has {size} bytes, not {shard.bytes}; delete it and --resume")
    if _sha256(path) != shard.sha256:
        raise BadInput(f"shard '{path.name}' does not have its checksum; delete it and --resume")
    found = []
    for key, members in records(path):
        meta = DECODERS[shard.kind]((key, members)).meta
        identity = meta.person.identity
        number = identity if isinstance(meta, HeadMeta) else meta.index
        if identity not in shard.identities:
            raise BadInput(
                f"shard '{path.name}': record {key} is of identity {identity}, not in the manifest"
            )
        found.append(number)
    if len(found) != shard.records:
        raise BadInput(f"shard '{path.name}' has {len(found)} records, not {shard.records}")
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
