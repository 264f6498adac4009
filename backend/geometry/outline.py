"""The face's outline: Face Mesh's oval points slide on the head with the view, so they are matched anew.

Landmark marching (in the manner of Zhu et al. 2015, "High-fidelity pose and expression normalization"):
for the current pose, each oval point of cheeks and jaw is paired with the face-region surface point
that reaches farthest outwards beside it, if that is where the surface turns away from the camera; only
the distance across the outline counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Observation
from backend.geometry import face_mesh
from backend.geometry.normals import vertex_normals
from backend.geometry.state import FitState
from backend.geometry.surface import LinearPoints, project_only
from backend.geometry.terms import LandmarkTerm, Loss, whitening
from backend.head.base import ParametricHead

MAX_CANDIDATES = 1000
WINDOW = 0.05  # half width along the outline in which candidates are sought, over the image scale
REACH = 0.25  # farther away across the outline than this, a pair is no match
RIM = 0.35  # cosine to the view below which a surface point can be the silhouette
FAR_SIDE_TRUST = 0.5  # oval points on the silhouette face away by nature: that must not silence them


@dataclass(frozen=True)
class Outline:
    """Oval points of cheeks and jaw with the surface points that may be their silhouette."""

    index: NDArray[np.intp]  # (M,) Face Mesh indices
    observed_px: F64  # (M, 2)
    tangents: F64  # (M, 2) unit, clockwise around the face in the picture
    importance: F64  # (M,) in [0, 1]
    candidates: LinearPoints  # (C) vertices of the face region
    normals: F64  # (C, 3) of the mean head, unit
    principal_px: tuple[float, float]

    def term(
        self,
        state: FitState,
        keep: NDArray[np.bool_],
        scale_px: float,
        sigma: float,
        loss: Loss,
        width: float,
    ) -> LandmarkTerm:
        """The pairs at ``state``; ``keep`` ``(478,)`` chooses points, ``sigma`` is over ``scale_px``."""
        p = project_only(self.candidates, state, self.principal_px)
        outward = np.stack([self.tangents[:, 1], -self.tangents[:, 0]], axis=1)
        offset = p[None] - self.observed_px[:, None]  # (M, C, 2)
        along = np.abs(np.einsum("mcx,mx->mc", offset, self.tangents))
        across = np.einsum("mcx,mx->mc", offset, outward)
        near = (along < WINDOW * scale_px) & (np.abs(across) < REACH * scale_px)
        best = np.where(near, across, -np.inf).argmax(1)
        on_rim = self._facing(state)[best] < RIM
        used = np.flatnonzero(near.any(1) & on_rim & keep[self.index] & (self.importance > 0))
        zero, one = np.zeros(len(used)), np.ones(len(used))
        white = whitening(sigma * scale_px / np.sqrt(self.importance[used]), one, zero, self.tangents[used])
        return LandmarkTerm(
            self.candidates.take(best[used]), self.observed_px[used], white, self.principal_px, loss, width
        )

    def _facing(self, state: FitState) -> F64:
        """Cosine ``(C,)`` between the candidates' normals and the direction to the camera."""
        p = (self.candidates.positions(state) - state.pivot) @ state.rotation.T + state.translation
        n = self.normals @ state.rotation.T
        return np.asarray(-(p * n).sum(1) / np.linalg.norm(p, axis=1))


def outline_of(
    observation: Observation, head: ParametricHead, principal_px: tuple[float, float]
) -> Outline | None:
    """The outline of ``observation``, or None where ``head`` names no ``face`` region."""
    if "face" not in head.regions:
        return None
    vertices = np.flatnonzero(head.regions["face"] > 0.5)
    vertices = vertices[:: max(1, len(vertices) // MAX_CANDIDATES)]
    seen = np.asarray(observation.landmarks_px, np.float64)
    lower = np.array([k not in face_mesh.FOREHEAD_OVAL for k in face_mesh.FACE_OVAL])
    index = np.array(face_mesh.FACE_OVAL)[lower]
    inside = ((seen[index] > 0) & (seen[index] < [observation.photo.width, observation.photo.height])).all(1)
    visible = np.asarray(observation.landmarks_visible, np.float64)[index]
    # Without correctives: they move lids and lips, which are nowhere near the outline.
    basis = np.concatenate([head.identity_basis[:, vertices], head.expression_basis[:, vertices]])
    return Outline(
        index=index,
        observed_px=seen[index],
        tangents=face_mesh.oval_tangents(seen)[lower],
        importance=np.where(inside, np.maximum(visible, FAR_SIDE_TRUST), 0.0),
        candidates=LinearPoints(
            head.mean_vertices[vertices].astype(np.float64), np.moveaxis(basis, 0, -1).astype(np.float64)
        ),
        normals=vertex_normals(head.mean_vertices, head.triangles)[vertices],
        principal_px=principal_px,
    )
