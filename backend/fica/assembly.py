"""The four trained parts from their folders, ready for the path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from backend.errors import Missing
from backend.fica.atlas import build_atlas
from backend.fica.codec import Codec
from backend.fica.completion import Completion
from backend.fica.dense import DensePredictor
from backend.fica.dit import CompletionDiT
from backend.fica.maps import frame_of
from backend.fica.path import Frames, Networks
from backend.fica.prior import UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder, build_semantic
from backend.fica.sizes import (
    Size,
    codec_config,
    dense_config,
    dit_config,
    prior_config,
    refinement_config,
    semantic_config,
)
from backend.fica.store import load_network
from backend.head.base import ParametricHead


@dataclass(frozen=True)
class Results:
    """Folders ``result`` of the trainings; at full size ``clip`` is CLIP's, in transformers' layout."""

    conditioning: Path
    completion: Path
    refinement: Path
    prior: Path
    clip: Path | None = None


def load_networks(
    results: Results, head: ParametricHead, size: Size, texels: int, prior_texels: int
) -> tuple[Networks, Frames]:
    """All parts in evaluation mode on the processor, with the head's atlases.

    Raises: Missing, BadWeights, BadInput (a head without an atlas).
    """
    frames = Frames(frame_of(build_atlas(head, texels)), frame_of(build_atlas(head, prior_texels)))
    predictor = DensePredictor(dense_config(size))
    codec, transformer = Codec(codec_config(size)), CompletionDiT(dit_config(size, texels))
    semantic = build_semantic(semantic_config(size))
    refinement = RefinementNetwork(refinement_config(size))
    prior = UniversalPrior(prior_config(size, prior_texels), frames.prior)
    load_network(results.conditioning, "conditioning", predictor, size, texels)
    load_network(results.completion, "codec", codec, size, texels)
    load_network(results.completion, "completion", transformer, size, texels)
    if not isinstance(semantic, ClipEncoder):
        load_network(results.completion, "semantic", semantic, size, texels)
    elif results.clip is None:
        raise Missing("the full size needs CLIP ViT-L/14: give its folder")
    else:
        semantic.read(results.clip)
    load_network(results.refinement, "refinement", refinement, size, texels)
    load_network(results.prior, "prior", prior, size, prior_texels)
    networks = Networks(predictor, semantic, Completion(codec, transformer), refinement, prior)
    for part in (predictor, semantic, networks.completion, refinement, prior):
        _ready(part)
    return networks, frames


def _ready(network: nn.Module) -> None:
    network.eval().requires_grad_(False)
