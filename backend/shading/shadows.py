"""Which of an environment's light reaches each point of a head, by a handful of shadow maps.

The environment is split into regions of equal energy by median cut (Debevec, "A Median Cut Algorithm
for Light Probe Sampling", SIGGRAPH 2005 poster), each standing for one distant light; a small hard
lamp becomes many lights close together and so keeps its penumbra. Each light draws one orthographic
depth map of the head. The result is used as a *ratio* (shadowed over unshadowed irradiance), so that
fine shading stays with the irradiance map and the normal map.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.shading import latlong
from backend.shading.environment import Environment
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.numba_rasteriser import nearest_depth

_CUT_ROWS = 64
# A receiver must be this far behind its shadow map to be dark: above a texel's depth error on skin.
_BIAS_M = 0.002
_NORMAL_OFFSET_M = 0.0025
_FAR_M = 100.0  # orthographic depths sit around here, where the rasteriser's 1/z is straight

_Region = tuple[int, int, int, int]  # rows [r0, r1) and columns [c0, c1) of the panorama


@dataclass(frozen=True)
class ShadowMaps:
    """Distant lights that together are one environment, each with what it sees of a head."""

    direction: F32  # (K, 3) unit, towards the light
    irradiance: F32  # (K, 3) radiance times solid angle
    axes: F32  # (K, 3, 3) rows: map's right, map's down, into the scene
    depth: F32  # (K, S, S) metres along the third axis, inf where the light sees nothing
    centre: F32  # (3,) metres, the middle of the maps
    texels_per_metre: float


def median_cut(radiance: F32, count: int) -> tuple[F64, F64]:
    """Directions and irradiances ``(≤ count, 3)`` of regions of about equal energy.

    The irradiances sum to ∫ radiance dω.
    """
    small = latlong.shrink(radiance, _CUT_ROWS)
    rows = small.shape[0]
    energy = small * latlong.solid_angles(rows)[..., None]
    weight = energy.mean(-1) + 1e-12
    at = latlong.directions(rows)
    cosine = np.cos(np.pi * (0.5 - (np.arange(rows) + 0.5) / rows))
    # The strongest region is cut next; one texel cannot be cut, so it stays as strong as it is.
    heap = [(-float(weight.sum()), (0, rows, 0, 2 * rows))]
    done: list[_Region] = []
    while heap and len(heap) + len(done) < count:
        _, region = heapq.heappop(heap)
        if region[1] - region[0] == 1 and region[3] - region[2] == 1:
            done.append(region)
            continue
        for r0, r1, c0, c1 in _halves(weight, cosine, region):
            heapq.heappush(heap, (-float(weight[r0:r1, c0:c1].sum()), (r0, r1, c0, c1)))
    regions = done + [region for _, region in heap]
    directions, irradiances = [], []
    for r0, r1, c0, c1 in regions:
        part = weight[r0:r1, c0:c1, None]
        mean = (at[r0:r1, c0:c1] * part).sum((0, 1))
        directions.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
        irradiances.append(energy[r0:r1, c0:c1].sum((0, 1)))
    return np.array(directions), np.array(irradiances, np.float64)


def _halves(weight: F64, cosine: F64, region: _Region) -> tuple[_Region, _Region]:
    """Cut a region of texels across its longer side on the sphere, half the energy on either side."""
    r0, r1, c0, c1 = region
    part = weight[r0:r1, c0:c1]
    wide = (c1 - c0) * float(cosine[r0:r1].mean()) >= r1 - r0
    if c1 - c0 == 1 or (not wide and r1 - r0 > 1):
        cut = r0 + _half_way(part.sum(1))
        return (r0, cut, c0, c1), (cut, r1, c0, c1)
    cut = c0 + _half_way(part.sum(0))
    return (r0, r1, c0, cut), (r0, r1, cut, c1)


def _half_way(energy: F64) -> int:
    running = np.cumsum(energy)
    return int(np.clip(np.searchsorted(running, running[-1] / 2) + 1, 1, max(len(energy) - 1, 1)))


def cast(
    environment: Environment,
    vertices_head: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    count: int = 64,
    size: int = 192,
) -> ShadowMaps:
    """Shadow maps of a head ``(V, 3)`` metres, ``(T, 3)`` wound counter-clockwise, under an environment."""
    directions, irradiances = median_cut(environment.radiance, count)
    lit = irradiances.sum(1) > 1e-9
    directions, irradiances = directions[lit], irradiances[lit]
    used = np.asarray(vertices_head, np.float64)[np.unique(triangles)]
    centre = (used.min(0) + used.max(0)) / 2
    radius = float(np.linalg.norm(used - centre, axis=1).max()) * 1.02
    scale = size / (2 * radius)
    axes = np.stack([_axes(d) for d in directions]) if len(directions) else np.zeros((0, 3, 3))
    depth = np.empty((len(directions), size, size), np.float32)
    local = np.asarray(vertices_head, np.float64) - centre
    a, b, c = (local[triangles[:, corner]] for corner in range(3))
    outward = np.cross(b - a, c - a)

    def draw(first: int, end: int) -> None:
        for k, frame in enumerate(axes[first:end], first):
            # What faces away from the light lies behind what faces it; drawing it would double the work.
            facing = triangles[outward @ frame[2] < 0]
            pixels = local @ (frame * [[scale], [scale], [1]]).T + [size / 2, size / 2, _FAR_M]
            depth[k] = nearest_depth(pixels, facing, size, size) - np.float32(_FAR_M)

    in_bands(draw, len(axes), least_rows=1)
    return ShadowMaps(
        directions.astype(np.float32),
        irradiances.astype(np.float32),
        axes.astype(np.float32),
        depth,
        centre.astype(np.float32),
        scale,
    )


def _axes(towards_light: F64) -> F64:
    """Right-handed rows: right, down, away from the light."""
    into = -towards_light
    helper = np.array([0.0, 1.0, 0.0]) if abs(into[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, into)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(into, right), into])


def lit_fraction(maps: ShadowMaps, position_head: F32, normal_head: F32) -> F32:
    """Irradiance with shadows over irradiance without, ``(N, 3)`` in [0, 1], for points ``(N, 3)``.

    ``normal_head`` are smooth unit normals. 1 where no light comes from the front of the surface.
    """
    position = np.ascontiguousarray(position_head, np.float32)
    normal = np.ascontiguousarray(normal_head, np.float32)
    out = np.empty((len(position), 3), np.float32)
    scale = np.float32(maps.texels_per_metre)
    lights = (maps.direction, maps.irradiance, maps.axes, maps.depth, maps.centre, scale)
    in_bands(lambda start, end: _lit(*lights, position, normal, start, end, out), len(out), least_rows=4096)
    return out


@compiled
def _lit(
    direction: F32,
    irradiance: F32,
    axes: F32,
    depth: F32,
    centre: F32,
    scale: np.float32,
    position: F32,
    normal: F32,
    start: int,
    end: int,
    out: F32,
) -> None:
    """Fill ``out[start:end]``."""
    # All in float32: half the work of float64, and a thousandth of a texel.
    one, inner = np.float32(1), np.float32(depth.shape[1] - 1)
    half, bias = np.float32(0.5) * inner, np.float32(_BIAS_M)
    everything = np.full((end - start, 3), 1e-12, np.float32)
    out[start:end] = 1e-12
    moved = position[start:end] + np.float32(_NORMAL_OFFSET_M) * normal[start:end] - centre
    # Lights outside: one depth map stays in the cache while all points of the band ask it.
    for k in range(direction.shape[0]):
        dx, dy, dz = direction[k, 0], direction[k, 1], direction[k, 2]
        red, green, blue = irradiance[k, 0], irradiance[k, 1], irradiance[k, 2]
        ux, uy, uz = axes[k, 0, 0] * scale, axes[k, 0, 1] * scale, axes[k, 0, 2] * scale
        vx, vy, vz = axes[k, 1, 0] * scale, axes[k, 1, 1] * scale, axes[k, 1, 2] * scale
        wx, wy, wz = axes[k, 2, 0], axes[k, 2, 1], axes[k, 2, 2]
        shadow = depth[k]
        for i in range(start, end):
            cosine = normal[i, 0] * dx + normal[i, 1] * dy + normal[i, 2] * dz
            if cosine <= 0:
                continue
            px, py, pz = moved[i - start, 0], moved[i - start, 1], moved[i - start, 2]
            u = ux * px + uy * py + uz * pz + half
            v = vx * px + vy * py + vz * pz + half
            w = wx * px + wy * py + wz * pz - bias
            seen = one
            if u >= 0 and v >= 0 and u < inner and v < inner:
                c, r = int(u), int(v)
                fc, fr = u - np.float32(c), v - np.float32(r)
                # Percentage-closer: compare first, then interpolate the answers.
                low, high = (one - fr) * (one - fc), fr * (one - fc)
                seen = low if w <= shadow[r, c] else np.float32(0)
                seen += (one - fr) - low if w <= shadow[r, c + 1] else np.float32(0)
                seen += high if w <= shadow[r + 1, c] else np.float32(0)
                seen += fr - high if w <= shadow[r + 1, c + 1] else np.float32(0)
            everything[i - start, 0] += cosine * red
            everything[i - start, 1] += cosine * green
            everything[i - start, 2] += cosine * blue
            seen *= cosine
            out[i, 0] += seen * red
            out[i, 1] += seen * green
            out[i, 2] += seen * blue
    out[start:end] /= everything
