"""From partial maps and a semantic embedding to a complete head: flow matching in the codec's latents.

One network makes texture and geometry, each from noise of its own; the domain is a constant handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.fica.codec import Codec
from backend.fica.dit import CompletionDiT, Domain
from backend.fica.maps import Frame, HeadMaps, signed, unsigned
from backend.marcus import flow

STEPS = 50  # the paper's, by Euler
FEW_STEPS = 12  # by the two-step Adams-Bashforth method
VARIETY = 0.5  # a likely head, not any possible one
BOTH = (Domain.TEXTURE, Domain.GEOMETRY)


@dataclass(frozen=True)
class Sampling:
    """How noise becomes maps."""

    steps: int = FEW_STEPS
    solver: flow.Solver = "adams2"
    variety: float = VARIETY  # scale of the noise: 1 draws from all that may be, 0 takes its middle


class Completion(nn.Module):
    """Codec and transformer."""

    def __init__(self, codec: Codec, transformer: CompletionDiT) -> None:
        super().__init__()
        self.codec, self.transformer = codec, transformer

    def clean(self, maps: HeadMaps, frame: Frame) -> Tensor:
        """Latents of texture and geometry, ``(2, B, C, h, w)``, without gradients."""
        with torch.no_grad():
            texture = self.codec.encode(signed(maps.texture))
            geometry = self.codec.encode(frame.coded(maps.geometry))
        return torch.stack([texture, geometry])

    @torch.no_grad()
    def sample(
        self, partial: Tensor, semantic: Tensor, frame: Frame, noise: Tensor, sampling: Sampling | None = None
    ) -> HeadMaps:
        """Complete maps for B portraits; ``noise`` ``(2, B, C, h, w)``, for each domain its own."""
        chosen = sampling or Sampling()
        latents = integrate_domains(self.transformer, partial, semantic, chosen.variety * noise, chosen)
        texture = unsigned(self.codec.decode(latents[0])).clamp(0, 1) * frame.inside
        return HeadMaps(texture, frame.metres(self.codec.decode(latents[1])))

    def draw_noise(self, count: int, generator: torch.Generator) -> Tensor:
        """``(2, count, C, h, w)``, on the processor so that a seed gives the same everywhere."""
        config = self.transformer.config
        shape = (len(BOTH), count, config.latent_channels, config.latent_size, config.latent_size)
        return torch.randn(shape, generator=generator)


def integrate_domains(
    transformer: CompletionDiT, partial: Tensor, semantic: Tensor, noise: Tensor, sampling: Sampling
) -> Tensor:
    """Latents ``(2, B, C, h, w)`` of texture and geometry, both in one batch."""
    count = noise.shape[1]
    domain = torch.tensor([d.value for d in BOTH for _ in range(count)], device=noise.device)
    both_partial, both_semantic = partial.repeat(2, 1, 1, 1), semantic.repeat(2, 1)

    def velocity(z: Tensor, sigma: float) -> Tensor:
        level = torch.full((len(z),), sigma, device=z.device)
        made: Tensor = transformer(z, level, domain, both_partial, both_semantic)
        return made

    levels = flow.sigmas(sampling.steps, 0.0)
    latents = flow.integrate(velocity, noise.flatten(0, 1), levels, sampling.solver)
    return latents.reshape(noise.shape)


def flow_loss(
    completion: Completion,
    clean: Tensor,
    noise: Tensor,
    sigma: Tensor,
    domain: Tensor,
    partial: Tensor,
    semantic: Tensor,
) -> Tensor:
    """‖v − F(x_t, f, UV_partial, d, t)‖² for each row, ``(B,)``; rows may be of different domains."""
    noisy = flow.interpolate(clean, noise, sigma)
    velocity = completion.transformer(noisy, sigma, domain, partial, semantic)
    error: Tensor = velocity - flow.velocity_target(clean, noise)
    return (error.float() ** 2).flatten(1).mean(1)
