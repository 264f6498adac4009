"""The loop over processes: two give one's gradients, and a killed one goes on to the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_task
from toy_task import LineTask, line_recipe, run

from backend.training.checkpoints import checkpoints
from backend.training.diary import read_metrics

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def started(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Equal but for the order of sums, which is float32's rounding."""
    launch = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29617",
    )
    made = started(*launch, toy_task.__file__, str(tmp_path / "two"))
    assert made.returncode == 0, made.stderr
    recipe = line_recipe()
    run(tmp_path / "one", recipe, LineTask(recipe.seed))
    one, two = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(one) == len(two) == 12
    for name in ("loss", "line/gradient_norm"):
        np.testing.assert_allclose([t[name] for t in two], [t[name] for t in one], rtol=1e-5)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    script = (sys.executable, toy_task.__file__)
    assert started(*script, str(tmp_path / "whole")).returncode == 0
    assert started(*script, str(tmp_path / "killed"), "--die-after", "7").returncode == -9
    assert [p.name for p in checkpoints(tmp_path / "killed")] == ["step-00000004"]
    assert started(*script, str(tmp_path / "killed")).returncode == 0
    whole, killed = (checkpoints(tmp_path / name)[-1] for name in ("whole", "killed"))
    for name in ("line.safetensors", "line.optimiser.pt"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()
    assert read_metrics(tmp_path / "whole") == read_metrics(tmp_path / "killed")
