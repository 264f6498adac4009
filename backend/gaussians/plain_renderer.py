"""The renderer's plain twin: every Gaussian at every pixel, differentiated by torch. For tests."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.artifacts import Camera
from backend.gaussians import footprint_limits as rules
from backend.gaussians.renderer import Gaussians


class PlainRenderer:
    """All N·H·W opacities at once: small pictures only. Any float type, any device."""

    name = "plain torch"

    def render(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """See ``Renderer.render``."""
        centre, conic, depth, kept = project(gaussians, camera)
        order = torch.argsort(depth, stable=True)
        order = order[depth[order] > rules.NEAREST_M]
        like = gaussians.positions
        rows = torch.arange(camera.height_px, dtype=like.dtype, device=like.device) + 0.5
        columns = torch.arange(camera.width_px, dtype=like.dtype, device=like.device) + 0.5
        dx = columns[None, None, :] - centre[order, 0, None, None]
        dy = rows[None, :, None] - centre[order, 1, None, None]
        a, b, c = conic[order, :, None, None].unbind(1)
        square = a * dx * dx + 2 * b * dx * dy + c * dy * dy
        opacity = (kept * torch.sigmoid(gaussians.opacity_logits))[order, None, None]
        alpha = opacity * torch.exp(-square / 2)
        alpha = torch.where(alpha >= rules.FAINTEST, alpha.clamp_max(rules.MOST_OPAQUE), 0.0)
        left = torch.cumprod(1 - alpha, 0)
        alpha = torch.where(left >= rules.LEAST_LEFT, alpha, 0.0)
        left = torch.cumprod(1 - alpha, 0)
        before = torch.cat([torch.ones_like(left[:1]), left[:-1]])
        weight = before * alpha
        rgb = torch.einsum("nhw,nc->hwc", weight, gaussians.colours_srgb[order])
        return torch.cat([rgb, weight.sum(0)[..., None]], -1)


def project(gaussians: Gaussians, camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centres ``(N, 2)`` in pixels, inverse footprints ``(N, 3)`` as xx, xy, yy, depths ``(N,)``, and the
    share of the opacity that the low-pass leaves ``(N,)``."""
    like = gaussians.positions
    pose = torch.as_tensor(camera.world_to_camera, dtype=like.dtype, device=like.device)
    x, y, z = (like @ pose[:, :3].T + pose[:, 3]).unbind(1)
    f, zero = camera.focal_px, torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([f / z, zero, -f * x / z**2], 1), torch.stack([zero, f / z, -f * y / z**2], 1)], 1
    )
    own = rotation_matrices(gaussians.rotations) * torch.exp(gaussians.log_scales)[:, None, :]
    half = jacobian @ pose[:, :3] @ own
    low_pass = rules.LOW_PASS_PX2 * torch.eye(2, dtype=like.dtype, device=like.device)
    narrow = half @ half.transpose(1, 2)
    inverse = torch.linalg.inv(narrow + low_pass)
    kept = torch.sqrt((torch.linalg.det(narrow) * torch.linalg.det(inverse)).clamp_min(1e-12))
    conic = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
    centre = torch.stack([f * x / z + camera.principal_px[0], f * y / z + camera.principal_px[1]], 1)
    return centre, conic, z, kept


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Rotations ``(N, 3, 3)`` of quaternions ``(N, 4)``, w first, of any length but 0."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=1).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    return torch.stack(rows, 1)
