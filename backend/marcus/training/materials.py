"""``materials``: three LoRA branches, alone first, then with cross-intrinsic attention and the shading loss.

L = L_diff + λ_img‖T̂_shaded − T_shaded‖² + λ_lpips·perceptual, the shading from ẑ_0 = z_σ − σ v̂ decoded
(MARCUS, method 3). The condition is T_hom. One noise level for a sample's branches, noise of their own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.marcus import flow, prompts
from backend.marcus.latents import pack, unpack
from backend.marcus.longcat import predict
from backend.marcus.lora_bank import BRANCHES, install_bank
from backend.marcus.training import uv_maps
from backend.marcus.training.backbone import Assembled
from backend.marcus.training.captions import described_skin
from backend.marcus.training.perceptual import Perceptual
from backend.marcus.training.prompt_tensor import as_prompts, as_tensor
from backend.marcus.training.set_task import Instances, tiled
from backend.marcus.training.shading_loss import (
    TrainingLight,
    as_light,
    displayed,
    draw_light,
    shade_template,
    shading_terms,
)
from backend.marcus.training.template import template_geometry
from backend.marcus.training.uv_flow import flow_loss, sample_pictures
from backend.shading.ggx import UVGeometry
from backend.training.loader import Instance
from backend.training.order import generator
from backend.training.recipe import MaterialsRecipe, ShadingLoss
from backend.training.task import Player, Sample, Task, Terms

_BRANCHES = len(BRANCHES)


class MaterialsObjective(nn.Module):
    """The loss of a batch; what is trained is the bank inside ``transformer``."""

    def __init__(
        self,
        backbone: Assembled,
        texels: int,
        template: UVGeometry,
        weights: ShadingLoss,
        perceptual: Perceptual,
    ) -> None:
        super().__init__()
        self.transformer = backbone.transformer
        self._parts = (backbone, template)  # a tuple: no submodules
        self._texels, self._weights, self._perceptual = texels, weights, perceptual
        self.is_shaded = True

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Terms]:
        """``condition`` ``(B, 3, S, S)``, ``target`` ``(B, 3, 3, S, S)`` by branch, ``noise`` by branch,
        ``sigma`` ``(B,)``, ``prompt`` by branch, ``light`` ``(B, 5)``.
        """
        backbone, template = self._parts
        grid = backbone.grid(self._texels)
        with torch.no_grad():
            clean = backbone.codec.encode(batch["target"].flatten(0, 1))
            condition = backbone.codec.encode(batch["condition"]).repeat_interleave(_BRANCHES, 0)
            text = backbone.text.encode(
                as_prompts(batch["prompt"]), batch["condition"].repeat_interleave(_BRANCHES, 0)
            )
        noise = batch["noise"].flatten(0, 1).to(clean.dtype)
        sigma = batch["sigma"].repeat_interleave(_BRANCHES, 0)
        noisy = flow.interpolate(clean, noise, sigma)
        velocity = predict(self.transformer, pack(noisy), pack(condition), sigma, text, grid)
        diffusion = flow_loss(velocity, pack(clean), pack(noise))
        if not self.is_shaded:
            return diffusion, {"diffusion": diffusion}
        estimate = flow.clean_estimate(noisy, unpack(velocity, grid), sigma)
        pictures = _by_branch(backbone.codec.decode(estimate).float())
        terms = shading_terms(
            pictures,
            batch["target"],
            template,
            as_light(batch["light"]),
            self._weights.displacement_dm,
            self._perceptual,
        )
        image, perceptual = terms.image.mean(), terms.perceptual.mean()
        loss = diffusion + self._weights.image * image + self._weights.perceptual * perceptual
        return loss, {"diffusion": diffusion, "image": image, self._weights.network: perceptual}


class MaterialsTask(Task):
    """The trainer of the joint material stage."""

    def __init__(
        self,
        recipe: MaterialsRecipe,
        backbone: Assembled,
        data: Instances,
        head: ParametricHead,
        perceptual: Perceptual,
    ) -> None:
        self._recipe, self._backbone, self._data = recipe, backbone, data
        self._bank = install_bank(backbone.transformer, rank=recipe.rank, seed=recipe.seed)
        device = next(backbone.transformer.parameters()).device
        self._template = template_geometry(head, recipe.texels, device)
        self._objective = MaterialsObjective(
            backbone, recipe.texels, self._template, recipe.shading, perceptual
        )
        self.players = [Player("materials", self._objective)]
        self.begin(0)

    def __len__(self) -> int:
        return len(self._data)

    def begin(self, step: int) -> None:
        """Independent branches first; from ``independent_steps`` on they see each other and are shaded."""
        joint = step >= self._recipe.independent_steps
        self._bank.cross = joint
        self._objective.is_shaded = joint

    def sample(self, record: int, number: int) -> Sample:
        recipe, backbone = self._recipe, self._backbone
        instance = self._data.read(record)
        chance = generator(recipe.seed, number)
        noise = torch.randn((_BRANCHES, *backbone.codec.shape(recipe.texels)), generator=chance)
        sigma = flow.draw_sigmas(1, backbone.mu(recipe.texels), chance)[0]
        empty = bool(torch.rand((), generator=chance) < recipe.caption_dropout)
        light = draw_light(chance, recipe.shading.ambient)
        texts = [""] * _BRANCHES if empty else _prompts(instance)
        return {
            "condition": uv_maps.even(instance, recipe.texels),
            "target": uv_maps.material_pictures(instance.materials, recipe.texels),
            "noise": noise,
            "sigma": sigma,
            "prompt": torch.stack([as_tensor(text) for text in texts]),
            "light": light,
        }

    def picture(self) -> F32:
        """Two rows an instance, made over true: condition, albedo, normal, packed map, shaded."""
        shown = self._data.read_shown()
        texels = self._recipe.texels
        conditions = torch.stack([uv_maps.even(instance, texels) for instance in shown])
        texts = [text for instance in shown for text in _prompts(instance)]
        steps = self._recipe.sampling_steps
        made = sample_pictures(self._backbone, conditions, texts, steps, _BRANCHES)
        true = torch.stack([uv_maps.material_pictures(i.materials, texels) for i in shown])
        rows = []
        for condition, pair in zip(conditions, zip(_by_branch(made), true, strict=True), strict=True):
            for pictures in pair:
                shaded = self._shaded(pictures)
                rows.append([_hwc(picture) for picture in (condition, *pictures, shaded)])
        return tiled(rows)

    def write(self, folder: Path) -> None:
        """The bank under the published keys."""
        state = {name: tensor.cpu().contiguous() for name, tensor in self._bank.published_state().items()}
        save_file(state, folder / "materials.safetensors")

    def _shaded(self, pictures: Tensor) -> Tensor:
        """``(3, 3, S, S)`` lit from above on the left, as a screen shows it."""
        device = self._template.mask.device
        direction = torch.nn.functional.normalize(torch.tensor([[0.5, 0.5, 1.0]], device=device))
        one = torch.ones(1, 1, device=device)
        light = TrainingLight(direction, 2.8 * one, 0.2 * one)
        with torch.no_grad():
            linear = shade_template(
                pictures[None].to(device), self._template, light, self._recipe.shading.displacement_dm
            )
        return displayed(linear)[0].cpu() * self._template.mask[0].cpu()


def _prompts(instance: Instance) -> list[str]:
    caption = described_skin(instance.meta)
    return [prompts.prompt(branch, caption) for branch in BRANCHES]


def _by_branch(rows: Tensor) -> Tensor:
    return rows.reshape(-1, _BRANCHES, *rows.shape[1:])


def _hwc(picture: Tensor) -> F32:
    image: F32 = picture.permute(1, 2, 0).numpy()
    return image
