"""Full sizes on the meta device: nothing is allocated."""

from __future__ import annotations

import torch
from torch import nn

from backend.fica.atlas import Atlas
from backend.fica.codec import FACTOR, Codec, CodecConfig
from backend.fica.dense import DensePredictor
from backend.fica.dit import Block, CompletionDiT, ControlMLP, DiTConfig, Domain
from backend.fica.maps import PARTIAL_CHANNELS, Frame, HeadMaps
from backend.fica.prior import Drive, IdentityEncoder, PriorConfig, UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder
from backend.fica.sizes import dense_config, dit_config, prior_config, refinement_config, semantic_config

META = torch.device("meta")


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_transformer_is_the_papers() -> None:
    config = dit_config("full", 256)
    assert config == DiTConfig()
    assert (config.latent_size, config.latent_channels) == (32, 16)
    with META:
        network = CompletionDiT(config)
        made = network(
            torch.empty(2, 16, 32, 32),
            torch.empty(2),
            torch.full((2,), float(Domain.TEXTURE)),
            torch.empty(2, PARTIAL_CHANNELS, 256, 256),
            torch.empty(2, 768),
        )
    assert made.shape == (2, 16, 32, 32)
    assert len(network.blocks) == 28
    assert all(isinstance(b, Block) and isinstance(b.control, ControlMLP) for b in network.blocks)
    assert 1.9e9 < count(network) < 2.2e9


def test_the_autoencoder_has_sixteen_channels_and_eight_times_smaller_latents() -> None:
    with META:
        codec = Codec(CodecConfig())
        latents = codec.encode(torch.empty(1, 3, 256, 256))
    assert latents.shape == (1, 16, 256 // FACTOR, 256 // FACTOR)
    assert 80e6 < count(codec) < 90e6  # SDXL's has 84 M


def test_clip_and_the_dense_predictor_are_of_the_named_size() -> None:
    with META:
        clip, dense = ClipEncoder(semantic_config("full")), DensePredictor(dense_config("full"))  # type: ignore[arg-type]
        told, made = clip(torch.empty(1, 3, 256, 256)), dense(torch.empty(1, 3, 256, 256))
    assert told.shape == (1, 768)
    assert 300e6 < count(clip) < 310e6  # ViT-L/14's tower
    assert made.uv.shape == (1, 2, 256, 256)
    assert 0.9e9 < count(dense.encoder) < 1.5e9  # the paper's is Sapiens-1B


def test_the_refinement_runs_at_full_size() -> None:
    with META:
        network = RefinementNetwork(refinement_config("full"))
        frame = Frame(
            torch.empty(1, 1, 256, 256), torch.zeros(256, 256, dtype=torch.long), torch.empty(1, 3, 256, 256)
        )
        tokens = network._tokens(torch.empty(1, 3, 256, 256), 0)
    assert frame.size == 256
    assert tokens.shape[1] == 16 * 16


def test_the_prior_decodes_a_million_gaussians(atlas: Atlas) -> None:
    config = prior_config("full", 1024)
    assert config == PriorConfig()
    with META:
        encoder = IdentityEncoder(config)
        size = (1, 3, 1024, 1024)
        frame = Frame(
            torch.empty(1, 1, 1024, 1024), torch.zeros(1024, 1024, dtype=torch.long), torch.empty(size)
        )
        biases = encoder(HeadMaps(torch.empty(size), torch.empty(size)), frame)
    assert [b.shape[-1] for b in biases] == [8 << k for k in range(8)]
    assert [b.shape[1] for b in biases] == [2 * w for w in config.widths]


def test_the_embedded_prior_has_128_texels_and_fewer_fit_too(atlas: Atlas) -> None:
    from backend.fica.maps import frame_of

    assert prior_config("tiny", 128).texels == 128
    small = prior_config("tiny", 64)
    frame = frame_of(atlas)
    prior = UniversalPrior(small, frame)
    maps = HeadMaps(torch.rand(1, 3, 64, 64), frame.mean)
    (made,) = prior(maps, Drive(torch.zeros(1, 52), torch.zeros(1, 4), torch.tensor([[0.0, 0, 1]])), frame)
    assert len(made.positions) == int(atlas.inside.sum())
