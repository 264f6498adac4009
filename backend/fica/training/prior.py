"""``fica-prior``: identity hypernetwork and Gaussian decoder, from many views of many people (method 2.4).

Warm-up as public codec-avatar work has it: first Gaussians sit on the true surface without residuals while
the running average of texel sizes settles; then the decoder's own surface takes over, with residuals.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from backend.artifacts import F32
from backend.fica.losses import ssim
from backend.fica.maps import Frame, HeadMaps
from backend.fica.prior import MOST_LOG_SCALE, Decoded, Drive, UniversalPrior, without_residual
from backend.fica.recipes import PriorRecipe
from backend.fica.store import save_network
from backend.fica.surface import surfels
from backend.fica.training.people import People
from backend.fica.training.samples import Split, camera_of, camera_tensor, hwc, view_direction
from backend.gaussians.renderer import Gaussians, Renderer, over
from backend.marcus.training.set_task import tiled
from backend.training.order import generator
from backend.training.task import Player, Sample, Task, Terms

GREY = 0.5
_FREE_LOG_SCALE = 1.0  # sizes within e^±1 of the texel's cost nothing


class PriorObjective(nn.Module):
    """The loss of moments, each seen by a few cameras."""

    def __init__(self, prior: UniversalPrior, frame: Frame, renderer: Renderer, recipe: PriorRecipe) -> None:
        super().__init__()
        self.prior = prior
        self._parts = (frame, renderer)
        self._recipe = recipe
        self.step = 0

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``texture``, ``geometry``, ``posed`` ``(B, 3, S, S)``; ``drive`` ``(B, 56)``; and of V views
        ``picture`` ``(B, V, 3, P, P)``, ``mask`` ``(B, V, 1, P, P)``, ``camera`` ``(B, V, 15)``,
        ``view`` ``(B, V, 3)``.
        """
        frame, views = self._parts[0], batch["camera"].shape[1]
        maps = HeadMaps(batch["texture"], batch["geometry"])
        spread = [bias.repeat_interleave(views, 0) for bias in self.prior.biases(maps, frame)]
        decoded = self.prior.decode(drives(batch["drive"], batch["view"]), spread, frame)
        with torch.autocast(batch["texture"].device.type, enabled=False):  # places need all their digits
            return self._judged(decoded.float(), maps, batch)

    def _judged(self, decoded: Decoded, maps: HeadMaps, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        frame, views = self._parts[0], batch["camera"].shape[1]
        wide = HeadMaps(*(m.repeat_interleave(views, 0) for m in (maps.texture, maps.geometry)))
        truth = batch["posed"].repeat_interleave(views, 0)
        own = wide.geometry + decoded.motion
        inside = frame.inside
        shown, posed = self._warm(decoded, own, truth)
        made = self.pictures(self.prior.place(shown, wide, posed, frame), batch["camera"].flatten(0, 1))
        terms = _picture_terms(made, batch["picture"].flatten(0, 1), batch["mask"].flatten(0, 1))
        terms["geometry"] = ((own - truth).abs() * inside).sum() / (3 * len(own) * inside.sum()) / 0.01
        beyond = (decoded.log_scale.abs() - _FREE_LOG_SCALE).clamp_min(0)
        terms["scale_bound"] = (beyond / (MOST_LOG_SCALE - _FREE_LOG_SCALE)).square().mean()
        terms["offset"] = (decoded.offset * 1000).square().mean()
        zero = decoded.offset.new_zeros(())
        return sum((weight * terms[name] for name, weight in self._recipe.weights), zero), terms

    def pictures(self, gaussians: list[Gaussians], cameras: Tensor) -> Tensor:
        """Premultiplied pictures with coverage ``(N, 4, P, P)``."""
        renderer, pixels = self._parts[1], self._recipe.pixels
        drawn = [
            renderer.render(g, camera_of(camera, pixels))
            for g, camera in zip(gaussians, cameras, strict=True)
        ]
        return torch.stack(drawn).permute(0, 3, 1, 2)

    def _warm(self, decoded: Decoded, own: Tensor, truth: Tensor) -> tuple[Decoded, Tensor]:
        recipe = self._recipe
        late = self.step - recipe.true_geometry_steps
        if late < 0:
            if self.training and torch.is_grad_enabled():
                self.prior.remember_sizes(truth, self._parts[0])
            return without_residual(decoded), truth
        share = min(1.0, (late + 1) / (recipe.blend_steps + 1))
        return decoded, truth.lerp(own, share)


def _picture_terms(made: Tensor, picture: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Distances of pictures ``(N, 4, P, P)`` from the photographs, both over grey."""
    wanted = picture * mask + GREY * (1 - mask)
    shown = made[:, :3] + GREY * (1 - made[:, 3:])
    near = nn.functional.max_pool2d(torch.maximum(mask, made[:, 3:].detach()), 5, 1, 2)
    return {
        "image": ((shown - wanted).abs() * near).sum() / (3 * near.sum()).clamp_min(1),
        "ssim": 1 - ssim(shown, wanted).mean(),
        "coverage": (made[:, 3:] - mask).abs().mean(),
    }


def drives(drive: Tensor, view: Tensor) -> Drive:
    """``(B, K + 4)`` and views ``(B, V, 3)`` as B·V rows."""
    rows = drive.repeat_interleave(view.shape[1], 0)
    return Drive(rows[:, :-4], rows[:, -4:], view.flatten(0, 1))


class PriorTask(Task):
    """The trainer of the universal prior."""

    def __init__(
        self, recipe: PriorRecipe, split: Split, prior: UniversalPrior, frame: Frame, renderer: Renderer
    ) -> None:
        self._recipe, self._split, self._prior, self._frame = recipe, split, prior, frame
        self._objective = PriorObjective(prior, frame, renderer, recipe)
        self.players = [Player("prior", self._objective)]

    def __len__(self) -> int:
        return len(self._split.train)

    def begin(self, step: int) -> None:
        self._objective.step = step

    def sample(self, record: int, number: int) -> Sample:
        chance = generator(self._recipe.seed, number)
        people = self._split.train
        views = torch.randperm(people.views(record), generator=chance)[: self._recipe.views].tolist()
        return moment_sample(people, record, views)

    @torch.no_grad()
    def picture(self) -> F32:
        """Rows of the photograph, the prior and the bare textured surface, front and from the side."""
        device = self._frame.inside.device
        rows = []
        for people, neutral in self._split.shown(self._recipe.keeping.sampled):
            row = people.places[neutral].rows[-1]
            views = side_views(people, row)
            sample = {
                name: value[None].to(device) for name, value in moment_sample(people, row, views).items()
            }
            made = self._made(sample)
            bare = surfels(sample["texture"], sample["posed"], self._frame) * len(views)
            plain = self._objective.pictures(bare, sample["camera"][0])
            shown = []
            for k in range(len(views)):
                mask = sample["mask"][0, k]
                shown.append(hwc(sample["picture"][0, k] * mask + GREY * (1 - mask)))
                shown += [hwc(over(p[k].permute(1, 2, 0), GREY).permute(2, 0, 1)) for p in (made, plain)]
            rows.append(shown)
        return tiled(rows)

    def _made(self, sample: Sample) -> Tensor:
        maps = HeadMaps(sample["texture"], sample["geometry"])
        drive = drives(sample["drive"], sample["view"])
        decoded = self._prior.decode(drive, self._prior.biases(maps, self._frame), self._frame)
        placed = self._prior.place(decoded, maps, maps.geometry + decoded.motion, self._frame)
        return self._objective.pictures(placed, sample["camera"][0])

    def write(self, folder: Path) -> None:
        """``prior.safetensors`` with what it was built with."""
        save_network(folder, "prior", self._prior, self._recipe.size, self._recipe.texels)


def moment_sample(people: People, row: int, views: list[int]) -> Sample:
    """A moment with its head maps and the views asked for."""
    maps = people.maps(row)
    shots = [people.photograph(row, view) for view in views]
    return {
        "texture": maps.texture[0],
        "geometry": maps.geometry[0],
        "posed": people.posed(row),
        "drive": people.drive(row),
        "picture": torch.stack([picture for picture, _, _ in shots]),
        "mask": torch.stack([mask for _, mask, _ in shots]),
        "camera": torch.stack([camera_tensor(camera) for _, _, camera in shots]),
        "view": torch.stack([view_direction(camera) for _, _, camera in shots]),
    }


def side_views(people: People, row: int) -> list[int]:
    """The straight view and one from about 40° aside."""
    yaws = [abs(view.yaw_degrees) for view in people.meta(row).views]
    aside = min(range(len(yaws)), key=lambda k: abs(yaws[k] - 40.0))
    return [0, aside]
