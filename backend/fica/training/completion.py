"""``fica-completion``: flow matching of texture and geometry, given a portrait's partial maps (method 2.2).

First image-only: the set's photographs themselves, with their semantic embedding and no maps. Then pairs:
L = ‖v_T − F(x_T, f, UV_partial, d_T, t)‖² + ‖v_G − F(x_G, f, UV_partial, d_G, t)‖².
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from backend.artifacts import F32
from backend.fica.completion import BOTH, Completion, Sampling, flow_loss
from backend.fica.dense import DensePredictor
from backend.fica.dit import Domain
from backend.fica.maps import PARTIAL_CHANNELS, RGB, Frame, HeadMaps, signed, unsigned
from backend.fica.recipes import CompletionRecipe
from backend.fica.semantic import SmallSemanticEncoder
from backend.fica.store import save_network
from backend.fica.surface import normal_map
from backend.fica.training.kept import Kept
from backend.fica.training.samples import (
    Split,
    dense_of,
    hwc,
    normals_shown,
    partial_of,
    portraits,
    sight_sample,
)
from backend.marcus import flow
from backend.marcus.training.set_task import tiled
from backend.training.order import generator
from backend.training.task import Player, Sample, Task, Terms, collate

_PICTURE_SEED = 11
_KEPT_BYTES = 1 << 29  # of people's latents, which the frozen codec always makes the same


class CompletionObjective(nn.Module):
    """Trains the transformer and, where it learns, the semantic encoder; the codec is frozen."""

    def __init__(
        self,
        completion: Completion,
        semantic: nn.Module | None,
        predictor: DensePredictor | None,
        frame: Frame,
        recipe: CompletionRecipe,
    ) -> None:
        super().__init__()
        self.transformer, self.semantic = completion.transformer, semantic
        self._parts = (completion, predictor)  # a tuple: what is frozen is no submodule
        self._frame, self._recipe = frame, recipe
        self._latents = Kept(_KEPT_BYTES)
        self.pretraining = False

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``portrait`` with its dense maps, ``texture``, ``geometry`` and whose they are, ``person`` (B,);
        ``noise`` ``(B, 2, K, C, h, w)`` and ``sigma`` ``(B, 2, K)``: K draws for each domain.
        """
        completion, sigma = self._parts[0], batch["sigma"].permute(1, 2, 0).flatten()
        draws, texels = batch["sigma"].shape[2], self._frame.size
        noise = batch["noise"].permute(1, 2, 0, 3, 4, 5).flatten(0, 2)  # rows: domain, draw, portrait
        count = draws * len(batch["portrait"])
        told = self.embedded(batch["portrait"]).repeat(2 * draws, 1)
        if self.pretraining:
            size = (texels, texels)
            picture = interpolate(batch["portrait"], size=size, mode="bilinear", antialias=True)
            with torch.no_grad():
                clean = completion.codec.encode(signed(picture)).repeat(2 * draws, 1, 1, 1)
            domain = torch.full((2 * count,), Domain.PHOTOGRAPH.value, device=noise.device)
            partial = noise.new_zeros(2 * count, PARTIAL_CHANNELS, texels, texels)
            loss = flow_loss(completion, clean, noise, sigma, domain, partial, told).mean()
            return loss, {"photograph": loss}
        clean = self._clean(batch).repeat_interleave(draws, 0).flatten(0, 1)
        domain = torch.tensor([d.value for d in BOTH for _ in range(count)], device=noise.device)
        partial = self.partial(batch).repeat(2 * draws, 1, 1, 1)
        each = flow_loss(completion, clean, noise, sigma, domain, partial, told)
        texture, geometry = each[:count].mean(), each[count:].mean()
        return texture + geometry, {"texture": texture, "geometry": geometry}

    def _clean(self, batch: dict[str, Tensor]) -> Tensor:
        """Latents of both domains, ``(2, B, C, h, w)``; one by one, so that no batch changes their bits."""
        made = [
            self._latents.get(person, functools.partial(self._coded, batch, k))
            for k, person in enumerate(batch["person"].tolist())
        ]
        return torch.stack(made, 1)

    def _coded(self, batch: dict[str, Tensor], k: int) -> Tensor:
        maps = HeadMaps(batch["texture"][k : k + 1], batch["geometry"][k : k + 1])
        return self._parts[0].clean(maps, self._frame)[:, 0]

    def embedded(self, portrait: Tensor) -> Tensor:
        """The semantic embedding, or zeros where the recipe has none."""
        if self.semantic is None:
            return portrait.new_zeros(len(portrait), self.transformer.config.semantic_width)
        found: Tensor = self.semantic(portrait)
        return found

    @torch.no_grad()
    def partial(self, batch: dict[str, Tensor]) -> Tensor:
        """UV_partial by the frozen predictor, or by the truth with its errors."""
        predictor = self._parts[1]
        dense = dense_of(batch) if predictor is None else predictor(batch["portrait"])
        return partial_of(batch["portrait"], dense, self._frame, self._recipe.evidence)


class CompletionTask(Task):
    """The trainer of the diffusion transformer."""

    def __init__(
        self,
        recipe: CompletionRecipe,
        split: Split,
        completion: Completion,
        semantic: nn.Module | None,
        predictor: DensePredictor | None,
        frame: Frame,
    ) -> None:
        self._recipe, self._split, self._completion, self._frame = recipe, split, completion, frame
        completion.codec.requires_grad_(False)
        self._portraits = portraits(split.train, recipe.evidence.most_yaw_degrees)
        self._objective = CompletionObjective(completion, semantic, predictor, frame, recipe)
        self.players = [Player("completion", self._objective)]

    def __len__(self) -> int:
        return len(self._portraits)

    def begin(self, step: int) -> None:
        self._objective.pretraining = step < self._recipe.pretraining_steps

    def sample(self, record: int, number: int) -> Sample:
        chance = generator(self._recipe.seed, number)
        row, view = self._portraits[record]
        people = self._split.train
        maps, draws = people.maps(row), self._recipe.draws
        return {
            **sight_sample(people.sight(row, view), self._recipe.evidence, chance),
            "texture": maps.texture[0],
            "geometry": maps.geometry[0],
            "person": torch.tensor(people.places[row].first_row),
            "noise": self._completion.draw_noise(draws, chance),
            "sigma": flow.draw_sigmas(len(BOTH) * draws, 0.0, chance).reshape(len(BOTH), draws),
        }

    @torch.no_grad()
    def picture(self) -> F32:
        """Rows of portrait, partial colours, texture made and true, normals made and true."""
        shown = self._split.shown(self._recipe.keeping.sampled)
        chance = torch.Generator().manual_seed(_PICTURE_SEED)
        device = next(self._objective.transformer.parameters()).device
        samples = [sight_sample(p.sight(row, 0), self._recipe.evidence, chance) for p, row in shown]
        batch = {name: value.to(device) for name, value in collate(samples).items()}
        partial = self._objective.partial(batch)
        noise = self._completion.draw_noise(len(shown), chance).to(device)
        made = self._completion.sample(
            partial,
            self._objective.embedded(batch["portrait"]),
            self._frame,
            noise,
            Sampling(self._recipe.sampling_steps),
        )
        normals = normal_map(made.geometry, self._frame)
        rows = []
        for k, (people, row) in enumerate(shown):
            truth = people.maps(row)
            size = (self._frame.size, self._frame.size)
            portrait = interpolate(batch["portrait"][k : k + 1], size=size, mode="bilinear", antialias=True)[
                0
            ]
            rows.append(
                [
                    hwc(portrait),
                    hwc(unsigned(partial[k, RGB])),
                    hwc(made.texture[k]),
                    hwc(truth.texture[0]),
                    normals_shown(normals[k]),
                    normals_shown(normal_map(truth.geometry, people.frame)[0]),
                ]
            )
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """Transformer, codec and, where it has learned, the semantic encoder."""
        size, texels = self._recipe.size, self._recipe.texels
        save_network(folder, "completion", self._completion.transformer, size, texels)
        save_network(folder, "codec", self._completion.codec, size, texels)
        if isinstance(self._objective.semantic, SmallSemanticEncoder):
            save_network(folder, "semantic", self._objective.semantic, size, texels)
