"""Splats without Blender: an expression decoded and drawn, and a step of matching, beside the plain twin.

The embedded decoder's Gaussians, and those of FiCA's tiny prior, whose drawn weights cost as much as learned.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from backend.artifacts import Camera
from backend.bench.sheet import Setting, Sheet, in_turns, main
from backend.fica.atlas import build_atlas
from backend.fica.maps import HeadMaps, frame_of
from backend.fica.path import FicaAvatar
from backend.fica.prior import GAZE, TINY_PRIOR, UniversalPrior
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.plain_renderer import PlainRenderer
from backend.gaussians.renderer import Gaussians, as_seen
from backend.gaussians.surface import BoundGaussians, bind, chart_points, placed, texel_shapes
from backend.gaussians.turntable import orbit_camera
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.normals import vertex_normals
from blender_addon.splats import Splats

OURS = "decode and draw (numba)"
PRIOR = "decode and draw (tiny prior, numba)"
FEW_OURS = "few and small: decode and draw (numba)"
FEW, SMALL = 500, 48  # Gaussians and pixels a side that the twin draws in bearable time


def measure(setting: Setting, sheet: Sheet) -> None:
    """All of them once a round."""
    chart, size = (48, 64) if setting.quick else (200, 256)
    head = load_head("open")
    bound = skin_gaussians(head, chart)
    camera = orbit_camera(head.eye_centres, 20.0, 0.0, size)
    small = orbit_camera(head.eye_centres, 20.0, 0.0, SMALL)
    few = bound.chosen(np.arange(0, len(bound), max(1, len(bound) // FEW)))
    sheet.workload(
        f"{len(bound)} Gaussians on the open head at {size}\u00b2; the twin: {len(few)} at {SMALL}\u00b2"
    )
    rng = np.random.default_rng(0)
    ours, twin = NumbaRenderer(), PlainRenderer()

    def decoded(of: BoundGaussians) -> Splats:
        weights = rng.random(len(head.expression_names)) * 0.3
        return placed(of, head.shape(np.zeros(0), weights), head.triangles)

    def drawn(of: BoundGaussians, by: NumbaRenderer | PlainRenderer, view: Camera) -> None:
        with torch.inference_mode():
            by.render(as_seen(decoded(of), view), view)

    still = as_seen(placed(bound, head.mean_vertices, head.triangles), camera)
    tracked = Gaussians(*(t.clone().requires_grad_(True) for t in vars(still).values()))

    def step() -> None:
        ours.render(tracked, camera).square().mean().backward()  # type: ignore[no-untyped-call]

    avatar = tiny_avatar(head)

    def prior_drawn() -> None:
        weights = torch.from_numpy(rng.random(TINY_PRIOR.expression_width) * 0.3).float()
        with torch.inference_mode():
            ours.render(avatar.decode(torch.cat([weights, torch.zeros(GAZE)]), camera), camera)

    many = {
        OURS: lambda: drawn(bound, ours, camera),
        PRIOR: prior_drawn,
        "draw and differentiate (numba)": step,
    }
    beside = {
        FEW_OURS: lambda: drawn(few, ours, small),
        "few and small: plain twin": lambda: drawn(few, twin, small),
    }
    for works, own in ((many, OURS), (beside, FEW_OURS)):
        for work in works.values():
            work()  # compiled once
        in_turns(sheet, works, setting.repeat, own)


def tiny_avatar(head: ParametricHead) -> FicaAvatar:
    """The mean head in grey as an avatar of FiCA's tiny prior, untrained."""
    torch.manual_seed(0)
    frame = frame_of(build_atlas(head, TINY_PRIOR.texels))
    prior = UniversalPrior(TINY_PRIOR, frame).eval().requires_grad_(False)
    maps = HeadMaps(torch.full_like(frame.mean, 0.5), frame.mean)
    return FicaAvatar(maps, prior.biases(maps, frame), prior, frame)


def skin_gaussians(head: ParametricHead, chart: int) -> BoundGaussians:
    """One Gaussian per texel of the mean head's skin, in the head's own colours."""
    points = chart_points(head, head.mean_vertices, 0, chart)
    count = len(points.triangle)
    normals = vertex_normals(head.mean_vertices, head.triangles)
    n = interpolate_at(points.triangle, points.barycentric, normals, head.triangles)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    log_scales, rotations = texel_shapes(points, n)
    albedo = interpolate_at(points.triangle, points.barycentric, head.albedo_mean, head.triangles)
    sh = np.zeros((count, 4, 3), np.float32)
    sh[:, 0] = albedo
    position = points.position.astype(np.float32)
    splats = Splats(position, log_scales, rotations, np.full(count, 3.0, np.float32), sh)
    part = np.zeros(count, np.uint8)
    return bind(
        splats, points.triangle, points.barycentric, head.mean_vertices, head.triangles, albedo, n, part
    )


if __name__ == "__main__":
    sys.exit(main(measure))
