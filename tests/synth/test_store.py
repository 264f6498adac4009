"""Sets that are killed, resumed, damaged, shared between workers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import synthetic_set
from synthetic_set import make, make_here

from backend.errors import BadInput, LikenessError, OutOfResources
from backend.training.schema import SHARD_FOLDER, read_manifest
from backend.training.verify import verify
from synthdata.run.store import full_disk, open_store

ROOT = Path(__file__).resolve().parents[2]


def _digests(folder: Path) -> dict[str, str]:
    files = [folder / "manifest.json", *sorted((folder / SHARD_FOLDER).iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_workers_one_of_them_killed_make_the_same_bytes_as_none(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    told = make(tmp_path / "two", workers=2, work=synthetic_set.dies_once)
    assert "a worker died; person 4 is made again" in told
    make_here(tmp_path / "none")
    assert _digests(tmp_path / "two") == _digests(tmp_path / "none")
    assert not (tmp_path / "two" / ".parts").exists()
    assert verify(tmp_path / "two").problems == ()


@pytest.mark.slow
def test_workers_that_always_die_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(LikenessError, match="workers died while they made person 0"):
        make(tmp_path / "set", count=2, work=synthetic_set.always_dies)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """kill −9 of the whole run, four times at different moments; its workers end with it."""
    count, folder = 60, tmp_path / "killed"
    command = [sys.executable, str(Path(synthetic_set.__file__)), str(folder), str(count)]
    paths = os.pathsep.join([str(ROOT), str(Path(synthetic_set.__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    kills = 0
    for least in (3, 9, 16, 24):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        limit = time.monotonic() + 60
        while _units_there(folder) < least and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        command = [*command[:4], "--resume"]
    assert kills >= 2
    done = subprocess.run([*command[:4], "--resume"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    make_here(tmp_path / "whole", count)
    assert _digests(folder) == _digests(tmp_path / "whole")
    assert verify(folder).records["instances"] == count


def _units_there(folder: Path) -> int:
    if not (folder / "manifest.json").is_file():
        return 0
    sealed = sum(s.records for s in read_manifest(folder).shards if s.kind == "heads")
    return sealed + sum(1 for p in folder.glob(".parts/*") if p.name.isdigit())


def test_a_set_is_not_begun_twice_nor_gone_on_with_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    make_here(folder, 6)
    with pytest.raises(BadInput, match="add --resume"):
        make(folder, count=6)
    with pytest.raises(BadInput, match="another count"):
        make(folder, count=8, resume=True)
    with (
        open_store(folder, synthetic_set.recipe(6), (), (), (), True),
        pytest.raises(BadInput, match="another run writes"),
        open_store(folder, synthetic_set.recipe(6), (), (), (), True),
    ):
        pass


def test_a_shard_cut_short_is_told_and_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    make_here(folder, 6)
    before = _digests(folder)
    name = read_manifest(folder).shards[0].name
    path = folder / SHARD_FOLDER / name
    path.write_bytes(path.read_bytes()[:-700])
    assert any("cut" in line or "bytes" in line for line in verify(folder).problems)
    told = make(folder, count=6, resume=True)
    assert told == [f"shard '{name}' was cut short or changed and is made again"]
    assert _digests(folder) == before


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    line = full_disk(OSError(28, "No space left on device"), tmp_path)
    assert isinstance(line, OutOfResources)
    assert "--resume" in str(line)
    assert full_disk(OSError(5, "Input/output error"), tmp_path) is None
