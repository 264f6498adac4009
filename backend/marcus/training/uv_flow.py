"""``inpaint`` and ``homogenise``: one LoRA by flow matching, from a condition picture to a target picture.

L = E‖f(z_σ, T, σ) − (ε − z_0)‖² with z_σ = (1 − σ) z_0 + σ ε (MARCUS, method 2); T is T_inc for completion of
T_env, and T_env for T_hom. The backbone is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backend.artifacts import F32
from backend.marcus import flow, prompts
from backend.marcus.adapters import adapter_parameters, add_adapter, save_adapter
from backend.marcus.latents import pack, unpack
from backend.marcus.longcat import predict
from backend.marcus.training import uv_maps
from backend.marcus.training.backbone import Assembled
from backend.marcus.training.captions import described_light, described_skin
from backend.marcus.training.prompt_tensor import as_prompts, as_tensor
from backend.marcus.training.set_task import Instances, tiled
from backend.training.loader import Instance
from backend.training.order import generator
from backend.training.recipe import UVFlowRecipe
from backend.training.task import Player, Sample, Task, Terms

Stage = Literal["inpaint", "homogenise"]
_PICTURE_SEED = 7  # the noise of the pictures on the way, the same at every step


class FlowObjective(nn.Module):
    """The flow-matching loss of a batch; what is trained is the adapter inside ``transformer``."""

    def __init__(self, backbone: Assembled, texels: int) -> None:
        super().__init__()
        self.transformer = backbone.transformer
        self._parts = (backbone,)  # a tuple: its frozen parts are no submodules of this one
        self._texels = texels

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``condition``, ``target`` ``(B, 3, S, S)``, ``noise`` as latents, ``sigma`` (B,), ``prompt``."""
        backbone = self._parts[0]
        with torch.no_grad():
            clean, condition = (
                backbone.codec.encode(batch["target"]),
                backbone.codec.encode(batch["condition"]),
            )
            text = backbone.text.encode(as_prompts(batch["prompt"]), batch["condition"])
        noise, sigma = batch["noise"].to(clean.dtype), batch["sigma"]
        noisy = flow.interpolate(clean, noise, sigma)
        velocity = predict(
            self.transformer, pack(noisy), pack(condition), sigma, text, backbone.grid(self._texels)
        )
        return flow_loss(velocity, pack(clean), pack(noise)), {}


def flow_loss(velocity: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """E‖v̂ − (ε − z_0)‖²: the mean over all values, in float32."""
    return ((velocity - flow.velocity_target(clean, noise)).float() ** 2).mean()


class UVFlowTask(Task):
    """The trainer of one sequential stage."""

    def __init__(self, stage: Stage, recipe: UVFlowRecipe, backbone: Assembled, data: Instances) -> None:
        self._stage, self._recipe, self._backbone, self._data = stage, recipe, backbone, data
        add_adapter(backbone.transformer, stage, rank=recipe.rank, seed=recipe.seed)
        for parameter in adapter_parameters(backbone.transformer, stage):
            parameter.data = parameter.data.float()  # a step of 1e-4 is lost in bf16
        self.players = [Player(stage, FlowObjective(backbone, recipe.texels))]

    def __len__(self) -> int:
        return len(self._data)

    def sample(self, record: int, number: int) -> Sample:
        recipe, backbone = self._recipe, self._backbone
        condition, target, caption = self._pair(self._data.read(record))
        chance = generator(recipe.seed, number)
        noise = torch.randn(backbone.codec.shape(recipe.texels), generator=chance)
        sigma = flow.draw_sigmas(1, backbone.mu(recipe.texels), chance)[0]
        empty = bool(torch.rand((), generator=chance) < recipe.caption_dropout)
        prompt = "" if empty else prompts.prompt(self._stage, caption)
        return {
            "condition": condition,
            "target": target,
            "noise": noise,
            "sigma": sigma,
            "prompt": as_tensor(prompt),
        }

    def picture(self) -> F32:
        """Rows of condition, sample and target."""
        pairs = [self._pair(instance) for instance in self._data.read_shown()]
        made = sample_pictures(
            self._backbone,
            torch.stack([condition for condition, _, _ in pairs]),
            [prompts.prompt(self._stage, caption) for _, _, caption in pairs],
            self._recipe.sampling_steps,
        )
        return tiled(
            [
                [_hwc(condition), _hwc(sample), _hwc(target)]
                for (condition, target, _), sample in zip(pairs, made, strict=True)
            ]
        )

    def write(self, folder: Path) -> None:
        """A PEFT adapter, in the layout of the published ones."""
        save_adapter(self._backbone.transformer, self._stage, folder / "transformer")

    def _pair(self, instance: Instance) -> tuple[Tensor, Tensor, str]:
        texels = self._recipe.texels
        if self._stage == "inpaint":
            return (
                uv_maps.incomplete(instance, texels),
                uv_maps.shaded(instance, texels),
                described_light(instance.meta),
            )
        return (
            uv_maps.shaded(instance, texels),
            uv_maps.even(instance, texels),
            described_skin(instance.meta),
        )


@torch.no_grad()
def sample_pictures(
    backbone: Assembled, conditions: Tensor, texts: Sequence[str], steps: int, branches: int = 1
) -> Tensor:
    """Pictures ``(B·branches, 3, S, S)`` made from noise, without guidance, for conditions ``(B, 3, S, S)``.

    With several ``branches`` (of a LoRA bank) ``texts`` has one for each picture that is made.
    """
    weight = backbone.transformer.x_embedder.weight
    device, halved = weight.device, weight.dtype == torch.bfloat16
    texels, rows = conditions.shape[-1], conditions.repeat_interleave(branches, 0).to(device)
    condition = pack(backbone.codec.encode(rows))
    text = backbone.text.encode(texts, rows)
    grid = backbone.grid(texels)
    chance = torch.Generator().manual_seed(_PICTURE_SEED)
    noise = torch.randn((len(rows), *backbone.codec.shape(texels)), generator=chance)
    levels = flow.sigmas(steps, backbone.mu(texels))

    def velocity(z: Tensor, sigma: float) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=halved):
            return predict(backbone.transformer, z, condition, sigma, text, grid)

    tokens = flow.integrate(velocity, pack(noise).to(condition), levels)
    return backbone.codec.decode(unpack(tokens, grid)).clamp(0, 1).float().cpu()


def _hwc(picture: Tensor) -> F32:
    image: Any = picture.permute(1, 2, 0).numpy()
    return image  # type: ignore[no-any-return]
