"""Every trainer over processes: two give one's gradients, and a killed one goes on to the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trainer_process
from synthetic_set import make_here
from test_trainers import SHORT, short_recipe

from backend.training.checkpoints import checkpoints
from backend.training.diary import read_metrics

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    make_here(folder)
    return folder


def started(*command: str | Path, returns: int = 0) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == returns, done.stderr[-3000:]


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Four steps of a trainer in one process, once; its recipe lies beside."""
    root = tmp_path_factory.mktemp("whole")

    def run(task: str) -> Path:
        out = root / task
        if not out.exists():
            recipe = short_recipe(task, root / f"{task}.yaml", steps=4, clip=1e9)
            recipe.write_text(recipe.read_text().replace("checkpoint_every: 1", "checkpoint_every: 2"))
            started(sys.executable, *asked(task, recipe, made), "-o", out)
        return out

    return run


def asked(task: str, recipe: Path, made: Path, die_after: int = 0) -> tuple[str | Path, ...]:
    script = trainer_process.__file__
    return (script, str(die_after), task, "--set", made, "--recipe", recipe, "--cpu")


@pytest.mark.parametrize("task", SHORT)
def test_two_processes_take_the_steps_of_one(
    task: str, made: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    """Equal but for the order of sums, which is float32's rounding."""
    one = whole(task)
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    started(*launch, *asked(task, one.with_suffix(".yaml"), made), "-o", tmp_path / "two")
    alone, shared = read_metrics(one), read_metrics(tmp_path / "two")
    assert len(alone) == len(shared) == 4
    norms = [name for name in alone[0] if name.endswith("gradient_norm")]
    assert norms
    for name in ("loss", *norms):
        # Later steps start from weights that differ by rounding, which AdamW's first steps enlarge.
        np.testing.assert_allclose(shared[0][name], alone[0][name], rtol=1e-5)
        np.testing.assert_allclose([t[name] for t in shared], [t[name] for t in alone], rtol=5e-3)
    assert all(line[name] > 0 for line in alone for name in norms if "critic" not in name)


@pytest.mark.parametrize("task", SHORT)
def test_a_killed_training_goes_on_to_the_same_bytes(
    task: str, made: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    uninterrupted, killed = whole(task), tmp_path / "killed"
    recipe = uninterrupted.with_suffix(".yaml")
    started(sys.executable, *asked(task, recipe, made, die_after=3), "-o", killed, returns=-9)
    assert [p.name for p in checkpoints(killed)] == ["step-00000002"]
    started(sys.executable, *asked(task, recipe, made), "-o", killed, "--resume")
    newest = checkpoints(uninterrupted)[-1]
    files = sorted(path.name for path in newest.iterdir())
    assert len(files) >= 3
    for name in files:
        assert (newest / name).read_bytes() == (checkpoints(killed)[-1] / name).read_bytes(), name
    products = [
        sorted(p for p in (run / "result").rglob("*") if p.is_file()) for run in (uninterrupted, killed)
    ]
    assert products[0]
    for a, b in zip(*products, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    assert read_metrics(uninterrupted) == read_metrics(killed)
