"""Moves a head's mesh to another solution of its shape, at once: while pins are dragged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh, read_mesh
from .building import HELPER_PARTS
from .head_mesh import CORRECTIVE_PREFIX, HEAD_PART, part_faces
from .identity import find
from .space import to_scene

ROUNDS = 8  # of solving for weights whose products count as well
BASIS = ""  # the mesh's own vertices, beside its shape keys


@dataclass(frozen=True)
class ShapeBefore:
    """Where everything was: all positions of a head, and how they hang together with the solver's mesh."""

    uuid: str
    mesh: Mesh
    rows: dict[str, NDArray[np.int64]]  # by part: rows of Mesh.vertices_neutral_head
    positions: dict[tuple[str, str], NDArray[np.float32]]  # (part, key): (v, 3) scene space, metres
    weights: dict[str, float]  # of the skin's shape keys
    basis: NDArray[np.float64]  # (3V, E + C) head-space offsets of all expressions, then of correctives
    normal: NDArray[np.float64]  # (E + C, E + C) basisᵀ·basis, slightly damped


def remember_shape(uuid: str, directory: Path) -> ShapeBefore:
    """The shape of the head ``uuid`` of the avatar folder ``directory``. Raises: BundleError, LookupError."""
    head = find(uuid)
    if head is None:
        raise LookupError("the head is no longer in this file; import it again")
    mesh = read_mesh(directory)
    rows: dict[str, NDArray[np.int64]] = {}
    positions: dict[tuple[str, str], NDArray[np.float32]] = {}
    for part in mesh.part_names:
        obj = head.parts.get(part)
        if part in HELPER_PARTS or obj is None:
            continue
        own = part_faces(mesh, part).vertex
        if len(obj.data.vertices) != len(own):
            continue  # the artist changed this part's mesh; it stays as it is
        rows[part] = own
        for name, points in _points(obj):
            values = np.empty(3 * len(points), np.float32)
            points.foreach_get("co", values)
            positions[part, name] = values.reshape(-1, 3)
    skin = head.parts.get(HEAD_PART)
    keys = skin.data.shape_keys.key_blocks if skin is not None and skin.data.shape_keys else []
    weights = {key.name: float(key.value) for key in keys}
    basis = _dense_basis(mesh)
    normal = basis.T @ basis
    # An expression that moves nothing would leave its weight undetermined.
    normal[np.diag_indices_from(normal)] += 1e-9 * max(float(np.trace(normal)), 1e-12)
    return ShapeBefore(uuid, mesh, rows, positions, weights, basis, normal)


def solve_weights(
    before: ShapeBefore, neutral: NDArray[np.float32], photographed: NDArray[np.float32]
) -> dict[str, float]:
    """Expression weights in [0, 1] that lead from ``neutral`` to ``photographed``, both ``(V, 3)`` metres."""
    moved = before.basis.T @ (photographed.astype(np.float64) - neutral).ravel()
    correctives = before.mesh.correctives
    weights = np.zeros(len(before.mesh.expression_names))
    for _ in range(ROUNDS if len(correctives) else 1):  # Gauss–Newton; the first step is the linear solution
        slopes = np.concatenate([np.eye(len(weights)), correctives.slopes(weights)])
        missing = moved - before.normal @ np.concatenate([weights, correctives.weights(weights)])
        step = np.linalg.solve(slopes.T @ before.normal @ slopes, slopes.T @ missing)
        weights = np.clip(weights + step, 0.0, 1.0)
    return dict(zip(before.mesh.expression_names, weights.tolist(), strict=True))


def reshape(before: ShapeBefore, neutral: NDArray[np.float32], weights: dict[str, float]) -> None:
    """Show the neutral head ``(V, 3)`` (head space, metres) with the expression ``weights``."""
    if neutral.shape != before.mesh.vertices_neutral_head.shape:
        raise ValueError(f"{neutral.shape} vertices for a head of {before.mesh.vertices_neutral_head.shape}")
    moved = to_scene(neutral.astype(np.float64) - before.mesh.vertices_neutral_head).astype(np.float32)
    head = find(before.uuid)
    if head is None:
        raise LookupError("the head is no longer in this file; import it again")
    for part, obj in head.parts.items():
        if part not in before.rows or len(obj.data.vertices) != len(before.rows[part]):
            continue
        offset = moved[before.rows[part]]
        for name, points in _points(obj):
            start = before.positions.get((part, name))
            if start is not None:
                points.foreach_set("co", (start + offset).ravel())
        obj.data.update()
    skin = head.parts.get(HEAD_PART)
    if skin is not None and skin.data.shape_keys:
        for key in skin.data.shape_keys.key_blocks:
            if key.name in weights and not key.name.startswith(CORRECTIVE_PREFIX):
                key.value = weights[key.name]


def restore_shape(before: ShapeBefore) -> None:
    """Go back to the shape that was remembered."""
    reshape(before, before.mesh.vertices_neutral_head, before.weights)


def _points(obj: Any) -> list[tuple[str, Any]]:
    keys = obj.data.shape_keys
    named = [(key.name, key.points) for key in keys.key_blocks] if keys else []
    return [(BASIS, obj.data.vertices), *named]


def _dense_basis(mesh: Mesh) -> NDArray[np.float64]:
    parts = (mesh.expressions, mesh.correctives.offsets)
    shapes = [part.rows(row) for part in parts for row in range(len(part))]
    basis = np.zeros((len(shapes), *mesh.vertices_neutral_head.shape))
    for row, (vertices, offsets) in enumerate(shapes):
        basis[row, vertices] = offsets
    return basis.reshape(len(basis), -1).T
