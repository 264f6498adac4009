"""What the full-size path costs: floating-point operations counted on the meta device. Nothing is run.

A multiplication with an addition counts two, as torch's counter has it: matrix products, convolutions and
attention; what is done for each element (norms, activations, placing Gaussians) and drawing are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backend.fica.codec import Codec
from backend.fica.completion import BOTH
from backend.fica.dense import DensePredictor
from backend.fica.dit import CompletionDiT
from backend.fica.maps import PARTIAL_CHANNELS, Frame, HeadMaps
from backend.fica.prior import GAZE, VIEW, Drive, UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import build_semantic
from backend.fica.sizes import (
    Size,
    codec_config,
    dense_config,
    dit_config,
    prior_config,
    refinement_config,
    semantic_config,
)

META = torch.device("meta")


@dataclass(frozen=True)
class Cost:
    """One use of a network for one portrait, or one frame."""

    parameters: int
    flop: float


@dataclass(frozen=True)
class Sizes:
    """What pictures and maps measure."""

    size: Size = "full"
    pixels: int = 512  # of the portrait
    texels: int = 256  # of completed maps
    prior_texels: int = 1024


def path_costs(sizes: Sizes) -> dict[str, Cost]:
    """Each network's cost by what it is used for, with those of ``prior_costs``.

    ``completion step`` is one evaluation for both domains; ``decode`` turns both domains' latents into maps;
    ``refinement`` looks at portrait and rendering.
    """
    p, s = sizes.pixels, sizes.texels
    with META:
        dense, semantic = (
            DensePredictor(dense_config(sizes.size)),
            build_semantic(semantic_config(sizes.size)),
        )
        codec, dit = Codec(codec_config(sizes.size)), CompletionDiT(dit_config(sizes.size, s))
        refinement = RefinementNetwork(refinement_config(sizes.size))
    portrait, frame, both, c = _empty(1, 3, p, p), empty_frame(s), len(BOTH), dit.config
    latents = _empty(both, c.latent_channels, c.latent_size, c.latent_size)
    told = _empty(both, PARTIAL_CHANNELS, s, s), _empty(both, c.semantic_width)
    return {
        "conditioning": _cost(dense, lambda: dense(portrait)),
        "semantic": _cost(semantic, lambda: semantic(portrait)),
        "completion step": _cost(dit, lambda: dit(latents, _empty(both), _empty(both), *told)),
        "decode": _cost(codec, lambda: codec.decode(latents)),
        "refinement": _cost(refinement, lambda: refinement(_maps(s), portrait, portrait, frame)),
        **prior_costs(sizes.size, sizes.prior_texels),
    }


def prior_costs(size: Size, texels: int) -> dict[str, Cost]:
    """``identity``, which is made once for an avatar, and ``frame``, for every frame."""
    frame = empty_frame(texels)
    with META:
        prior = UniversalPrior(prior_config(size, texels), frame)
    drive = Drive(_empty(1, prior.config.expression_width), _empty(1, GAZE), _empty(1, VIEW))
    with torch.no_grad():
        biases = prior.biases(_maps(texels), frame)
    branches = nn.ModuleList([prior.geometry_branch, prior.colour_branch])
    return {
        "identity": _cost(prior.encoder, lambda: prior.biases(_maps(texels), frame)),
        "frame": _cost(branches, lambda: prior.decode(drive, biases, frame)),
    }


def empty_frame(texels: int) -> Frame:
    """An atlas without contents on the meta device, every texel with a surface."""
    with META:
        return Frame(
            inside=torch.empty(1, 1, texels, texels),
            part=torch.empty(texels, texels, dtype=torch.long),
            rows=torch.empty(texels**2, dtype=torch.long),
            mean=torch.empty(1, 3, texels, texels),
        )


def _cost(network: nn.Module, use: Callable[[], object]) -> Cost:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        use()
    return Cost(sum(p.numel() for p in network.parameters()), float(counter.get_total_flops()))


def _maps(texels: int) -> HeadMaps:
    return HeadMaps(_empty(1, 3, texels, texels), _empty(1, 3, texels, texels))


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device=META)
