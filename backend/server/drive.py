"""Poses of a finished avatar: expression weights to vertices, from the bundle's sparse offsets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.errors import BadInput
from blender_addon.bundle import MESH_NAME, Mesh, read_mesh

MOST_BYTES = 64 << 20  # of one answer: the wire's largest frame


def drive(directory: Path, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Head-space vertices ``(F, V, 3)``, metres, for ``weights`` ``(F, E)`` in [0, 1], the mesh's order.

    Raises: BundleError (no such avatar), BadInput (weights that do not fit it, or too many frames).
    """
    neutral, offsets = _posed(
        directory, (directory / MESH_NAME).stat().st_mtime_ns if directory.is_dir() else 0
    )
    frames = len(weights)
    if weights.ndim != 2 or weights.shape[1] != offsets.shape[0]:
        raise BadInput(
            f"this avatar has {offsets.shape[0]} expressions; give that many weights for every frame"
        )
    if not np.isfinite(weights).all() or weights.min(initial=0.0) < 0 or weights.max(initial=0.0) > 1:
        raise BadInput("expression weights must lie between 0 and 1")
    if frames * neutral.nbytes > MOST_BYTES:
        raise BadInput(f"at most {MOST_BYTES // neutral.nbytes} frames at once; ask for fewer")
    posed = neutral.reshape(-1) + (offsets.T @ weights.T.astype(np.float64)).T
    return np.ascontiguousarray(posed.reshape(frames, *neutral.shape), np.float32)


def weights_of(data: bytes, frames: int) -> NDArray[np.float32]:
    """Float32 ``(frames, E)`` from the wire's bytes. Raises: BadInput."""
    if frames < 1 or len(data) == 0 or len(data) % (4 * frames):
        raise BadInput(f"{len(data)} bytes are no float32 weights for {frames} frames")
    return np.frombuffer(data, "<f4").reshape(frames, -1)


@lru_cache(maxsize=2)
def _posed(directory: Path, changed: int) -> tuple[NDArray[np.float32], Any]:
    """Neutral vertices ``(V, 3)`` and offsets ``(E, 3 V)`` as a sparse matrix."""
    mesh = read_mesh(directory)
    return mesh.vertices_neutral_head, _offset_matrix(mesh)


def _offset_matrix(mesh: Mesh) -> Any:
    moved = mesh.expressions
    expression = np.repeat(np.arange(len(moved)), np.diff(moved.start))
    row = np.repeat(expression, 3)
    column = (3 * moved.vertex[:, None].astype(np.int64) + np.arange(3)).reshape(-1)
    shape = (len(moved), mesh.vertices_neutral_head.size)
    return sparse.csr_matrix((moved.offset.reshape(-1).astype(np.float64), (row, column)), shape)
