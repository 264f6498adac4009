"""The universal prior on held-out people, against the bare mesh."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from backend.fica.maps import HeadMaps
from backend.fica.prior import UniversalPrior
from backend.fica.recipes import PriorRecipe
from backend.fica.sizes import prior_config
from backend.fica.store import load_network
from backend.fica.surface import surfels
from backend.fica.training.held_out import Means, Tally, psnr
from backend.fica.training.people import People
from backend.fica.training.prior import GREY, drives, moment_sample
from backend.fica.training.samples import camera_of
from backend.gaussians.renderer import Gaussians, Renderer


@torch.no_grad()
def measure_prior(result: Path, people: list[People], recipe: PriorRecipe, renderer: Renderer) -> list[Means]:
    """PSNR over the head of every view: the prior, and the same textured mesh on the true posed surface.

    The mesh is what the prior starts from; unlike the prior it is given the true expression.
    Raises: Missing, BadWeights.
    """
    frame = people[0].frame
    prior = UniversalPrior(prior_config(recipe.size, frame.size), frame)
    load_network(result, "prior", prior, recipe.size, frame.size)
    prior.eval()
    tally = Tally()
    for split, one in enumerate(people):
        for row in range(len(one)):
            person, views = (split, one.places[row].first_row), list(range(one.views(row)))
            sample = {name: value[None] for name, value in moment_sample(one, row, views).items()}
            maps = HeadMaps(sample["texture"], sample["geometry"])
            decoded = prior.decode(drives(sample["drive"], sample["view"]), prior.biases(maps, frame), frame)
            posed = maps.geometry + decoded.motion
            off = (posed[:1] - sample["posed"]).norm(dim=1, keepdim=True) * frame.inside
            surface_mm = 1000 * float(off.sum() / frame.inside.sum())
            placed = prior.place(decoded, maps, posed, frame)
            bare = surfels(sample["texture"], sample["posed"], frame) * len(views)
            for k in views:
                mask = sample["mask"][0, k]
                wanted = sample["picture"][0, k] * mask + GREY * (1 - mask)
                camera, head = sample["camera"][0, k], (mask > 0.5).float()
                made, plain = (_picture(g[k], camera, recipe.pixels, renderer) for g in (placed, bare))
                found = {"psnr_db": psnr(made, wanted, head), "surface_mm": surface_mm}
                tally.add("prior", person, found)
                tally.add("mesh with the true expression", person, {"psnr_db": psnr(plain, wanted, head)})
    return tally.means()


def _picture(gaussians: Gaussians, camera: Tensor, pixels: int, renderer: Renderer) -> Tensor:
    drawn = renderer.render(gaussians, camera_of(camera, pixels))
    return drawn[..., :3].permute(2, 0, 1) + GREY * (1 - drawn[..., 3])
