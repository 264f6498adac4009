"""The loop against a loop written by hand: order, accumulation, AdamW, warm-up, clipping, resume, cancel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_task import RECORDS, LineTask, line_recipe, run

from backend.errors import BadInput, Cancelled
from backend.training.checkpoints import checkpoints, load_checkpoint
from backend.training.diary import read_metrics
from backend.training.loop import Told, Watch, make_accelerator
from backend.training.order import generator
from backend.training.recipe import Recipe


def by_hand(recipe: Recipe) -> list[tuple[list[float], float]]:
    """Weights after every step and the loss before it, with AdamW's formulas (Loshchilov & Hutter 2019)."""
    o = recipe.optimisation
    w, m, v = np.array([0.2, -0.3]), np.zeros(2), np.zeros(2)
    out = []
    for step in range(o.steps or 0):
        numbers = range(step * o.batch, (step + 1) * o.batch)
        rows = [
            np.random.default_rng([recipe.seed, 0, n // RECORDS]).permutation(RECORDS)[n % RECORDS]
            for n in numbers
        ]
        x = np.array(rows) / RECORDS
        noise = np.array([float(torch.randn((), generator=generator(recipe.seed, n))) for n in numbers])
        off = w[0] * x + w[1] - (2 * x + 1 + 0.1 * noise)
        loss = (off**2).mean()
        g = np.array([2 * (off * x).mean(), 2 * off.mean()])
        g *= min(1.0, o.clip / (np.linalg.norm(g) + 1e-6))
        lr = o.learning_rate * min(1.0, (step + 1) / 4) * np.interp(step, [3, 11], [1, 0.25])
        m, v = o.betas[0] * m + (1 - o.betas[0]) * g, o.betas[1] * v + (1 - o.betas[1]) * g * g
        w = w * (1 - lr * o.weight_decay)
        k = step + 1
        w = w - lr * (m / (1 - o.betas[0] ** k)) / (np.sqrt(v / (1 - o.betas[1] ** k)) + 1e-8)
        out.append((w.tolist(), float(loss)))
    return out


def test_steps_are_those_of_a_loop_by_hand(tmp_path: Path) -> None:
    recipe = line_recipe()
    task = LineTask(recipe.seed)
    assert run(tmp_path / "out", recipe, task) == 12
    wanted = by_hand(recipe)
    np.testing.assert_allclose(task.line.weight.tolist(), wanted[-1][0], rtol=1e-5)
    told = read_metrics(tmp_path / "out")
    np.testing.assert_allclose([line["loss"] for line in told], [loss for _, loss in wanted], rtol=1e-5)
    assert (tmp_path / "out" / "result" / "line.txt").exists()
    assert list((tmp_path / "out" / "samples").glob("*.png"))
    assert list((tmp_path / "out" / "tensorboard").iterdir())


def test_what_is_frozen_is_neither_changed_nor_kept(tmp_path: Path) -> None:
    task = LineTask(3)
    run(tmp_path / "out", line_recipe(), task)
    assert float(task.line.frozen) == 5.0
    _, weights, _ = load_checkpoint(checkpoints(tmp_path / "out")[-1])
    assert weights["line"].keys() == {"weight", "seen"}


def test_a_resumed_run_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = line_recipe()
    whole = LineTask(recipe.seed)
    run(tmp_path / "whole", recipe, whole)
    stopped = LineTask(recipe.seed)
    steps: list[int] = []
    watch = Watch(lambda told: steps.append(told.step), lambda: len(steps) >= 6)
    with pytest.raises(Cancelled, match="step 7 of 12"):
        run(tmp_path / "parts", recipe, stopped, watch)
    again = LineTask(recipe.seed)
    assert run(tmp_path / "parts", recipe, again) == 5
    assert again.line.weight.tolist() == whole.line.weight.tolist()
    assert float(again.line.seen) == float(whole.line.seen)
    assert min(number for number, _ in again.asked) == 7 * 8
    a, b = (
        (checkpoints(tmp_path / name)[-1] / "line.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert a == b
    assert read_metrics(tmp_path / "parts") == read_metrics(tmp_path / "whole")


def test_what_was_told_after_the_checkpoint_is_taken_back(tmp_path: Path) -> None:
    recipe = line_recipe()
    run(tmp_path / "whole", recipe, LineTask(recipe.seed))
    run(tmp_path / "killed", recipe, LineTask(recipe.seed))
    newest = checkpoints(tmp_path / "killed")[-1]
    for path in newest.iterdir():  # as if it had been killed between steps 8 and 12
        path.unlink()
    newest.rmdir()
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "lo')
    run(tmp_path / "killed", recipe, LineTask(recipe.seed))
    assert read_metrics(tmp_path / "killed") == read_metrics(tmp_path / "whole")


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(tmp_path: Path) -> None:
    recipe = line_recipe()
    with pytest.raises(BadInput, match=r"no number at step 7.*learning_rate.*step-00000004"):
        run(tmp_path / "out", recipe, LineTask(recipe.seed, breaks_at=6 * 8 + 3))


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    recipe = line_recipe()
    run(tmp_path / "out", recipe, LineTask(recipe.seed))
    state = checkpoints(tmp_path / "out")[-1] / "state.json"
    state.write_text(json.dumps({"step": 12, "players": ["other"]}))
    with pytest.raises(BadInput, match="damaged"):
        run(tmp_path / "out", recipe, LineTask(recipe.seed))


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = line_recipe(batch=8, microbatch=8)
    accelerator = make_accelerator(recipe.optimisation, cpu=True)
    monkeypatch.setattr(type(accelerator), "num_processes", property(lambda self: 3))
    with pytest.raises(BadInput, match="multiple of 24"):
        make_accelerator(recipe.optimisation, cpu=True)


def test_progress_counts_down(tmp_path: Path) -> None:
    told: list[Told] = []
    run(tmp_path / "out", line_recipe(), LineTask(3), Watch(told.append))
    assert [t.step for t in told] == list(range(1, 13))
    assert told[-1].seconds_left == 0
    assert all(t.seconds_left >= 0 for t in told)
