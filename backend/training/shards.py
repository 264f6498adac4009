"""Tar shards whose bytes depend on their records alone: no clock, no user, no order of a folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from backend.errors import BadInput
from backend.training.schema import (
    META,
    OPTIONAL_MEMBERS,
    HeadMeta,
    InstanceMeta,
    Kind,
    MomentMeta,
    members_of,
)

_BLOCK = 512
END = bytes(2 * _BLOCK)  # what a tar ends with


def packed(key: str, members: Mapping[str, bytes]) -> bytes:
    """A record as tar members ``KEY.name``, without the archive's end: such pieces can be joined."""
    out = io.BytesIO()
    for name, data in members.items():
        info = tarfile.TarInfo(f"{key}.{name}")
        info.size = len(data)
        info.mode = 0o644
        out.write(info.tobuf(tarfile.USTAR_FORMAT))
        out.write(data)
        out.write(bytes(-len(data) % _BLOCK))
    return out.getvalue()


def record_bytes(
    key: str, kind: Kind, meta: InstanceMeta | HeadMeta | MomentMeta, members: Mapping[str, bytes]
) -> bytes:
    """A whole record, metadata first. Raises: ValueError when members are missing or unknown."""
    wanted = members_of(kind, len(meta.views) if isinstance(meta, MomentMeta) else 0)
    if len(members) > len(wanted):
        wanted += OPTIONAL_MEMBERS.get(kind, ())
    if set(members) != set(wanted):
        raise ValueError(f"a record of {kind} has {', '.join(wanted)}, not {', '.join(members)}")
    first = {META: msgspec.msgpack.encode(meta)}
    return packed(key, {**first, **{name: members[name] for name in wanted}})


def records(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The records of a shard in order: key and members by name. One record is in memory at a time.

    Raises: BadInput when the file is missing, cut short or no tar.
    """
    try:
        with path.open("rb") as file:
            yield from _records(file, path.name)
    except FileNotFoundError as error:
        raise BadInput(f"shard '{path.name}' is missing; `likeness synth run … --resume` makes it") from error
    except tarfile.TarError as error:
        raise BadInput(f"shard '{path.name}' is damaged or cut short ({error})") from error


def _records(file: BinaryIO, name: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    key, members = "", dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for info in tar:
            stream = tar.extractfile(info)
            if stream is None:
                raise BadInput(f"shard '{name}' holds '{info.name}', which is not a file")
            data = stream.read()
            if len(data) != info.size:
                raise BadInput(f"shard '{name}' is cut short at '{info.name}'; make it again")
            its_key, _, member = info.name.partition(".")
            if its_key != key and members:
                yield key, members
                members = {}
            key = its_key
            members[member] = data
    if members:
        yield key, members
