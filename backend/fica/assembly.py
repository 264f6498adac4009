"""The packed networks, ready for the path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from backend.errors import BadWeights, Missing
from backend.fica.atlas import Atlas, build_atlas
from backend.fica.codec import Codec
from backend.fica.completion import Completion
from backend.fica.dense import DensePredictor
from backend.fica.dit import CompletionDiT
from backend.fica.maps import frame_of
from backend.fica.networks import CLIP_FOLDER, NetworksManifest, atlas_digest, read_networks
from backend.fica.path import Frames, Networks
from backend.fica.prior import UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder, build_semantic
from backend.fica.sizes import (
    codec_config,
    dense_config,
    dit_config,
    prior_config,
    refinement_config,
    semantic_config,
)
from backend.fica.store import load_network
from backend.head.base import ParametricHead
from backend.head.registry import load_head


@dataclass(frozen=True)
class Packed:
    """Networks of a folder with what they are made for."""

    manifest: NetworksManifest
    head: ParametricHead
    atlas: Atlas  # at the maps' size
    prior_atlas: Atlas
    frames: Frames
    networks: Networks


def load_packed(folder: Path) -> Packed:
    """All parts of ``folder`` in evaluation mode on the processor.

    Raises: Missing, BadWeights, BadInput (a head without an atlas).
    """
    manifest = read_networks(folder)
    head, size, texels = load_head(manifest.head), manifest.size, manifest.texels
    atlas, prior_atlas = build_atlas(head, texels), build_atlas(head, manifest.prior_texels)
    if atlas_digest(atlas) != manifest.atlas:
        raise BadWeights(
            f"the networks in '{folder}' are of another version of the head '{head.name}'; train again"
        )
    frames = Frames(frame_of(atlas), frame_of(prior_atlas))
    codec, transformer = Codec(codec_config(size)), CompletionDiT(dit_config(size, texels))
    semantic = build_semantic(semantic_config(size))
    refinement = RefinementNetwork(refinement_config(size))
    prior = UniversalPrior(prior_config(size, manifest.prior_texels), frames.prior)
    predictor = None
    if "conditioning" in manifest.parts:
        predictor = DensePredictor(dense_config(size))
        load_network(folder, "conditioning", predictor, size, texels)
    load_network(folder, "codec", codec, size, texels)
    load_network(folder, "completion", transformer, size, texels)
    if isinstance(semantic, ClipEncoder):
        semantic.read(folder / CLIP_FOLDER)
    elif "semantic.safetensors" in manifest.files:
        load_network(folder, "semantic", semantic, size, texels)
    else:
        raise Missing(f"'{folder}' lacks semantic.safetensors; pack again")
    load_network(folder, "refinement", refinement, size, texels)
    load_network(folder, "prior", prior, size, manifest.prior_texels)
    completion = Completion(codec, transformer)
    for part in (predictor, semantic, completion, refinement, prior):
        if part is not None:
            _ready(part)
    return Packed(
        manifest,
        head,
        atlas,
        prior_atlas,
        frames,
        Networks(predictor, semantic, completion, refinement, prior),
    )


def _ready(network: nn.Module) -> None:
    network.eval().requires_grad_(False)
