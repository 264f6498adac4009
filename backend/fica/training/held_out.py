"""What trained networks do on people they never saw: against the bare mesh, and against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backend.errors import BadInput
from backend.fica.maps import Frame, HeadMaps
from backend.fica.prior import UniversalPrior
from backend.fica.recipes import Evidence, Size
from backend.fica.sizes import prior_config
from backend.fica.store import load_network
from backend.fica.surface import surfels
from backend.fica.training.people import People, has_moments, open_people
from backend.fica.training.prior import GREY, drives, moment_sample
from backend.fica.training.refinement import RefinementTask, over_grey
from backend.fica.training.samples import camera_of, portraits
from backend.gaussians.renderer import Gaussians, Renderer
from backend.head.base import ParametricHead
from backend.training.schema import Split

HELD_OUT: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class Means:
    """Means over what was measured."""

    of: str
    pictures: int
    values: dict[str, float]

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{self.of}: {numbers} ({self.pictures} pictures)"


def psnr(made: Tensor, wanted: Tensor, weight: Tensor) -> float:
    """dB of pictures ``(3, H, W)`` in [0, 1] over the pixels of ``weight`` ``(1, H, W)``."""
    error = ((made.clamp(0, 1) - wanted) ** 2 * weight).sum() / (3 * weight.sum()).clamp_min(1)
    return -10 * math.log10(max(float(error), 1e-10))


def open_held_out(folder: Path, head: ParametricHead, texels: int, pixels: int) -> list[People]:
    """The people of the splits that nothing was trained with. Raises: BadInput when there are none."""
    found = [
        open_people(folder, split, head, texels, pixels) for split in HELD_OUT if has_moments(folder, split)
    ]
    if not found:
        raise BadInput(f"'{folder}' has nobody held out; make a set of ten people or more")
    return found


@torch.no_grad()
def measure_prior(
    result: Path, people: list[People], size: Size, pixels: int, renderer: Renderer
) -> list[Means]:
    """PSNR over the head of every view: the prior, and the same textured mesh on the true posed surface.

    The mesh is what the prior starts from; unlike the prior it is given the true expression.
    Raises: Missing, BadWeights.
    """
    frame = people[0].frame
    prior = UniversalPrior(prior_config(size, frame.size), frame)
    load_network(result, "prior", prior, size, frame.size)
    prior.eval()
    kinds: dict[str, list[float]] = {"prior": [], "mesh": [], "surface_mm": []}
    for one, row in _moments(people):
        views = list(range(one.views(row)))
        sample = {name: value[None] for name, value in moment_sample(one, row, views).items()}
        maps = HeadMaps(sample["texture"], sample["geometry"])
        decoded = prior.decode(drives(sample["drive"], sample["view"]), prior.biases(maps, frame), frame)
        posed = maps.geometry + decoded.motion
        off = (posed[:1] - sample["posed"]).norm(dim=1, keepdim=True) * frame.inside
        kinds["surface_mm"].append(1000 * float(off.sum() / frame.inside.sum()))
        placed = prior.place(decoded, maps, posed, frame)
        bare = surfels(sample["texture"], sample["posed"], frame) * len(views)
        for k in views:
            mask = sample["mask"][0, k]
            wanted = sample["picture"][0, k] * mask + GREY * (1 - mask)
            for name, gaussians in (("prior", placed[k]), ("mesh", bare[k])):
                shown = _picture(gaussians, sample["camera"][0, k], pixels, renderer)
                kinds[name].append(psnr(shown, wanted, (mask > 0.5).float()))
    count = len(kinds["prior"])
    return [
        Means("prior", count, {"psnr_db": _mean(kinds["prior"]), "surface_mm": _mean(kinds["surface_mm"])}),
        Means("mesh with the true expression", count, {"psnr_db": _mean(kinds["mesh"])}),
    ]


@torch.no_grad()
def measure_maps(
    task: RefinementTask, people: list[People], evidence: Evidence, train: People, seed: int
) -> list[Means]:
    """Portraits of held-out people: the training set's mean head, what is refined, and what comes out.

    Mean L1 of texture (display sRGB) and distance of geometry over the atlas, PSNR of the posed mesh in the
    portrait's own view.
    """
    frame = train.frame
    average = mean_maps(train)
    rows: dict[str, list[tuple[float, float, float]]] = {"mean head": [], "before": [], "after": []}
    for one in people:
        for row, view in portraits(one, evidence.most_yaw_degrees):
            chance = torch.Generator().manual_seed(seed)
            batch = {
                name: value[None] for name, value in task.portrait_sample(one, row, view, chance).items()
            }
            start, made = task.refined(batch)
            truth = one.maps(row)
            for name, maps in (("mean head", average), ("before", start), ("after", made)):
                rows[name].append(_compared(task, maps, truth, batch, frame))
    return [
        Means(
            name,
            len(found),
            dict(
                zip(
                    ("texture_l1", "geometry_mm", "psnr_db"),
                    (_mean([f[k] for f in found]) for k in range(3)),
                    strict=True,
                )
            ),
        )
        for name, found in rows.items()
    ]


def mean_maps(people: People) -> HeadMaps:
    """The average head of a split: what one knows without a portrait."""
    every = [people.maps(row) for row in people.persons()]
    return HeadMaps(
        torch.stack([m.texture for m in every]).mean(0), torch.stack([m.geometry for m in every]).mean(0)
    )


def _compared(
    task: RefinementTask, maps: HeadMaps, truth: HeadMaps, batch: dict[str, Tensor], frame: Frame
) -> tuple[float, float, float]:
    inside = frame.inside
    texture = ((maps.texture - truth.texture).abs() * inside).sum() / (3 * inside.sum())
    distance = ((maps.geometry - truth.geometry).norm(dim=1, keepdim=True) * inside).sum() / inside.sum()
    shown = over_grey(task.drawn(maps, batch))[0]
    mask = batch["mask"][0]
    wanted = batch["portrait"][0] * mask + GREY * (1 - mask)
    return float(texture), 1000 * float(distance), psnr(shown, wanted, (mask > 0.5).float())


def _moments(people: list[People]) -> Iterator[tuple[People, int]]:
    for one in people:
        for row in range(len(one)):
            yield one, row


def _picture(gaussians: Gaussians, camera: Tensor, pixels: int, renderer: Renderer) -> Tensor:
    drawn = renderer.render(gaussians, camera_of(camera, pixels))
    return drawn[..., :3].permute(2, 0, 1) + GREY * (1 - drawn[..., 3])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
