"""What the cascade costs: floating-point operations counted from the networks' shapes.

A multiplication with an addition counts two. Counted are the matrix products of the transformer's blocks
and attention, which are all but a few thousandths of the work; Qwen2.5-VL and the VAE come to under 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT_TOKENS = 838  # of every prompt at 1024
RANK = 32


@dataclass(frozen=True)
class Size:
    """The transformer's sizes and the picture's tokens."""

    layers: int = 10
    single_layers: int = 20
    width: int = 3072
    image_tokens: int = 4096
    text_tokens: int = TEXT_TOKENS

    @property
    def tokens(self) -> int:
        """Text, noise and condition."""
        return self.text_tokens + 2 * self.image_tokens


@dataclass(frozen=True)
class PassFlop:
    """One pass by what multiplies: the blocks' Linears, which FP8 speeds up, attention, LoRA beside them."""

    linear: float
    attention: float
    lora: float

    @property
    def total(self) -> float:
        return self.linear + self.attention + self.lora


def pass_flop(size: Size, branches: int = 1, unmerged_rank: int = 0) -> float:
    """All of ``pass_parts``."""
    return pass_parts(size, branches, unmerged_rank).total


def pass_parts(size: Size, branches: int = 1, unmerged_rank: int = 0) -> PassFlop:
    """One pass of the transformer over ``branches`` that attend to each other.

    ``unmerged_rank`` counts LoRA beside its Linears instead of in them.
    """
    n, w = size.tokens, size.width
    # Per token and block: q, k, v, out and the feed-forward's two matrices of four times the width.
    double = 2 * (4 + 8) * w * w
    single = 2 * (3 + 4 + 5) * w * w  # q, k, v; proj_mlp; proj_out from five widths
    linear = branches * n * (size.layers * double + size.single_layers * single)
    attention = (size.layers + size.single_layers) * 4 * (branches * n) ** 2 * w
    r = unmerged_rank
    lora = branches * n * (size.layers * 2 * r * w * (4 * 2 + 2 * 5) + size.single_layers * 2 * r * w * 6)
    return PassFlop(float(linear), float(attention), float(lora))


@dataclass(frozen=True)
class Passes:
    """How many passes each stage takes: steps, times two where guidance is on."""

    inpaint: int = 30
    homogenise: int = 60
    materials: int = 60


def cascade_flop(size: Size | None = None, passes: Passes | None = None) -> dict[str, float]:
    """FLOP of each stage, sequential adapters merged, the joint stage's three branches beside the weights."""
    size, passes = size or Size(), passes or Passes()
    return {
        "inpaint": passes.inpaint * pass_flop(size),
        "homogenise": passes.homogenise * pass_flop(size),
        "materials": passes.materials * pass_flop(size, branches=3, unmerged_rank=RANK),
    }
