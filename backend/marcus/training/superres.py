"""``superres``: Real-ESRGAN on pairs cut from the sets' maps, pixel, perceptual and adversarial loss.

The truth is a map shrunk ``reduce`` times (the paper shrinks 8K scans to 4K), its input the same four times
smaller again, a little blurred and noisy as a generated map may be. Maps are not flipped or turned: that
would change what a normal map says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from backend.artifacts import F32
from backend.errors import BadInput
from backend.marcus.superres.networks import RRDBNet
from backend.marcus.training import uv_maps
from backend.marcus.training.discriminator import PixelCritic, critic_loss, generator_loss
from backend.marcus.training.perceptual import Perceptual, perceptual_distance
from backend.marcus.training.set_task import Instances, tiled
from backend.training.loader import Instance
from backend.training.order import generator
from backend.training.recipe import SuperresRecipe
from backend.training.task import Player, Sample, Task, Terms

_MAPS = 3  # albedo, normal, packed roughness/specular/displacement
_BLUR_PX = 0.6  # of the input, at most
_NOISE = 2 / 255


class GeneratorObjective(nn.Module):
    """The upscaler, and a slow mean of its weights that is what is kept in the end."""

    def __init__(
        self, network: nn.Module, critic: nn.Module, recipe: SuperresRecipe, perceptual: Perceptual
    ) -> None:
        super().__init__()
        self.network = network
        self._parts = (critic,)
        self._recipe, self._perceptual = recipe, perceptual
        self.is_adversarial = False
        for name, parameter in network.named_parameters():
            self.register_buffer(_ema_name(name), parameter.detach().clone())

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``input`` ``(B, 3, P/4, P/4)`` and ``truth`` ``(B, 3, P, P)`` in [0, 1]."""
        recipe, truth = self._recipe, batch["truth"]
        made = self.network(batch["input"])
        pixel = (made - truth).abs().mean()
        perceptual = self._perceptual(made.clamp(0, 1), truth).mean()
        loss = recipe.pixel * pixel + recipe.perceptual * perceptual
        terms = {"pixel": pixel, recipe.network: perceptual}
        if self.is_adversarial:
            critic = self._parts[0].requires_grad_(False)
            terms["adversarial"] = generator_loss(critic(made))
            critic.requires_grad_(True)
            loss = loss + recipe.adversarial * terms["adversarial"]
        return loss, terms

    @torch.no_grad()
    def follow(self) -> None:
        """Move the slow mean a step towards the weights."""
        for name, parameter in self.network.named_parameters():
            slow = self.get_buffer(_ema_name(name))
            slow.lerp_(parameter.detach(), 1 - self._recipe.ema)

    def slow_state(self) -> dict[str, Tensor]:
        """The mean weights under the network's names."""
        return {
            name: self.get_buffer(_ema_name(name)).detach().clone()
            for name, _ in self.network.named_parameters()
        }


class CriticObjective(nn.Module):
    """The critic against what the upscaler makes now."""

    def __init__(self, critic: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.critic = critic
        self._parts = (network,)
        self.is_adversarial = False

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """As ``GeneratorObjective``; before the adversarial part begins the loss is zero."""
        with torch.no_grad():
            made = self._parts[0](batch["input"])
        loss = critic_loss(self.critic(batch["truth"]), self.critic(made))
        if not self.is_adversarial:
            loss = 0 * loss
        return loss, {}


class SuperresTask(Task):
    """The trainer of the upscaler."""

    def __init__(
        self, recipe: SuperresRecipe, data: Instances, device: torch.device, start: Path | None
    ) -> None:
        self._recipe, self._data = recipe, data
        side = data.manifest.recipe.texels // recipe.reduce
        if side < recipe.patch:
            raise BadInput(
                f"maps of {data.manifest.recipe.texels} texels shrunk {recipe.reduce} times have no patch of "
                f"{recipe.patch}; lower patch or reduce in the recipe, or make a set of larger maps"
            )
        self._side = side
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = RRDBNet(recipe.features, recipe.blocks, recipe.growth)
            critic = PixelCritic(recipe.discriminator_features)
        if start is not None:
            _start_from(network, start)
        perceptual = perceptual_distance(recipe.network)
        self._upscaler = GeneratorObjective(network.to(device), critic.to(device), recipe, perceptual)
        self._judge = CriticObjective(critic, network)
        self.players = [Player("upscaler", self._upscaler), Player("critic", self._judge)]

    def __len__(self) -> int:
        return len(self._data)

    def begin(self, step: int) -> None:
        adversarial = step >= self._recipe.adversarial_from and self._recipe.adversarial > 0
        self._upscaler.is_adversarial = self._judge.is_adversarial = adversarial

    def after_step(self) -> None:
        self._upscaler.follow()

    def sample(self, record: int, number: int) -> Sample:
        chance = generator(self._recipe.seed, number)
        pictures = uv_maps.material_pictures(self._data.read(record).materials, self._side)
        which = int(torch.randint(_MAPS, (), generator=chance))
        free = self._side - self._recipe.patch
        y, x = (int(torch.randint(free + 1, (), generator=chance)) for _ in range(2))
        truth = pictures[which, :, y : y + self._recipe.patch, x : x + self._recipe.patch].clone()
        return {"truth": truth, "input": worsened(truth, self._recipe.scale, chance)}

    def picture(self) -> F32:
        """Rows of input (nearest), bicubic, made by the mean weights, and truth; a crop of each map."""
        from torch.func import functional_call

        rows, state = [], self._upscaler.slow_state()
        network = self._upscaler.network
        for k, instance in enumerate(self._data.read_shown()):
            truth = self._middle(instance, k % _MAPS)[None].to(next(network.parameters()).device)
            small = avg_pool2d(truth, self._recipe.scale)
            with torch.no_grad():
                made = functional_call(network, state, (small,))
            nearest = interpolate(small, scale_factor=self._recipe.scale, mode="nearest")
            cubic = interpolate(small, scale_factor=self._recipe.scale, mode="bicubic", align_corners=False)
            rows.append(
                [p[0].clamp(0, 1).cpu().permute(1, 2, 0).numpy() for p in (nearest, cubic, made, truth)]
            )
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """The mean weights, as ``params_ema`` of the published files holds them."""
        state = {name: tensor.cpu().contiguous() for name, tensor in self._upscaler.slow_state().items()}
        save_file(state, folder / "realesrgan_x4.safetensors")

    def _middle(self, instance: Instance, which: int) -> Tensor:
        picture = uv_maps.material_pictures(instance.materials, self._side)[which]
        side = min(self._side, 2 * self._recipe.patch)
        y = x = (self._side - side) // 2
        return picture[:, y : y + side, x : x + side]


def worsened(truth: Tensor, scale: int, chance: torch.Generator) -> Tensor:
    """``(C, P, P)`` to the input ``(C, P/scale, P/scale)``: areas averaged, blurred, noisy, cut to [0, 1]."""
    small = avg_pool2d(truth[None], scale)
    blur, noise = torch.rand(2, generator=chance).tolist()
    kernel = _gaussian(blur * _BLUR_PX)
    for across in (kernel[None, None, None, :], kernel[None, None, :, None]):
        pad = (1, 1, 0, 0) if across.shape[-1] == 3 else (0, 0, 1, 1)
        padded = torch.nn.functional.pad(small, pad, mode="replicate")
        small = torch.nn.functional.conv2d(padded, across.expand(len(truth), -1, -1, -1), groups=len(truth))
    grain = torch.randn(small.shape, generator=chance)
    worse: Tensor = (small + noise * _NOISE * grain).clamp(0, 1)
    return worse[0]


def _gaussian(sigma: float) -> Tensor:
    """Three taps."""
    side = float(np.exp(-0.5 / sigma**2)) if sigma > 1e-3 else 0.0
    return torch.tensor([side, 1.0, side]) / (1 + 2 * side)


def _start_from(network: RRDBNet, path: Path) -> None:
    from backend.marcus.superres.networks import load_checkpoint

    published = load_checkpoint(path)
    try:
        network.load_state_dict(published.state_dict())
    except RuntimeError as error:
        raise BadInput(
            f"'{path}' is not a network of this recipe's size; {' '.join(str(error).split())[:200]}"
        ) from error


def _ema_name(name: str) -> str:
    return "slow_" + name.replace(".", "_")
