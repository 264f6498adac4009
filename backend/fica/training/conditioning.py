"""``fica-conditioning``: UV, vertex and normal of every pixel of a portrait (method 2.1)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from backend.artifacts import F32
from backend.fica.dense import DensePredictor, dense_losses
from backend.fica.maps import RGB, Frame, unsigned
from backend.fica.recipes import ConditioningRecipe
from backend.fica.store import save_network
from backend.fica.training.people import Sight
from backend.fica.training.samples import Split, dense_of, hwc, normals_shown
from backend.fica.unwrap import unwrap
from backend.marcus.training.set_task import tiled
from backend.training.order import generator
from backend.training.task import Player, Sample, Task, Terms


class ConditioningObjective(nn.Module):
    """The supplement's losses of a batch of portraits."""

    def __init__(self, predictor: DensePredictor, recipe: ConditioningRecipe) -> None:
        super().__init__()
        self.predictor, self._weights = predictor, recipe.weights

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``portrait`` ``(B, 3, P, P)`` and its dense truth."""
        terms = dense_losses(self.predictor.raw(batch["portrait"]), dense_of(batch))
        loss = sum((weight * terms[name] for name, weight in self._weights), batch["portrait"].new_zeros(()))
        return loss, terms


class ConditioningTask(Task):
    """The trainer of the dense predictor; a record is a moment, whose view is drawn."""

    def __init__(self, recipe: ConditioningRecipe, split: Split, predictor: DensePredictor) -> None:
        self._recipe, self._split, self._predictor = recipe, split, predictor
        self.players = [Player("conditioning", ConditioningObjective(predictor, recipe))]

    def __len__(self) -> int:
        return len(self._split.train)

    def sample(self, record: int, number: int) -> Sample:
        chance = generator(self._recipe.seed, number)
        people = self._split.train
        view = int(torch.randint(people.views(record), (), generator=chance))
        sample = truth_of(people.sight(record, view))
        most = self._recipe.photometric_distortion
        gain, offset = (most * (2 * torch.rand(3, 1, 1, generator=chance) - 1) for _ in range(2))
        sample["portrait"] = (sample["portrait"] * (1 + gain) + 0.5 * offset).clamp(0, 1)
        return sample

    @torch.no_grad()
    def picture(self) -> F32:
        """Rows of portrait, UV made and true, normals made and true, colours unwrapped by either."""
        frame: Frame = self._split.train.frame
        device = next(self._predictor.parameters()).device
        rows = []
        for people, row in self._split.shown(self._recipe.keeping.sampled):
            truth = {name: value[None] for name, value in truth_of(people.sight(row, 0)).items()}
            made = self._predictor(truth["portrait"].to(device))
            shown = [hwc(truth["portrait"][0])]
            for dense in (made, dense_of(truth)):
                seen = (dense.known[0] > 0.5).float().cpu()
                shown.append(hwc(torch.cat([dense.uv[0].cpu(), torch.zeros(1, *seen.shape[1:])]) * seen))
                shown.append(normals_shown(dense.normal[0].cpu() * seen))
            for dense in (made, dense_of(truth)):
                maps = [getattr(dense, name).cpu() for name in ("uv", "vertex", "normal", "known")]
                partial = unwrap(truth["portrait"], type(dense)(*maps), frame)
                square = nn.functional.interpolate(
                    unsigned(partial[:, RGB]), size=truth["portrait"].shape[-2:], mode="nearest"
                )
                shown.append(hwc(square[0]))
            rows.append(shown)
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """``conditioning.safetensors``."""
        save_network(folder, "conditioning", self._predictor, self._recipe.size, self._recipe.texels)


def truth_of(sight: Sight) -> Sample:
    """A sight as the tensors that losses compare with."""
    return {
        "portrait": sight.picture,
        "uv": sight.uv,
        "vertex": sight.vertex,
        "normal": sight.normal,
        "known": sight.known,
    }
