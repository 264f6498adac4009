"""The sizes that one code path is built at."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from backend.fica.codec import FACTOR, TINY_CODEC, CodecConfig
from backend.fica.dense import TINY_DENSE, DenseConfig
from backend.fica.dit import TINY_DIT, DiTConfig
from backend.fica.prior import TINY_PRIOR, PriorConfig
from backend.fica.refinement import TINY_REFINEMENT, RefinementConfig
from backend.fica.semantic import ClipConfig, SemanticConfig, SmallSemanticConfig

Size = Literal["full", "tiny"]


def codec_config(size: Size) -> CodecConfig:
    return CodecConfig() if size == "full" else TINY_CODEC


def dense_config(size: Size) -> DenseConfig:
    return DenseConfig() if size == "full" else TINY_DENSE


def semantic_config(size: Size) -> SemanticConfig:
    return ClipConfig() if size == "full" else SmallSemanticConfig()


def dit_config(size: Size, texels: int) -> DiTConfig:
    """For an atlas of ``texels`` a side: full size has 256 for latents of 32."""
    return replace(DiTConfig() if size == "full" else TINY_DIT, latent_size=texels // FACTOR)


def refinement_config(size: Size) -> RefinementConfig:
    return RefinementConfig() if size == "full" else TINY_REFINEMENT


def prior_config(size: Size, texels: int) -> PriorConfig:
    """Levels for ``texels``: a power of two from 16 to the size's own."""
    full = PriorConfig() if size == "full" else TINY_PRIOR
    levels = (texels // 8).bit_length()
    return PriorConfig(texels, full.expression_width, full.widths[:levels], full.encoder_widths[-levels:])
