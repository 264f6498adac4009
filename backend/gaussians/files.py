"""Splats in the avatar folder: ``splats.ply``, which other viewers open, and their tie to the mesh."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from backend.artifacts import HeadFit, SplatKeeper
from backend.colour import linear_to_srgb
from backend.gaussians.surface import BoundGaussians, placed
from blender_addon import bundle
from blender_addon.splat_binding import BINDING_NAME, SPLATS_NAME, SplatBinding, spans_of, write_binding
from blender_addon.splats import write_ply


def write_splats(
    bound: BoundGaussians, fit: HeadFit, folder: Path, keeper: SplatKeeper | None = None
) -> bundle.SplatsRecord:
    """Write both files into ``folder``, and what ``keeper`` has; returns what ``avatar.json`` says of them.

    Raises: OSError, SplatsError.
    """
    write_ply(folder / SPLATS_NAME, placed(bound, fit.vertices_head, fit.head.triangles))
    write_binding(folder, binding_of(bound, fit))
    return bundle.SplatsRecord(
        count=len(bound),
        sh_degree=round(bound.sh.shape[1] ** 0.5) - 1,
        sha256=hashlib.sha256((folder / SPLATS_NAME).read_bytes()).hexdigest(),
        binding_sha256=hashlib.sha256((folder / BINDING_NAME).read_bytes()).hexdigest(),
        decoder=None if keeper is None else keeper.write(folder),
    )


def binding_of(bound: BoundGaussians, fit: HeadFit) -> SplatBinding:
    """The tie to the mesh as the avatar keeps it."""
    return SplatBinding(
        corners=fit.head.triangles[bound.triangle].astype(np.int32),
        barycentric=bound.barycentric,
        offset=bound.offset,
        rotation=bound.rotation,
        part=bound.part,
        albedo_srgb=np.rint(255 * np.clip(linear_to_srgb(bound.albedo_linear), 0, 1)).astype(np.uint8),
        normal=bound.normal,
        rest=spans_of(fit.vertices_head, fit.head.triangles[bound.triangle]).astype(np.float32),
    )
