"""Checkpoints are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.errors import BadInput, OutOfResources
from backend.training import checkpoints as module
from backend.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint


def saved(out: Path, step: int, kept: int = 2) -> Path:
    weight = torch.nn.Parameter(torch.full((3,), float(step)))
    optimiser = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimiser.step()
    return save_checkpoint(out, step, {"a": {"w": weight}}, {"a": optimiser.state_dict()}, kept)


def test_state_comes_back_and_old_ones_go(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        saved(tmp_path, step)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000010", "step-00000015"]
    step, weights, optimisers = load_checkpoint(checkpoints(tmp_path)[-1])
    assert step == 15
    assert float(weights["a"]["w"][0]) == pytest.approx(15, abs=0.01)
    assert float(optimisers["a"]["state"][0]["step"]) == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, 5)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_flush", full)
    with pytest.raises(OutOfResources, match="step 10"):
        saved(tmp_path, 10)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("name", ["a.safetensors", "a.optimiser.pt", "state.json"])
def test_a_damaged_file_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path, 5)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="damaged") as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
