"""Recipes of FiCA's trainers; ``paper`` has the supplement's numbers where it gives any
(docs/training/fica.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backend.training.recipe import Part, Positive, Recipe, Weight

Size = Literal["full", "tiny"]
Texels = Annotated[int, Field(ge=32, multiple_of=32)]


class CodecRecipe(Recipe):
    """``fica-codec``: the autoencoder, where no published one is taken."""

    size: Size
    texels: Texels
    pixels: Annotated[int, Field(gt=0, multiple_of=8)]  # of the photographs that it sees besides
    kl: Weight


class ConditioningWeights(Part):
    """λ of the dense predictor's terms."""

    uv: Weight
    vertex: Weight
    normal: Weight
    known: Weight


class ConditioningRecipe(Recipe):
    """``fica-conditioning``: UV, vertex and normal of every pixel."""

    size: Size
    texels: Texels
    pixels: Annotated[int, Field(gt=0, multiple_of=16)]
    weights: ConditioningWeights
    photometric_distortion: Weight  # largest change of gain and offset by channel


class Evidence(Part):
    """What the completion is told beside the colours: the rows of the paper's ablation."""

    normal_and_vertex: bool
    semantic: bool
    most_yaw_degrees: Annotated[float, Field(gt=0, le=90)]  # of the portraits
    uv_error: Weight  # smooth error of the true UV, in sides of the atlas, where nothing is predicted
    vertex_error_m: Weight


class CompletionRecipe(Recipe):
    """``fica-completion``: image-only pre-training, then texture and geometry of paired portraits."""

    size: Size
    texels: Texels
    pixels: Annotated[int, Field(gt=0, multiple_of=16)]
    pretraining_steps: Annotated[int, Field(ge=0)]  # of all
    draws: Positive = 1  # of noise and its level for a portrait in a step, each domain's own
    evidence: Evidence
    sampling_steps: Positive  # of the pictures on the way
    gradient_checkpointing: bool = False


class RefinementWeights(Part):
    """λ of the refinement's terms (supplement)."""

    photometric: Weight
    mask: Weight
    keypoints: Weight
    regularisation: Weight


class RefinementRecipe(Recipe):
    """``fica-refinement``: the feed-forward U-Net on the atlas."""

    size: Size
    texels: Texels
    pixels: Annotated[int, Field(gt=0, multiple_of=16)]
    weights: RefinementWeights
    evidence: Evidence
    sampling_steps: Positive  # of the completion that is refined
    texture_error: Weight  # of the degraded truth that is refined where no completion is given
    geometry_error_m: Weight


class PriorWeights(Part):
    """Weights of the universal prior's terms."""

    image: Weight
    ssim: Weight
    coverage: Weight
    geometry: Weight  # L1 of the posed surface, in centimetres
    scale_bound: Weight
    offset: Weight  # mean square of offsets, in millimetres


class PriorRecipe(Recipe):
    """``fica-prior``: identity hypernetwork and Gaussian decoder."""

    size: Size
    texels: Texels
    pixels: Annotated[int, Field(gt=0)]
    views: Positive  # of a moment, in one sample
    weights: PriorWeights
    true_geometry_steps: Annotated[int, Field(ge=0)]  # Gaussians sit on the true surface, without residuals
    blend_steps: Annotated[int, Field(ge=0)]  # then the decoder's own surface takes over in a line


FICA_RECIPES: dict[str, type[Recipe]] = {
    "fica-codec": CodecRecipe,
    "fica-conditioning": ConditioningRecipe,
    "fica-completion": CompletionRecipe,
    "fica-refinement": RefinementRecipe,
    "fica-prior": PriorRecipe,
}
