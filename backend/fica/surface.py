"""A position map as a surface: tangent frames, texel footprints, and opaque flat Gaussians, in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from backend.fica.maps import Frame
from backend.gaussians.renderer import Gaussians

SPREAD, THICKNESS = 0.62, 0.2  # as of ``backend.gaussians.surface``: deviation over texel, flatness
LEAST_TEXEL_M, LARGEST_TEXEL_M = 2e-4, 1.2e-2
OPAQUE_LOGIT = 3.0


@dataclass(frozen=True)
class SurfaceFrames:
    """At each of N texels with a surface, in the order of ``Frame.rows``."""

    position: Tensor  # (B, N, 3) metres
    rotation: Tensor  # (B, N, 3, 3) columns tangent (towards larger u), bitangent, normal
    log_extent: Tensor  # (B, N, 2) ln of metres to the neighbour along tangent and bitangent


def at_texels(maps: Tensor, rows: Tensor) -> Tensor:
    """``(B, C, S, S)`` at flat indices ``(N,)`` as ``(B, N, C)``."""
    return maps.flatten(2)[:, :, rows].transpose(1, 2)


def surface_frames(geometry: Tensor, frame: Frame) -> SurfaceFrames:
    """Frames of a position map ``(B, 3, S, S)`` by differences with the neighbours of the same part.

    A texel without any neighbour along an axis takes the other axis' extent.
    """
    rows = frame.rows
    across, has_u = _difference(geometry, frame.part, dim=-1)
    down, has_v = _difference(geometry, frame.part, dim=-2)
    u, v = at_texels(across, rows), -at_texels(down, rows)  # v runs upwards, rows downwards
    has_u, has_v = (h.reshape(-1)[rows][None, :, None] for h in (has_u, has_v))
    axis = torch.eye(3, dtype=geometry.dtype, device=geometry.device)
    u = torch.where(has_u, u, _beside(v, axis))
    v = torch.where(has_v, v, _beside(u, axis))
    tangent = _unit(u, axis[0])
    normal = torch.linalg.cross(tangent, v)
    normal = _unit(normal, axis[2])
    bitangent = torch.linalg.cross(normal, tangent)
    extent = torch.stack([_length(u), _length(v)], -1).clamp(LEAST_TEXEL_M, LARGEST_TEXEL_M)
    return SurfaceFrames(
        at_texels(geometry, rows), torch.stack([tangent, bitangent, normal], -1), torch.log(extent)
    )


def normal_map(geometry: Tensor, frame: Frame) -> Tensor:
    """Unit normals ``(B, 3, S, S)`` of a position map; 0 where there is no surface."""
    rows = frame.rows
    normals = surface_frames(geometry, frame).rotation[..., 2]
    flat = geometry.new_zeros(geometry.shape[0], 3, frame.part.numel())
    return flat.index_copy(2, rows, normals.transpose(1, 2)).reshape_as(geometry)


def surfels(texture: Tensor, geometry: Tensor, frame: Frame) -> list[Gaussians]:
    """The textured mesh as opaque flat Gaussians, one for each texel, for each row of the batch.

    Drawn by a Gaussian renderer the outline has gradients, which a rasterised mesh lacks.
    """
    rows = frame.rows
    made = surface_frames(geometry, frame)
    colours = at_texels(texture, rows).clamp_min(0)
    scales = base_log_scales(made.log_extent)
    turns = quaternions(made.rotation)
    logits = scales.new_full((scales.shape[1],), OPAQUE_LOGIT)
    return [Gaussians(made.position[k], scales[k], turns[k], logits, colours[k]) for k in range(len(texture))]


def base_log_scales(log_extent: Tensor) -> Tensor:
    """``(…, 3)`` of flat Gaussians over texels of ``log_extent`` ``(…, 2)``."""
    flat = log_extent + torch.log(torch.tensor(SPREAD))
    thin = flat.amin(-1, keepdim=True) + torch.log(torch.tensor(THICKNESS))
    return torch.cat([flat, thin], -1)


def quaternions(rotation: Tensor) -> Tensor:
    """Unit quaternions ``(…, 4)``, w first, of rotations ``(…, 3, 3)``; differentiable.

    The largest of the four components is taken from the diagonal (Shepperd's method).
    """
    m = [[rotation[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    a, b, c = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    d, e, f = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    rows = torch.stack(
        [
            torch.stack([1 + trace, a, b, c], -1),
            torch.stack([a, 1 + 2 * m[0][0] - trace, d, e], -1),
            torch.stack([b, d, 1 + 2 * m[1][1] - trace, f], -1),
            torch.stack([c, e, f, 1 + 2 * m[2][2] - trace], -1),
        ],
        -2,
    )
    largest = torch.stack([trace, m[0][0], m[1][1], m[2][2]], -1).argmax(-1)
    index = largest[..., None, None].expand(*largest.shape, 1, 4)
    return normalize(rows.gather(-2, index)[..., 0, :], dim=-1)


def product(first: Tensor, second: Tensor) -> Tensor:
    """Quaternions ``first`` after ``second``, ``(…, 4)`` each, w first."""
    w, v = first[..., :1], first[..., 1:]
    s, u = second[..., :1], second[..., 1:]
    real = w * s - (v * u).sum(-1, keepdim=True)
    return torch.cat([real, w * u + s * v + torch.linalg.cross(v, u)], -1)


def _difference(maps: Tensor, part: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Central differences where both neighbours are of the texel's part, else one-sided, and whether any."""
    size = part.shape[dim]
    step = maps.narrow(dim, 1, size - 1) - maps.narrow(dim, 0, size - 1)
    same = (part.narrow(dim, 1, size - 1) == part.narrow(dim, 0, size - 1)) & (
        part.narrow(dim, 0, size - 1) >= 0
    )
    step = step * same
    nothing, none = torch.zeros_like(maps.narrow(dim, 0, 1)), torch.zeros_like(same.narrow(dim, 0, 1))
    total = torch.cat([step, nothing], dim) + torch.cat([nothing, step], dim)
    count = torch.cat([same, none], dim).to(maps) + torch.cat([none, same], dim).to(maps)
    return total / count.clamp_min(1), count > 0


def _beside(other: Tensor, axis: Tensor) -> Tensor:
    """A vector as long as ``other`` and at right angles to it, where nothing better is known."""
    turned = torch.linalg.cross(other, axis[2].expand_as(other))
    return _unit(turned, axis[0]) * _length(other)[..., None]


def _unit(vectors: Tensor, otherwise: Tensor) -> Tensor:
    length = _length(vectors)[..., None]
    return torch.where(length > 2e-9, vectors / length, otherwise)


def _length(vectors: Tensor) -> Tensor:
    return torch.sqrt((vectors**2).sum(-1) + 1e-18)
