"""What each vertex sees past the head itself, direction by direction, as harmonics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.errors import Missing
from backend.shading import harmonics
from backend.shading.transfer import Transfer
from backend.uvspace.normals import vertex_normals

DIRECTIONS = 512  # half of them lie above a vertex's horizon
# Against Cycles degree 4 falls below 30 dB in linear light under a hard lamp, degree 6 stays above.
DEGREE, BOUNCE_DEGREE, VISIBILITY_DEGREE = 6, 2, 4
OFFSET_M = 1e-4  # rays start off the surface, or they would hit where they start


@dataclass(frozen=True)
class Degrees:
    """Up to which degree each part of the transfer is held."""

    direct: int = DEGREE
    bounce: int = BOUNCE_DEGREE
    visibility: int = VISIBILITY_DEGREE


def trace_transfer(
    vertices_head: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    degrees: Degrees = Degrees(),
    directions: int = DIRECTIONS,
    normals: F32 | None = None,
) -> Transfer:
    """The transfer of a closed or open surface of ``vertices_head`` ``(V, 3)`` metres.

    ``triangles`` ``(T, 3)`` are wound counter-clockwise from outside; those that hide nothing must have
    shrunk to a point (``ParametricHead.opaque_triangles``). ``normals`` ``(V, 3)`` are unit; by default
    smooth ones. The same directions are asked at every vertex, so the answer has no noise and is the same
    bytes each time. Raises: Missing without embree.
    """
    vertices = np.ascontiguousarray(vertices_head, np.float32)
    n = vertex_normals(vertices, triangles) if normals is None else np.asarray(normals, np.float32)
    scene = _Scene(vertices, triangles)
    most = max(degrees.direct, degrees.bounce, degrees.visibility)
    at, onto, strength = [], [], []
    share = 4 * np.pi / directions
    origins = vertices + np.float32(OFFSET_M) * n
    # By direction and vertex: the cosine of what is open, and 1 where the head is in the way.
    opened, hidden = np.zeros((2, directions, len(vertices)), np.float32)
    for number, towards in enumerate(harmonics.sphere_points(directions)):
        cosine = n @ towards.astype(np.float32)
        above = np.flatnonzero(cosine > 0)
        hit, weights = scene.first_hit(origins[above], towards)
        is_free = hit < 0
        free, blocked = above[is_free], above[~is_free]
        opened[number, free] = cosine[free]
        hidden[number, blocked] = 1
        lit = scene.outward[hit[~is_free]] @ towards < 0  # the inside of a surface reflects nothing
        for corner in range(3):
            at.append(blocked[lit])
            onto.append(triangles[hit[~is_free][lit], corner])
            strength.append((share / np.pi) * cosine[blocked[lit]] * weights[~is_free][lit, corner])
    values = share * harmonics.basis(harmonics.sphere_points(directions), most)
    direct = opened.T @ values[:, : harmonics.count(degrees.direct)].astype(np.float32)
    visibility = -(hidden.T @ values[:, : harmonics.count(degrees.visibility)].astype(np.float32))
    visibility[:, 0] += np.float32(2 * np.sqrt(np.pi))  # all is seen but for what is hidden
    return Transfer(
        direct.astype(np.float32),
        _bounced(at, onto, strength, direct[:, : harmonics.count(degrees.bounce)]),
        visibility.astype(np.float32),
    )


def _bounced(at: list[Any], onto: list[Any], strength: list[Any], direct: F32) -> F32:
    """What reaches vertices ``at`` from what is lit at the vertices ``onto``."""
    from scipy.sparse import csr_matrix

    size = (len(direct), len(direct))
    where = (np.concatenate(at), np.concatenate(onto))
    gathered = csr_matrix((np.concatenate(strength), where), size) @ direct
    return np.asarray(gathered, np.float32)


class _Scene:
    """A surface that rays are shot at."""

    def __init__(self, vertices: F32, triangles: NDArray[np.int32]) -> None:
        try:
            from embreex import rtcore_scene
            from embreex.mesh_construction import TriangleMesh
        except ImportError as error:
            raise Missing(
                "tracing a head needs embree; pip install 'likeness[train]' or embreex==4.4.0.post1"
            ) from error
        corners = vertices[triangles]
        self.outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._scene = rtcore_scene.EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(corners, np.float32))

    def first_hit(
        self, origins: F32, towards: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The triangle ``(N,)`` that rays from ``origins`` ``(N, 3)`` meet, −1: none; weights ``(N, 3)``."""
        along = np.ascontiguousarray(np.broadcast_to(towards.astype(np.float32), origins.shape))
        found = self._scene.run(np.ascontiguousarray(origins), along, output=True)
        u, v = found["u"], found["v"]
        return found["primID"].astype(np.int64), np.stack([1 - u - v, u, v], -1).astype(np.float32)
