"""A task small enough to be worked out by hand: lines through noisy points, one weight and one offset."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.artifacts import F32
from backend.training.loop import Told, Watch, make_accelerator, train
from backend.training.order import generator
from backend.training.recipe import Keeping, Optimisation, Recipe
from backend.training.task import Player, Sample, Task, Terms

RECORDS = 24


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.2, -0.3]))
        self.frozen = nn.Parameter(torch.tensor(5.0), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        self.seen += len(batch["x"])
        off = self.weight[0] * batch["x"] + self.weight[1] - batch["y"]
        return (off**2).mean(), {"worst": (off**2).max()}


class LineTask(Task):
    def __init__(self, seed: int, breaks_at: int = -1) -> None:
        self.seed, self.breaks_at, self.step = seed, breaks_at, -1
        self.line = Line()
        self.players = [Player("line", self.line)]
        self.asked: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return RECORDS

    def begin(self, step: int) -> None:
        self.step = step

    def sample(self, record: int, number: int) -> Sample:
        self.asked.append((number, record))
        x = torch.tensor(record / RECORDS)
        noise = torch.randn((), generator=generator(self.seed, number))
        y = 2 * x + 1 + 0.1 * noise
        return {"x": x, "y": y * float("nan") if number == self.breaks_at else y}

    def picture(self) -> F32:
        return np.full((4, 4, 3), 0.5, np.float32)

    def write(self, folder: Path) -> None:
        (folder / "line.txt").write_text(repr(self.line.weight.tolist()))


def line_recipe(steps: int = 12, batch: int = 8, microbatch: int = 4, seed: int = 3) -> Recipe:
    return Recipe(
        seed=seed,
        optimisation=Optimisation(
            steps=steps,
            batch=batch,
            microbatch=microbatch,
            learning_rate=0.05,
            warmup_steps=3,
            rate_at_end=0.25,
            clip=0.7,
            precision="float32",
        ),
        keeping=Keeping(checkpoint_every=4, sample_every=6, log_every=1),
    )


def run(out: Path, recipe: Recipe, task: LineTask, watch: Watch | None = None) -> int:
    out.mkdir(exist_ok=True)
    return train(task, recipe, out, make_accelerator(recipe.optimisation, cpu=True), watch)


if __name__ == "__main__":  # a process of its own, for kills and for several processes
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--microbatch", type=int, default=4)
    given = parser.parse_args()

    def on_step(told: Told) -> None:
        if told.step == given.die_after:
            os.kill(os.getpid(), 9)

    wanted = line_recipe(microbatch=given.microbatch)
    run(given.out, wanted, LineTask(wanted.seed), Watch(on_step))
