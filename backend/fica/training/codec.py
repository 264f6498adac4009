"""``fica-codec``: the autoencoder of maps, trained on textures, geometries and photographs of a set."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from backend.artifacts import F32
from backend.fica.codec import FACTOR, Codec
from backend.fica.maps import Frame, signed, unsigned
from backend.fica.recipes import CodecRecipe
from backend.fica.sizes import codec_config
from backend.fica.store import save_network
from backend.fica.training.samples import Split, hwc
from backend.marcus.training.set_task import tiled
from backend.training.order import generator
from backend.training.task import Player, Sample, Task, Terms

_SCALE_SHARE = 0.02  # of the newest batch in the running spread of latents


class CodecObjective(nn.Module):
    """L1 and a little divergence; keeps the latents' spread at one."""

    def __init__(self, codec: Codec, kl: float) -> None:
        super().__init__()
        self.codec, self._kl = codec, kl

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``maps`` ``(B, 3, 3, S, S)`` texture, geometry, photograph; ``weight``; ``noise`` of latents."""
        maps, weight, noise = (batch[name].flatten(0, 1) for name in ("maps", "weight", "noise"))
        loss, error, latents = self.codec.loss(maps, weight, noise, self._kl)
        self.codec.scale.lerp_(1 / latents.std().clamp_min(1e-4), _SCALE_SHARE)
        return loss, {"l1": error}


class CodecTask(Task):
    """The trainer of the autoencoder."""

    def __init__(self, recipe: CodecRecipe, split: Split, device: torch.device) -> None:
        self._recipe, self._split, self._device = recipe, split, device
        self._frame: Frame = split.train.frame
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.codec = Codec(codec_config(recipe.size))
        self.players = [Player("codec", CodecObjective(self.codec, recipe.kl))]

    def __len__(self) -> int:
        return len(self._split.train)

    def sample(self, record: int, number: int) -> Sample:
        chance = generator(self._recipe.seed, number)
        people, texels = self._split.train, self._recipe.texels
        maps = people.maps(record)
        view = int(torch.randint(people.views(record), (), generator=chance))
        photograph, _, _ = people.photograph(record, view)
        size = (texels, texels)
        photograph = nn.functional.interpolate(photograph[None], size=size, mode="bilinear", antialias=True)
        inside, side = self._frame.inside[0], texels // FACTOR
        return {
            "maps": torch.stack(
                [signed(maps.texture[0]), self._frame.coded(maps.geometry)[0], signed(photograph[0])]
            ),
            "weight": torch.stack([inside, inside, torch.ones_like(inside)]),
            "noise": torch.randn(3, self.codec.config.channels, side, side, generator=chance),
        }

    @torch.no_grad()
    def picture(self) -> F32:
        """Rows of texture and geometry, each before and after."""
        rows = []
        for people, row in self._split.shown(self._recipe.keeping.sampled):
            maps = people.maps(row)
            shown = []
            for coded in (signed(maps.texture), self._frame.coded(maps.geometry)):
                latents = self.codec.encode(coded.to(self._device))
                shown += [hwc(unsigned(coded[0])), hwc(unsigned(self.codec.decode(latents)[0]))]
            rows.append(shown)
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """``codec.safetensors``, which the completion takes as --weights."""
        save_network(folder, "codec", self.codec, self._recipe.size, self._recipe.texels)
