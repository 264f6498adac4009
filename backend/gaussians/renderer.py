"""What every renderer of Gaussians takes and gives back, so that one can stand in for another.

3D Gaussian splatting (Kerbl et al. 2023) with the EWA projection (Zwicker et al. 2001): a Gaussian's
covariance under the local affine camera, widened by ``footprint_limits.LOW_PASS_PX2`` and paler for it
(Mip-Splatting, Yu et al. 2024: thin things and outlines do not grow), is its footprint; footprints sorted by
the depth of their centres are composited front to back in display sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from backend.artifacts import Camera
from blender_addon import splat_sh
from blender_addon.splats import Splats


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians as one camera sees them, before activation; float32 tensors on one device."""

    positions: Tensor  # (N, 3) head space, metres
    log_scales: Tensor  # (N, 3) ln of the standard deviations, metres
    rotations: Tensor  # (N, 4) quaternion w, x, y, z from own axes to head space, any length but 0
    opacity_logits: Tensor  # (N,)
    colours_srgb: Tensor  # (N, 3) at least 0


class Renderer(Protocol):
    """Draws Gaussians, differentiably in all five tensors."""

    @property
    def name(self) -> str:
        """Short name for reports."""
        ...

    def render(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """Premultiplied display sRGB and coverage ``(H, W, 4)`` over nothing, float32."""
        ...


def view_colours(sh: Tensor, positions: Tensor, camera: Camera) -> Tensor:
    """Colours ``(N, 3)``, at least 0, that ``camera`` sees of harmonics ``(N, K, 3)`` at ``positions``."""
    if sh.shape[1] == 1:
        return (sh[:, 0] * splat_sh.C0 + splat_sh.COLOUR_OFFSET).clamp_min(0)
    eye = torch.as_tensor(camera.centre_head, dtype=positions.dtype, device=positions.device)
    towards = torch.nn.functional.normalize(positions - eye, dim=1)
    if sh.shape[1] == 4:
        x, y, z = towards.unbind(1)
        basis = splat_sh.C1 * torch.stack([-y, z, -x], 1)
    else:
        known = splat_sh.basis(towards.detach().cpu().numpy(), round(sh.shape[1] ** 0.5) - 1)[:, 1:]
        basis = torch.as_tensor(known, dtype=sh.dtype, device=sh.device)
    varying = (basis[:, :, None] * sh[:, 1:]).sum(1)
    return (sh[:, 0] * splat_sh.C0 + splat_sh.COLOUR_OFFSET + varying).clamp_min(0)


def as_seen(splats: Splats, camera: Camera, device: str = "cpu") -> Gaussians:
    """``splats`` in head space and metres with the colours that ``camera`` sees."""
    positions = torch.as_tensor(splats.positions, device=device)
    return Gaussians(
        positions=positions,
        log_scales=torch.as_tensor(splats.log_scales, device=device),
        rotations=torch.as_tensor(splats.rotations, device=device),
        opacity_logits=torch.as_tensor(splats.opacity_logits, device=device),
        colours_srgb=view_colours(torch.as_tensor(splats.sh, device=device), positions, camera),
    )


def over(picture: Tensor, background_srgb: Tensor | float) -> Tensor:
    """``(H, W, 3)`` display sRGB: a premultiplied ``picture`` ``(H, W, 4)`` over a background."""
    return picture[..., :3] + (1 - picture[..., 3:]) * background_srgb
