"""The three diffusion stages in HiFi3D++'s chart: complete, light evenly, split into materials.

Each is LongCat's picture editing with LoRA: noise is carried to a picture under a text and the stage's
input, whose latents stand behind the noise as condition (facts sheet, sections 6, 7 and 11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32, Description
from backend.errors import BadInput
from backend.marcus.adapters import attached, merged
from backend.marcus.eight_bit import multiplied_in_eight_bits, scales_rows
from backend.marcus.flow import Solver, guided, integrate, sigmas
from backend.marcus.latents import Grid, decode, encode, pack, unpack
from backend.marcus.longcat import predict
from backend.marcus.lora_bank import BRANCHES, install_bank, published_rank
from backend.marcus.models import Models
from backend.marcus.preview import LatentColours
from backend.marcus.prompts import Stage, caption_instruction, caption_kind, negative, prompt
from backend.marcus.release import Release
from backend.weights.reading import read_safetensors

Progress = Callable[[float], None]  # fraction in [0, 1]; what it raises stops the stage
Preview = Callable[[F32], None]  # a small picture (S/8, S/8, 3) in [0, 1]


@dataclass(frozen=True)
class Sampling:
    """How a picture is sampled. The guidance of each stage is the release's, the steps are the paper's."""

    steps: int = 30
    solver: Solver = "euler"
    inpaint_guidance: float = 1.0  # 1 is without: one pass instead of two
    homogenise_guidance: float = 2.0
    materials_guidance: float = 2.0
    guided_from: float = 0.0  # noise levels between which guidance works; outside, its second pass is saved
    guided_to: float = 1.0

    @property
    def label(self) -> str:
        interval = (
            ""
            if (self.guided_from, self.guided_to) == (0.0, 1.0)
            else (f", guided in σ {self.guided_from:g}–{self.guided_to:g}")
        )
        return f"{self.steps} steps {self.solver}{interval}"


def turbo(sampling: Sampling, distilled: bool) -> Sampling:
    """Few steps: the distilled LongCat takes 8 without guidance, the whole one a second-order solver's 10."""
    if distilled:
        return replace(
            sampling, steps=8, inpaint_guidance=1.0, homogenise_guidance=1.0, materials_guidance=1.0
        )
    return replace(sampling, steps=10, solver="adams2", guided_from=0.3, guided_to=0.95)


@dataclass(frozen=True)
class MaterialPictures:
    """What the joint stage draws, each ``(S, S, 3)`` in [0, 1]."""

    albedo_srgb: F32
    normal: F32  # (n + 1)/2, tangent space
    rsd: F32  # roughness, specular, displacement


class Cascade:
    """The stages on one set of models; pictures are square, their side a multiple of 16."""

    def __init__(self, models: Models, release: Release, sampling: Sampling) -> None:
        self._models = models
        self._release = release
        self._sampling = sampling

    def describe(self, face_srgb: F32) -> Description:
        """What Qwen2.5-VL says of the photographed face ``(H, W, 3)``."""
        with self._models.text() as encoder:
            return Description(
                encoder.caption(face_srgb, caption_instruction("lit")),
                encoder.caption(face_srgb, caption_instruction("unlit")),
            )

    def inpaint(
        self,
        partial_srgb: F32,
        description: Description,
        seed: int,
        progress: Progress,
        preview: Preview | None = None,
    ) -> F32:
        """A complete texture from one whose missing texels are black."""
        guidance = self._sampling.inpaint_guidance
        adapter = self._release.inpaint()
        return self._edit(partial_srgb, ["inpaint"], description, guidance, seed, progress, preview, adapter)[
            0
        ]

    def homogenise(
        self,
        lit_srgb: F32,
        description: Description,
        seed: int,
        progress: Progress,
        preview: Preview | None = None,
    ) -> F32:
        """The texture under even white light."""
        guidance = self._sampling.homogenise_guidance
        adapter = self._release.homogenise()
        return self._edit(lit_srgb, ["homogenise"], description, guidance, seed, progress, preview, adapter)[
            0
        ]

    def materials(
        self,
        even_srgb: F32,
        description: Description,
        seed: int,
        progress: Progress,
        preview: Preview | None = None,
    ) -> MaterialPictures:
        """Albedo, normal and packed reflectance, drawn together with cross-intrinsic attention."""
        guidance = self._sampling.materials_guidance
        return MaterialPictures(
            *self._edit(even_srgb, BRANCHES, description, guidance, seed, progress, preview, None)
        )

    def _edit(
        self,
        picture_srgb: F32,
        stages: Sequence[Stage],
        description: Description,
        guidance: float,
        seed: int,
        progress: Progress,
        preview: Preview | None,
        adapter: Any,
    ) -> list[F32]:
        side = picture_srgb.shape[0]
        if picture_srgb.shape != (side, side, 3) or side % 16:
            raise BadInput(
                f"the diffusion stages work on squares of a multiple of 16, not {picture_srgb.shape}"
            )
        place = self._models.placement
        grid = (side // 16, side // 16)
        with self._models.text() as encoder:
            texts = torch.cat(
                [encoder.encode(prompt(s, _caption(description, s)), picture_srgb) for s in stages]
            )
            avoided = encoder.encode(negative(stages[0]), picture_srgb) if guidance > 1 else None
        with self._models.vae() as vae:
            picture = torch.from_numpy(np.ascontiguousarray(picture_srgb)).permute(2, 0, 1)[None]
            with torch.no_grad():
                condition = encode(vae, (picture * 2 - 1).to(place.device)).float().cpu()
        colours = LatentColours.fit(condition, picture_srgb) if preview is not None else None

        generator = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
        noise = torch.randn(len(stages), *condition.shape[1:], generator=generator)

        def on_step(step: int, estimate: Tensor) -> None:
            progress((step + 1) / (self._sampling.steps + 1))
            if preview is not None and colours is not None:
                preview(colours.picture(unpack(estimate[:1].cpu(), grid)))

        progress(0.0)
        with ExitStack() as stack:
            transformer = stack.enter_context(self._models.transformer())
            if adapter is not None:
                put = attached if place.eight_bit else merged
                stack.enter_context(put(transformer, adapter))
            else:
                state = read_safetensors(self._release.materials())
                bank = install_bank(transformer, rank=published_rank(state), dtype=place.dtype)
                stack.callback(bank.remove)
                bank.load_published(state)
            if place.fp8:
                stack.enter_context(multiplied_in_eight_bits(transformer, scales_rows(place.device)))
            velocity = self._velocity(transformer, condition, texts, avoided, guidance, grid)
            mu = self._models.shift().mu(grid[0] * grid[1])
            start = pack(noise).to(place.device, place.dtype)
            with torch.no_grad():
                clean = integrate(
                    velocity, start, sigmas(self._sampling.steps, mu), self._sampling.solver, on_step
                )
        with self._models.vae() as vae, torch.no_grad():
            drawn = [decode(vae, latents[None]) for latents in unpack(clean, grid)]
        return [_as_picture(image[0]) for image in drawn]

    def _velocity(
        self,
        transformer: Any,
        condition: Tensor,
        texts: Tensor,
        avoided: Tensor | None,
        guidance: float,
        grid: Grid,
    ) -> Callable[[Tensor, float], Tensor]:
        place, sampling = self._models.placement, self._sampling
        rows = len(texts)
        tokens = pack(condition).to(place.device, place.dtype).expand(rows, -1, -1)
        texts = texts.to(place.device, place.dtype)
        against = None if avoided is None else avoided.to(texts).expand(rows, -1, -1)

        def velocity(z: Tensor, sigma: float) -> Tensor:
            if against is None or not sampling.guided_from <= sigma <= sampling.guided_to:
                return predict(transformer, z, tokens, sigma, texts, grid)
            if place.batched_guidance:
                both = predict(
                    transformer,
                    torch.cat([z, z]),
                    torch.cat([tokens, tokens]),
                    sigma,
                    torch.cat([texts, against]),
                    grid,
                )
                with_text, without = both.chunk(2)
            else:
                with_text = predict(transformer, z, tokens, sigma, texts, grid)
                without = predict(transformer, z, tokens, sigma, against, grid)
            return guided(with_text.float(), without.float(), guidance)

        return velocity


def _caption(description: Description, stage: Stage) -> str:
    return description.lit if caption_kind(stage) == "lit" else description.unlit


def _as_picture(image: Tensor) -> F32:
    picture = (image.float().cpu() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0)
    return np.ascontiguousarray(picture.numpy())
