"""The dense predictor on held-out people's pictures, against what one says without looking."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from backend.fica.dense import DensePredictor
from backend.fica.recipes import ConditioningRecipe
from backend.fica.sizes import dense_config
from backend.fica.store import load_network
from backend.fica.training.conditioning import truth_of
from backend.fica.training.held_out import Means, Tally
from backend.fica.training.people import People, look
from backend.fica.training.samples import dense_of
from backend.fica.unwrap import DenseMaps
from backend.training.task import collate


@torch.no_grad()
def measure_conditioning(
    result: Path, people: list[People], recipe: ConditioningRecipe, train: People
) -> list[Means]:
    """UV, vertices and normals over the pixels that truly show the atlas, and how far these are found, in all
    views: what the training pictures have there on average, the mean head before the true camera, and the
    predictor, who is told of no camera. Raises: Missing, BadWeights.
    """
    predictor = DensePredictor(dense_config(recipe.size))
    load_network(result, "conditioning", predictor, recipe.size, recipe.texels)
    predictor.eval()
    usual, tally = average_pixels(train), Tally()
    for split, one in enumerate(people):
        for row in range(len(one)):
            for view in range(one.views(row)):
                batch = collate([truth_of(one.sight(row, view))])
                candidates = {
                    "mean of the training pictures": usual,
                    "mean head by the true camera": _mean_head(one, row, view, usual),
                    "predictor": predictor(batch["portrait"]),
                }
                for name, made in candidates.items():
                    found = compared(made, dense_of(batch))
                    tally.add(name, (split, one.places[row].first_row), found)
    return tally.means()


def average_pixels(train: People) -> DenseMaps:
    """The mean of all training views at each pixel, over those that show the atlas there."""
    total, seen, views = torch.zeros(()), torch.zeros(()), 0
    for row in range(len(train)):
        for view in range(train.views(row)):
            sight = train.sight(row, view)
            total = total + torch.cat([sight.uv, sight.vertex, sight.normal]) * sight.known
            seen, views = seen + sight.known, views + 1
    mean = (total / seen.clamp_min(1))[None]
    return DenseMaps(mean[:, :2], mean[:, 2:5], normalize(mean[:, 5:8], dim=1, eps=1e-6), seen[None] / views)


def compared(made: DenseMaps, truth: DenseMaps) -> dict[str, float]:
    """Mean UV L1 (sides of the atlas), vertex distance, angle of normals; overlap of what is known."""
    known = truth.known
    count = known.sum().clamp_min(1)
    away = (made.vertex - truth.vertex).norm(dim=1, keepdim=True)
    cosine = (made.normal * truth.normal).sum(1, keepdim=True).clamp(-1, 1)
    sure = made.known > 0.5
    return {
        "uv_l1": float(((made.uv - truth.uv).abs() * known).sum() / (2 * count)),
        "vertex_mm": 1000 * float((away * known).sum() / count),
        "normal_degrees": float((torch.rad2deg(torch.acos(cosine)) * known).sum() / count),
        "overlap": float((sure & (known > 0)).sum() / (sure | (known > 0)).sum().clamp_min(1)),
    }


def _mean_head(people: People, row: int, view: int, usual: DenseMaps) -> DenseMaps:
    """``usual`` where the mean head does not show."""
    camera, mean = people.camera(row, view), people.head.mean_vertices
    nothing = torch.zeros(camera.height_px, camera.width_px)
    seen = look(
        people.atlas,
        mean,
        nothing[..., None].expand(-1, -1, 3).numpy().astype("uint8"),
        nothing.bool().numpy(),
        camera,
        people.pixels,
    )
    has = seen.known[None] > 0

    def over(own: Tensor, other: Tensor) -> Tensor:
        return torch.where(has, own[None], other)

    return DenseMaps(
        over(seen.uv, usual.uv),
        over(seen.vertex, usual.vertex),
        over(seen.normal, usual.normal),
        seen.known[None],
    )
