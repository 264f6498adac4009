"""``fica-refinement``: one pass that moves a completed head towards its portrait (method 2.3).

L = 2.0 ‖I_ref − I_rdr‖₁ + 0.5 ‖m_ref − m_rdr‖₁ + 0.01 ‖k_ref − k_rdr‖₁ + 1.0 L_reg (supplement),
the mesh drawn as opaque flat Gaussians with the portrait's true pose and expression, as in the paper.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from backend.artifacts import F32
from backend.fica.completion import Completion, Sampling
from backend.fica.keep import with_seen
from backend.fica.losses import deviation
from backend.fica.maps import SPAN_M, Frame, HeadMaps
from backend.fica.recipes import RefinementRecipe
from backend.fica.refinement import RefinementNetwork
from backend.fica.store import save_network
from backend.fica.surface import surfels
from backend.fica.training.people import People
from backend.fica.training.samples import (
    Split,
    camera_of,
    camera_tensor,
    dense_of,
    hwc,
    partial_of,
    portraits,
    sight_sample,
    smooth_noise,
)
from backend.gaussians.renderer import Renderer
from backend.head.correspondences import points68
from backend.marcus.training.set_task import tiled
from backend.training.order import generator
from backend.training.task import Player, Sample, Task, Terms

GREY = 0.5
_PICTURE_SEED = 13


class RefinementObjective(nn.Module):
    """Trains ``network``; what it refines comes from a frozen completion, or is a degraded truth."""

    def __init__(
        self,
        network: RefinementNetwork,
        completion: Completion | None,
        semantic: nn.Module | None,
        frame: Frame,
        renderer: Renderer,
        recipe: RefinementRecipe,
    ) -> None:
        super().__init__()
        self.network = network
        self._parts = (completion, semantic, frame, renderer)
        self._recipe = recipe

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``portrait``, ``mask``, ``camera``; ``motion`` ``(B, 3, S, S)``, metres by which the expression
        moves the neutral surface; ``point_uv`` ``(B, K, 2)``, ``points`` ``(B, K, 2)`` in pixels; and what
        ``start`` reads.
        """
        frame = self._parts[2]
        start = self.start(batch)
        with torch.no_grad(), torch.autocast(batch["portrait"].device.type, enabled=False):
            start = HeadMaps(start.texture.float(), start.geometry.float())
            first = self.drawn(start, batch)
        made = self.network(start, batch["portrait"], over_grey(first), frame)
        with torch.autocast(batch["portrait"].device.type, enabled=False):  # places need all their digits
            made = HeadMaps(made.texture.float(), made.geometry.float())
            return self._judged(made, start, self.drawn(made, batch), batch)

    def _judged(
        self, made: HeadMaps, start: HeadMaps, drawn: Tensor, batch: dict[str, Tensor]
    ) -> tuple[Tensor, Terms]:
        mask, weights = batch["mask"], self._recipe.weights
        wanted = batch["portrait"] * mask + GREY * (1 - mask)
        near = torch.maximum(mask, drawn[:, 3:].detach())
        terms = {
            "photometric": ((over_grey(drawn) - wanted).abs() * near).sum() / (3 * near.sum()).clamp_min(1),
            "mask": (drawn[:, 3:] - mask).abs().mean(),
            "keypoints": (self.keypoints(made, batch) - batch["points"]).abs().mean(),
            "regularisation": deviation(made, start, self._parts[2]),
        }
        loss = sum((weight * terms[name] for name, weight in weights), mask.new_zeros(()))
        return loss, terms

    @torch.no_grad()
    def start(self, batch: dict[str, Tensor]) -> HeadMaps:
        """What is refined: what the completion makes, with what the portrait shows."""
        frame = self._parts[2]
        partial = partial_of(batch["portrait"], dense_of(batch), frame, self._recipe.evidence)
        return with_seen(self.completed(batch, partial), partial, batch["motion"], frame)

    @torch.no_grad()
    def completed(self, batch: dict[str, Tensor], partial: Tensor) -> HeadMaps:
        """What the completion makes of ``partial``, or the degraded truth."""
        completion, semantic, frame, _ = self._parts
        if completion is None:
            texture = avg_pool2d(batch["texture"], 3, 1, 1, count_include_pad=False)
            texture = (texture + batch["texture_error"]).clamp(0, 1) * frame.inside
            return HeadMaps(texture, batch["geometry"] + batch["geometry_error"] * frame.inside)
        portrait = batch["portrait"]
        width = completion.transformer.config.semantic_width
        told = semantic(portrait) if semantic is not None else portrait.new_zeros(len(portrait), width)
        sampling = Sampling(self._recipe.sampling_steps)
        return completion.sample(partial, told, frame, batch["noise"].transpose(0, 1), sampling)

    def drawn(self, maps: HeadMaps, batch: dict[str, Tensor]) -> Tensor:
        """The posed mesh from the portrait's camera: premultiplied colours and coverage ``(B, 4, P, P)``."""
        frame, renderer = self._parts[2], self._parts[3]
        gaussians = surfels(maps.texture, maps.geometry + batch["motion"], frame)
        pixels = self._recipe.pixels
        pictures = [
            renderer.render(g, camera_of(c, pixels)) for g, c in zip(gaussians, batch["camera"], strict=True)
        ]
        return torch.stack(pictures).permute(0, 3, 1, 2)

    def keypoints(self, maps: HeadMaps, batch: dict[str, Tensor]) -> Tensor:
        """Points of the posed mesh in the picture, ``(B, K, 2)`` pixels."""
        return project(sampled(maps.geometry + batch["motion"], batch["point_uv"]), batch["camera"])


def over_grey(drawn: Tensor) -> Tensor:
    """``(B, 4, H, W)`` premultiplied over grey: ``(B, 3, H, W)``."""
    return drawn[:, :3] + GREY * (1 - drawn[:, 3:])


def sampled(maps: Tensor, uv: Tensor) -> Tensor:
    """Maps ``(B, C, S, S)`` at atlas coordinates ``(B, K, 2)``: ``(B, K, C)``."""
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)[:, :, None]
    return grid_sample(maps, grid, align_corners=False, padding_mode="border")[..., 0].transpose(1, 2)


def project(points: Tensor, cameras: Tensor) -> Tensor:
    """Pixels ``(B, K, 2)`` of head-space points ``(B, K, 3)`` by cameras ``(B, 15)``."""
    numbers = cameras.to(points)
    pose = numbers[:, 3:].reshape(-1, 3, 4)
    seen = points @ pose[:, :, :3].transpose(1, 2) + pose[:, None, :, 3]
    return numbers[:, None, :1] * seen[..., :2] / seen[..., 2:] + numbers[:, None, 1:3]


class RefinementTask(Task):
    """The trainer of the refinement."""

    def __init__(
        self,
        recipe: RefinementRecipe,
        split: Split,
        network: RefinementNetwork,
        completion: Completion | None,
        semantic: nn.Module | None,
        frame: Frame,
        renderer: Renderer,
    ) -> None:
        self._recipe, self._split, self._completion, self._frame = recipe, split, completion, frame
        self._portraits = portraits(split.train, recipe.evidence.most_yaw_degrees)
        self._objective = RefinementObjective(network, completion, semantic, frame, renderer, recipe)
        self.players = [Player("refinement", self._objective)]

    @property
    def network(self) -> RefinementNetwork:
        """What is trained."""
        return self._objective.network

    def __len__(self) -> int:
        return len(self._portraits)

    def sample(self, record: int, number: int) -> Sample:
        row, view = self._portraits[record]
        return self.portrait_sample(self._split.train, row, view, generator(self._recipe.seed, number))

    def portrait_sample(self, people: People, row: int, view: int, chance: torch.Generator) -> Sample:
        """One portrait with its truth, on the processor."""
        recipe, sight, maps = self._recipe, people.sight(row, view), people.maps(row)
        size = self._frame.size
        uv, points = keypoints_of(people, row, view)
        made = {
            **sight_sample(sight, recipe.evidence, chance),
            "mask": sight.mask,
            "camera": camera_tensor(sight.camera),
            "motion": people.posed(row) - maps.geometry[0],
            "point_uv": uv,
            "points": points,
            "texture": maps.texture[0],
            "geometry": maps.geometry[0],
        }
        if self._completion is None:
            tint = torch.randn(3, 1, 1, generator=chance) + smooth_noise(chance, 3, size)
            made["texture_error"] = recipe.texture_error * tint
            made["geometry_error"] = recipe.geometry_error_m * smooth_noise(chance, 3, size)
        else:
            made["noise"] = self._completion.draw_noise(1, chance)[:, 0]
        return made

    @torch.no_grad()
    def picture(self) -> F32:
        """Rows of portrait, mesh before and after, where it moved, texture before, after and true."""
        chance = torch.Generator().manual_seed(_PICTURE_SEED)
        device = self._frame.inside.device
        rows = []
        for people, neutral in self._split.shown(self._recipe.keeping.sampled):
            row = people.places[neutral].rows[-1]
            one = self.portrait_sample(people, row, 0, chance)
            batch = {name: value[None].to(device) for name, value in one.items()}
            start, made = self.refined(batch)
            first, after = (over_grey(self.drawn(maps, batch)) for maps in (start, made))
            wanted = batch["portrait"] * batch["mask"] + GREY * (1 - batch["mask"])
            moved = 0.5 + (made.geometry - start.geometry) / SPAN_M
            textures = [_sized(t, wanted) for t in (start.texture, made.texture, batch["texture"], moved)]
            rows.append([hwc(p[0]) for p in (wanted, first, after, *textures)])
        return tiled(rows)

    def completed(self, batch: dict[str, Tensor]) -> HeadMaps:
        """What the completion alone makes."""
        partial = partial_of(batch["portrait"], dense_of(batch), self._frame, self._recipe.evidence)
        return self._objective.completed(batch, partial)

    @torch.no_grad()
    def refined(self, batch: dict[str, Tensor]) -> tuple[HeadMaps, HeadMaps]:
        """What is refined, and what comes of it."""
        start = self._objective.start(batch)
        first = over_grey(self.drawn(start, batch))
        return start, self._objective.network(start, batch["portrait"], first, self._frame)

    def drawn(self, maps: HeadMaps, batch: dict[str, Tensor]) -> Tensor:
        """See ``RefinementObjective.drawn``."""
        return self._objective.drawn(maps, batch)

    def write(self, folder: Path) -> None:
        """``refinement.safetensors``."""
        network = self._objective.network
        save_network(folder, "refinement", network, self._recipe.size, self._recipe.texels)


def keypoints_of(people: People, row: int, view: int) -> tuple[Tensor, Tensor]:
    """iBUG's 68 points of a moment: atlas coordinates ``(68, 2)`` and pixels of its picture ``(68, 2)``."""
    points = points68(people.head)
    corners = people.atlas.corner_uvs[points.triangle]
    uv = (points.barycentric[..., None] * corners).sum(1)
    places = points.positions(people.vertices(row), people.head.triangles)
    px, _ = people.camera(row, view).project(places)
    return torch.from_numpy(uv).float(), torch.from_numpy(px).float()


def _sized(maps: Tensor, like: Tensor) -> Tensor:
    return interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
