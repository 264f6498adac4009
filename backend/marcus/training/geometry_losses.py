"""Terms of the self-supervised loss of the geometry encoder (MARCUS, method 1), each by sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from backend.errors import BadInput
from backend.marcus.geometry.coefficients import AMBIENT, Coefficients

# Pictures (B, 3, H, W) in [0, 1] to descriptions (B, D) whose angle tells faces apart.
Embedder = Callable[[Tensor], Tensor]

_TINY = 1e-6
_LEVELS = 3


def photometric(portrait: Tensor, drawn: Tensor, attention: Tensor) -> Tensor:
    """Σ A·‖I − I'‖ / Σ A over pixels, with ‖·‖ over colours; ``attention`` ``(B, 1, H, W)`` in [0, 1].

    Nothing of the skin seen: 0.
    """
    off = ((portrait - drawn) ** 2).sum(1, keepdim=True).clamp_min(_TINY**2).sqrt()
    total = attention.sum((1, 2, 3))
    return (attention * off).sum((1, 2, 3)) / total.clamp_min(1.0)


def landmark(solved: Tensor, seen: Tensor, weight: Tensor) -> Tensor:
    """Σ w·‖q − q'‖² / N for N points ``(B, N, 2)``, in the unit of the points squared."""
    return (weight * ((solved - seen) ** 2).sum(-1)).mean(-1)


def perceptual(portrait: Tensor, drawn: Tensor, embedder: Embedder) -> Tensor:
    """1 − cos of the angle between both pictures' descriptions."""
    return 1 - torch.nn.functional.cosine_similarity(embedder(portrait), embedder(drawn), dim=1)


def squares(coefficients: Coefficients) -> dict[str, Tensor]:
    """What keeps coefficients small: sums of squares of identity, expression, texture, and of how much the
    light's colours differ from their mean.
    """
    gamma = coefficients.gamma
    base = torch.zeros_like(gamma)
    base[..., 0] = AMBIENT
    coloured = gamma - base - (gamma - base).mean(1, keepdim=True)
    return {
        "identity": (coefficients.identity**2).sum(1),
        "expression": (coefficients.expression**2).sum(1),
        "texture": (coefficients.texture**2).sum(1),
        "light": (coloured**2).mean((1, 2)),
    }


def pyramid_embedder(pictures: Tensor) -> Tensor:
    """Normalised edges at three sizes, one after the other: no face network, nothing learned."""
    from backend.marcus.training.perceptual import edges

    parts = []
    for level in range(_LEVELS):
        if level:
            pictures = torch.nn.functional.avg_pool2d(pictures, 2)
        parts.append(edges(pictures).flatten(1))
    return torch.cat(parts, 1)


def find_embedder(name: str) -> Embedder:
    """``pyramid``, or what the function ``PACKAGE.MODULE:FUNCTION`` returns.

    Raises: BadInput (neither, or it cannot be imported).
    """
    import importlib

    if name == "pyramid":
        return pyramid_embedder
    module, _, function = name.partition(":")
    if not function:
        raise BadInput(
            f"embedder '{name}' is not known; name a function that returns a face-recognition network as "
            "PACKAGE.MODULE:FUNCTION, or take `pyramid`, which is none"
        )
    try:
        made: Embedder = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise BadInput(f"embedder '{name}' cannot be loaded ({error})") from error
    return made
