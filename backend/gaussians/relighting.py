"""What a pose makes of the photo's light: colours of splats for every frame, the light staying in its place.

Splats carry the light that fell on the photographed face. When the face moves, folds turn away from it, lids
and lips shade or uncover, and a turned head keeps its bright side towards it. Here each splat's colour is
multiplied, in linear light, by the irradiance that it gets now over the irradiance that it got then. The
light is the photo's fitted one, followed from 64 directions past the moved mesh; where skin stands in its
way, that skin's mean radiance arrives instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.gaussians.decoder import INSIDE_SHARE
from backend.shading import sh
from backend.uvspace.normals import vertex_normals
from backend.uvspace.numba_rasteriser import nearest_depth
from blender_addon import splat_sh
from blender_addon.bundle import Light, Mesh
from blender_addon.splat_binding import HAIR_PART, SplatBinding, frames_of
from blender_addon.splats import Splats

DIRECTIONS = 64  # from which light is followed, evenly over the sphere
DEPTH_PX = 256  # side of the depth picture that tells what each of them reaches
_SLACK_M, _SOFT_M = 3e-3, 3e-3  # behind the nearest surface: still lit; over which it gets dark
LEAST, MOST = 0.25, 3.0  # of what a colour is multiplied by
_FLOOR = 0.12  # of the mean irradiance, on both sides of the ratio: the light is an estimate
_BOUNCED = 0.6  # of the light on open skin that skin in the way has
_SEE_THROUGH = ("lashes", "cornea", "tear_line", "brows")  # first letters of parts that shade nothing
_INSIDE = ("mouth", "sockets", "teeth", "gums", "tongue")  # parts that the decoder lit by a share


@dataclass(frozen=True)
class Relighting:
    """An avatar's splats under the light of its photo."""

    tie: SplatBinding
    triangles: NDArray[np.int32]  # (T, 3) of the mesh
    blocking: NDArray[np.int32]  # those that stand in the light's way
    radiance_sh: F64  # (9, 3) head space of the photographed face
    bounced: F64  # (3,) radiance of what stands in the way
    then: F64  # (N, 3) irradiance that the splats' colours hold

    def factors(self, vertices: F32) -> F64:
        """``(N, 3)``: what each splat's linear colour is multiplied by on posed ``vertices`` ``(V, 3)``."""
        floor = _FLOOR * self.then.mean(0)
        ratio = (self._irradiance(vertices) + floor) / (self.then + floor)
        return np.asarray(np.clip(ratio, LEAST, MOST))

    def _irradiance(self, vertices: F32) -> F64:
        """``(N, 3)`` at the splats; hair, which is a volume, is shaded by its own direction alone."""
        normals = vertex_normals(vertices, self.triangles).astype(np.float64)
        directions = spread_directions(DIRECTIONS)
        sky = np.maximum(sh.radiance(self.radiance_sh, directions), 0)
        at_vertices = np.zeros((len(vertices), 3))
        for direction, seen in zip(directions, sky, strict=True):
            cosine = (4 * np.pi / DIRECTIONS) * np.maximum(normals @ direction, 0)
            is_open = reached(vertices, self.blocking, direction)
            at_vertices += (cosine * is_open)[:, None] * seen + (cosine * (1 - is_open))[
                :, None
            ] * self.bounced
        tie = self.tie
        found: F64 = np.einsum("nk,nkc->nc", tie.barycentric, at_vertices[tie.corners])
        hair = tie.part == HAIR_PART
        own = np.einsum("nij,nj->ni", frames_of(vertices, tie.corners[hair]), tie.normal[hair])
        found[hair] = np.maximum(sh.irradiance(self.radiance_sh, own), 0)
        return found


def relighting_of(mesh: Mesh, tie: SplatBinding, light: Light) -> Relighting:
    """What follows the photo's ``light`` over the splats ``tie`` on ``mesh``."""
    part = mesh.quad_part[mesh.triangle_quad]
    clear = [k for k, name in enumerate(mesh.part_names) if name.startswith(_SEE_THROUGH)]
    radiance_sh = np.asarray(light.radiance_sh, np.float64)
    open_skin = np.maximum(sh.irradiance(radiance_sh, spread_directions(DIRECTIONS)), 0).mean(0)
    albedo = srgb_to_linear(tie.albedo_srgb[tie.part == 0] / 255.0).mean(0) if (tie.part == 0).any() else 0.3
    made = Relighting(
        tie=tie,
        triangles=mesh.triangles,
        blocking=np.ascontiguousarray(mesh.triangles[~np.isin(part, clear)]),
        radiance_sh=radiance_sh,
        bounced=_BOUNCED * albedo * open_skin / np.pi,
        then=np.zeros((len(tie), 3)),
    )
    photographed = mesh.expressed()
    then = made._irradiance(photographed)
    inside = [k for k, name in enumerate(mesh.part_names) if name.startswith(_INSIDE)]
    rows = np.isin(tie.part, inside)
    assumed = sh.irradiance(radiance_sh, vertex_normals(photographed, mesh.triangles))
    share = np.einsum("nk,nkc->nc", tie.barycentric[rows], INSIDE_SHARE * assumed[tie.corners[rows]])
    then[rows] = np.maximum(then[rows], share)
    return replace(made, then=then)


def relit(splats: Splats, factors: F64) -> Splats:
    """``splats`` with their linear colours multiplied by ``factors`` ``(N, 3)``; gloss goes along."""
    constant = splats.sh[:, 0].astype(np.float64) * splat_sh.C0 + splat_sh.COLOUR_OFFSET
    shown = np.clip(constant, 0, 1)
    now = linear_to_srgb(np.clip(srgb_to_linear(shown) * factors, 0, 1))
    harmonics = splats.sh.copy()
    harmonics[:, 0] = (constant + now - shown - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    harmonics[:, 1:] *= ((now + 0.01) / (shown + 0.01))[:, None]
    return replace(splats, sh=harmonics.astype(np.float32))


def reached(vertices: F32, blocking: NDArray[np.int32], direction: F64) -> F64:
    """``(V,)`` in [0, 1]: how far light from the unit ``direction`` gets to each vertex past ``blocking``.

    By a depth picture of the mesh from there, the four nearest pixels averaged (percentage-closer filtering,
    Reeves et al. 1987).
    """
    low, high = vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
    radius = float(np.linalg.norm(high - low)) / 2
    aside = np.cross([0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0], direction)
    aside /= np.linalg.norm(aside)
    local = (vertices - (low + high) / 2) @ np.stack([aside, np.cross(direction, aside), -direction], 1)
    half = DEPTH_PX / 2
    at = local * [half / radius, half / radius, 1.0] + [half, half, 2 * radius]
    depth = nearest_depth(at, blocking, DEPTH_PX, DEPTH_PX)
    corner = np.floor(at[:, :2] - 0.5).astype(int)
    right, down = (at[:, :2] - 0.5 - corner).T
    total = np.zeros(len(at))
    for dx, dy, share in (
        (0, 0, (1 - right) * (1 - down)),
        (1, 0, right * (1 - down)),
        (0, 1, (1 - right) * down),
        (1, 1, right * down),
    ):
        x, y = np.clip(corner + np.array([dx, dy]), 0, DEPTH_PX - 1).T
        total += share * np.clip(1 - (at[:, 2] - depth[y, x] - _SLACK_M) / _SOFT_M, 0, 1)
    return total


def spread_directions(count: int) -> F64:
    """Unit directions ``(count, 3)``, evenly over the sphere: a Fibonacci spiral."""
    place = np.arange(count) + 0.5
    height, angle = 1 - 2 * place / count, np.pi * (1 + 5**0.5) * place
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], -1)
