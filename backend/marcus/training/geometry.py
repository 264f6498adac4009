"""``geometry``: an encoder from a portrait to a head's coefficients, self-supervised (MARCUS, method 1).

L = λ_pho L_pho + λ_lan L_lan + λ_per L_per + λ_reg L_reg: the head drawn with the predicted shape, texture,
light and pose should look like the portrait where skin shows, and its 88 points lie where they were seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.artifacts import F32
from backend.head.base import ParametricHead, SurfacePoints
from backend.head.correspondences import points88
from backend.marcus.geometry.coefficients import Coefficients, split
from backend.marcus.geometry.face_model import FRAME, FaceModel, project, shade
from backend.marcus.training import geometry_losses as losses
from backend.marcus.training.networks import build_regressor
from backend.marcus.training.portraits import Portraits
from backend.marcus.training.renderer import MeshRenderer, NvdiffrastRenderer, PlainRenderer
from backend.marcus.training.set_task import tiled
from backend.training.recipe import GeometryRecipe
from backend.training.task import Player, Sample, Task, Terms

_POSE_AND_LIGHT = (3, 27, 2, 1)
_DARKEST = 1e-4


class GeometryObjective(nn.Module):
    """The loss of a batch of portraits; trains ``network``."""

    def __init__(
        self,
        network: nn.Module,
        model: FaceModel,
        points: SurfacePoints,
        renderer: MeshRenderer,
        recipe: GeometryRecipe,
        embedder: losses.Embedder,
    ) -> None:
        super().__init__()
        self.network = network
        self._parts = (model, renderer)  # a tuple: no submodules
        self._recipe, self._embedder = recipe, embedder
        self._corners = model.triangles[torch.from_numpy(points.triangle.astype(np.int64))]
        self._shares = torch.from_numpy(points.barycentric).to(model.mean)
        self._widths = widths(model)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``portrait`` ``(B, 3, P, P)``, ``attention`` ``(B, 1, P, P)``, ``landmarks`` ``(B, 88, 2)`` pixels,
        ``weight`` ``(B, 88)``.
        """
        coefficients = self.coefficients(batch["portrait"])
        with torch.autocast(batch["portrait"].device.type, enabled=False):  # places need all their digits
            return self._judged(coefficients, batch)

    def _judged(self, coefficients: Coefficients, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        weights, portrait = self._recipe.weights, batch["portrait"]
        drawn, cover, points = self.draw(coefficients, portrait.shape[-1])
        in_frame = FRAME / portrait.shape[-1]
        shown = cover * drawn + (1 - cover) * portrait
        terms = {
            "photometric": losses.photometric(portrait, drawn, batch["attention"] * cover),
            "landmark": losses.landmark(points * in_frame, batch["landmarks"] * in_frame, batch["weight"]),
            "perceptual": losses.perceptual(portrait, shown, self._embedder),
            **losses.squares(coefficients),
        }
        means = {name: term.mean() for name, term in terms.items()}
        loss = torch.stack([getattr(weights, name) * mean for name, mean in means.items()]).sum()
        return loss, means

    def coefficients(self, portrait: Tensor) -> Coefficients:
        """What the network says of portraits ``(B, 3, P, P)``."""
        return split(self.network(portrait).float(), self._widths)

    def draw(self, coefficients: Coefficients, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """sRGB picture ``(B, 3, P, P)``, its cover ``(B, 1, P, P)`` and the 88 points ``(B, 88, 2)``."""
        model, renderer = self._parts
        posed = model.posed(coefficients)
        places, depth = to_pixels(posed, size)
        light = shade(model.normals(posed), coefficients.gamma)
        colours = (model.texture(coefficients) * light).clamp(_DARKEST, 1)
        picture, cover = renderer.draw(places, depth, as_srgb(colours), size)
        at = (posed[:, self._corners] * self._shares[None, :, :, None]).sum(2)
        return picture, cover, to_pixels(at, size)[0]


class GeometryTask(Task):
    """The trainer of the encoder on portraits of a set or of photographs."""

    def __init__(
        self,
        recipe: GeometryRecipe,
        data: Portraits,
        head: ParametricHead,
        device: torch.device,
        start: Path | None,
        embedder: losses.Embedder | None = None,
    ) -> None:
        self._recipe, self._data, self._device = recipe, data, device
        embedder = embedder or losses.find_embedder(recipe.embedder)
        model = FaceModel.of(head).to(device)
        if recipe.identity is not None:
            model.identity = model.identity[: recipe.identity]
        triangles = torch.from_numpy(head.opaque_triangles.astype(np.int64))
        renderer: MeshRenderer = (
            NvdiffrastRenderer(triangles, device) if device.type == "cuda" else PlainRenderer(triangles)
        )
        network = build_regressor(recipe.network, widths(model), recipe.seed, start).to(device)
        self._objective = GeometryObjective(
            network,
            model,
            points88(head),
            renderer,
            recipe,
            embedder,
        )
        self.players = [Player("geometry", self._objective)]

    def __len__(self) -> int:
        return len(self._data)

    def begin(self, step: int) -> None:
        self._objective.train()

    def sample(self, record: int, number: int) -> Sample:
        portrait = self._data.read(record)
        return {
            "portrait": portrait.rgb_srgb,
            "attention": portrait.attention,
            "landmarks": portrait.landmarks,
            "weight": portrait.weight,
        }

    def picture(self) -> F32:
        """Rows of portrait, the drawn head over it, and that with seen (white) and solved points."""
        portraits = self._data.read_shown()
        batch = torch.stack([p.rgb_srgb for p in portraits]).to(self._device)
        self._objective.eval()
        with torch.no_grad():
            coefficients = self._objective.coefficients(batch)
            drawn, cover, points = self._objective.draw(coefficients, self._recipe.pixels)
        over = (cover * drawn + (1 - cover) * batch).cpu()
        rows = []
        for portrait, shown, solved in zip(portraits, over, points.cpu(), strict=True):
            marked = shown.clone()
            _mark(marked, portrait.landmarks[portrait.weight > 0], (1.0, 1.0, 1.0))
            _mark(marked, solved, (0.1, 0.9, 0.2))
            rows.append([p.permute(1, 2, 0).numpy() for p in (portrait.rgb_srgb, shown, marked)])
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """The network's weights as inference reads them (``net_recon``)."""
        network: Any = self._objective.network
        publish = getattr(network, "published_state", network.state_dict)
        save_file({k: v.cpu().contiguous() for k, v in publish().items()}, folder / "net_recon.safetensors")


def widths(model: FaceModel) -> tuple[int, ...]:
    """Sizes of the network's groups of outputs for a head."""
    return (len(model.identity), len(model.expression), len(model.texture_basis), *_POSE_AND_LIGHT)


def to_pixels(posed: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Places ``(…, 2)`` (y down, centres at .5) in a crop of ``size`` pixels, and depths, of posed points."""
    frame, depth = project(posed)
    down = torch.stack([frame[..., 0] + 0.5, FRAME - 0.5 - frame[..., 1]], dim=-1)
    return down * (size / FRAME), depth


def as_srgb(linear: Tensor) -> Tensor:
    """sRGB's curve (IEC 61966-2-1) of values in (0, 1], differentiable."""
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-6) ** (1 / 2.4) - 0.055
    )


def _mark(picture: Tensor, places: Tensor, colour: tuple[float, float, float]) -> None:
    size = picture.shape[-1]
    columns, rows = (places.floor().long().clamp(0, size - 1)).unbind(-1)
    picture[:, rows, columns] = torch.tensor(colour)[:, None]
