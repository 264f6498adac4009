"""Poses of a finished avatar: expression weights to vertices, from the bundle's sparse offsets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.errors import BadInput
from blender_addon.arrays import SparseOffsets
from blender_addon.bundle import MESH_NAME, read_mesh
from blender_addon.correctives import Correctives

MOST_BYTES = 64 << 20  # of one answer: the wire's largest frame


def drive(directory: Path, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Head-space vertices ``(F, V, 3)``, metres, for ``weights`` ``(F, E)`` in [0, 1], the mesh's order.

    Raises: BundleError (no such avatar), BadInput (weights that do not fit it, or too many frames).
    """
    neutral, offsets, correctives = _posed(
        directory, (directory / MESH_NAME).stat().st_mtime_ns if directory.is_dir() else 0
    )
    frames = len(weights)
    expressions = offsets.shape[0] - len(correctives)
    if weights.ndim != 2 or weights.shape[1] != expressions:
        raise BadInput(f"this avatar has {expressions} expressions; give that many weights for every frame")
    if not np.isfinite(weights).all() or weights.min(initial=0.0) < 0 or weights.max(initial=0.0) > 1:
        raise BadInput("expression weights must lie between 0 and 1")
    if frames * neutral.nbytes > MOST_BYTES:
        raise BadInput(f"at most {MOST_BYTES // neutral.nbytes} frames at once; ask for fewer")
    products = correctives.weights(weights)
    posed = neutral.reshape(-1) + (offsets.T @ np.concatenate([weights, products], axis=1).T).T
    return np.ascontiguousarray(posed.reshape(frames, *neutral.shape), np.float32)


def weights_of(data: bytes, frames: int) -> NDArray[np.float32]:
    """Float32 ``(frames, E)`` from the wire's bytes. Raises: BadInput."""
    if frames < 1 or len(data) == 0 or len(data) % (4 * frames):
        raise BadInput(f"{len(data)} bytes are no float32 weights for {frames} frames")
    return np.frombuffer(data, "<f4").reshape(frames, -1)


@lru_cache(maxsize=2)
def _posed(directory: Path, changed: int) -> tuple[NDArray[np.float32], Any, Correctives]:
    """Neutral vertices ``(V, 3)``, offsets ``(E + C, 3 V)`` as a sparse matrix, the C correctives."""
    mesh = read_mesh(directory)
    size = mesh.vertices_neutral_head.size
    parts = (mesh.expressions, mesh.correctives.offsets)
    offsets = sparse.vstack([_offset_matrix(moved, size) for moved in parts], format="csr")
    return mesh.vertices_neutral_head, offsets, mesh.correctives


def _offset_matrix(moved: SparseOffsets, size: int) -> Any:
    expression = np.repeat(np.arange(len(moved)), np.diff(moved.start))
    row = np.repeat(expression, 3)
    column = (3 * moved.vertex[:, None].astype(np.int64) + np.arange(3)).reshape(-1)
    return sparse.csr_matrix((moved.offset.reshape(-1).astype(np.float64), (row, column)), (len(moved), size))
