"""Records in any order, against the streaming reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_set import make_here

from backend.errors import BadInput
from backend.training.loader import Reading, open_set, raw_records
from backend.training.records import index_records
from backend.training.schema import SHARD_FOLDER


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make_here(tmp_path / "set")
    return tmp_path / "set"


def test_any_record_is_the_streams(made: Path) -> None:
    data = open_set(made)
    streamed = list(raw_records(data, "instances", Reading(split="train")))
    index = index_records(data, "instances", "train")
    assert len(index) == len(streamed)
    for row in (len(index) - 1, 0, len(index) // 2):
        assert index.read(row) == streamed[row]


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    make_here(tmp_path / "set", count=2)  # one identity: it trains
    data = open_set(tmp_path / "set")
    empty = {"train", "val", "test"} - {s.split for s in data.manifest.shards}
    for split in empty:
        with pytest.raises(BadInput, match="larger set"):
            index_records(data, "instances", split)  # type: ignore[arg-type]
    assert empty


def test_a_shard_cut_short_or_gone_is_named(made: Path) -> None:
    data = open_set(made)
    shard = made / SHARD_FOLDER / next(s.name for s in data.manifest.shards if s.split == "train")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=shard.name):
        index_records(data, "instances", "train")
    shard.unlink()
    with pytest.raises(BadInput, match="missing"):
        index_records(data, "instances", "train")
