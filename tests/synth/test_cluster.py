"""A run on a Ray cluster of two machines with a processor each, on this one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic_set
from synthetic_set import make, make_here

from backend.errors import BadInput
from backend.training.schema import SHARD_FOLDER
from backend.training.verify import verify

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(synthetic_set.__file__).parent)])
    each = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=each)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        yield cluster.address
    finally:
        cluster.shutdown()
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _digests(folder: Path) -> dict[str, str]:
    files = [folder / "manifest.json", *sorted((folder / SHARD_FOLDER).iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_worker_killed_on_the_cluster_costs_nothing_and_changes_no_byte(
    address: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cluster"
    told = make(folder, workers=4, work=synthetic_set.dies_once, ray=address)
    assert told == ["a worker died; person 4 is made again"]
    make_here(tmp_path / "here")
    assert _digests(folder) == _digests(tmp_path / "here")
    assert verify(folder).problems == ()


def test_both_machines_work_and_the_works_own_errors_come_through(address: str, tmp_path: Path) -> None:
    places = tmp_path / "places"
    places.mkdir()
    make(tmp_path / "set", count=40, work=synthetic_set.signs, ray=address, workers=4)
    assert len(list(places.iterdir())) >= 2  # processes
    with pytest.raises(BadInput, match="person 2 cannot be made"):
        make(tmp_path / "other", work=synthetic_set.refuses, ray=address)
