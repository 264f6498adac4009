"""The parametric head interface: S = mean + B_id·α + B_exp·δ, T = mean + B_tex·β (MARCUS, method 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_addon.correctives import Correctives

# Parts that are clear, or strands with gaps between: a word of their names. They hide nothing of the head.
SEE_THROUGH_WORDS = ("cornea", "tear", "fluid", "lash", "brow", "blend", "occlusion")


def is_see_through(part_name: str) -> bool:
    """Whether one looks through or between the part ``part_name`` at what lies behind it."""
    return any(word in part_name for word in SEE_THROUGH_WORDS)


@dataclass(frozen=True)
class SurfacePoints:
    """Named points on a head's surface: triangle and barycentric weights for each."""

    triangle: NDArray[np.int32]  # (N,) row of ParametricHead.triangles, −1 where the head has no such point
    barycentric: NDArray[np.float32]  # (N, 3)
    trust: NDArray[np.float32]  # (N,) in [0, 1]; 0 where triangle is −1

    def positions(
        self, vertices: NDArray[np.floating[Any]], triangles: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """``(N, 3)`` positions on ``vertices`` ``(V, 3)``; meaningless where ``triangle`` is −1."""
        corners = np.asarray(vertices, np.float64)[triangles[self.triangle]]
        return np.asarray(np.einsum("nk,nkc->nc", self.barycentric.astype(np.float64), corners))


@dataclass(frozen=True)
class ParametricHead:
    """A head model, linear but for its correctives. One vertex array holds skin, eyes, teeth and mouth.

    ``part`` tells them apart. Quads are the artist's mesh; ``triangles`` is its one fixed triangulation,
    used by fit, bake and export alike (quad ``q`` split into triangles listed in ``triangle_quad``).
    """

    name: str
    mean_vertices: NDArray[np.float32]  # (V, 3) head space, metres
    quads: NDArray[np.int32]  # (Q, 4), last −1 for a triangle
    quad_uvs: NDArray[np.int32]  # (Q, 4) rows of uvs
    quad_part: NDArray[np.uint8]  # (Q,) index into part_names
    part_names: tuple[str, ...]  # "skin" first (the only part in the skin chart), then e.g. "eye_left", …
    uvs: NDArray[np.float32]  # (U, 2) in [0, 1], origin bottom-left; each part has its own chart
    triangles: NDArray[np.int32]  # (T, 3)
    triangle_uvs: NDArray[np.int32]  # (T, 3)
    triangle_quad: NDArray[np.int32]  # (T,)
    identity_basis: NDArray[np.float32]  # (K_id, V, 3) metres per standard deviation
    expression_names: tuple[str, ...]  # ARKit names where the head has them
    expression_basis: NDArray[np.float32]  # (K_exp, V, 3) metres at weight 1
    albedo_mean: NDArray[np.float32]  # (V, 3) linear, in [0, 1]
    albedo_basis: NDArray[np.float32]  # (K_tex, V, 3) linear per standard deviation
    mediapipe: SurfacePoints  # the 478 Face Mesh points
    mirror_vertex: NDArray[np.int32]  # (V,) the vertex across the symmetry plane
    regions: dict[str, NDArray[np.float32]]  # (V,) each, in [0, 1]: lips, nose, brows, …
    eye_centres: NDArray[np.float32]  # (2, 3) metres on the mean head: subject's left, right
    weights_file: str | None  # safetensors path relative to backend/weights, when shipped
    weights_sha256: str | None
    licence: str
    ibug: SurfacePoints | None = None  # iBUG's 68 points (``correspondences.points68``), where known
    correctives: Correctives = field(default_factory=Correctives.none)

    @property
    def triangle_part(self) -> NDArray[np.uint8]:
        """(T,) index into ``part_names``."""
        part: NDArray[np.uint8] = self.quad_part[self.triangle_quad]
        return part

    @property
    def opaque_triangles(self) -> NDArray[np.int32]:
        """``triangles`` ``(T, 3)``, in which those of see-through parts have shrunk to a point.

        What decides what a camera sees rasterises these; rows keep their numbers.
        """
        clear = np.array([is_see_through(name) for name in self.part_names])
        if not clear.any():
            return self.triangles
        return np.where(clear[self.triangle_part][:, None], 0, self.triangles).astype(np.int32)

    def shape(
        self, identity: NDArray[np.floating[Any]], expression: NDArray[np.floating[Any]] | None = None
    ) -> NDArray[np.float32]:
        """Vertices ``(V, 3)`` in metres for ``identity`` ``(≤ K_id,)`` and ``expression`` ``(K_exp,)``."""
        a = np.asarray(identity, np.float32)
        v = self.mean_vertices + np.tensordot(a, self.identity_basis[: len(a)], 1)
        if expression is not None:
            v = v + np.tensordot(np.asarray(expression, np.float32), self.expression_basis, 1)
            if len(self.correctives):
                v = v + self.correctives.moved(expression, len(v))
        return v.astype(np.float32)

    def albedo(self, coefficients: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Linear vertex albedo ``(V, 3)``, clipped to [0, 1], for ``coefficients`` ``(≤ K_tex,)``."""
        b = np.asarray(coefficients, np.float32)
        t = self.albedo_mean + np.tensordot(b, self.albedo_basis[: len(b)], 1)
        return np.clip(t, 0.0, 1.0).astype(np.float32)
