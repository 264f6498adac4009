"""The head's silhouette against the person's: ears and skull, of which no facial landmark tells.

Hair, hats and cloth only add to a head, so that the fitted head must lie inside the person mask. Where
bare skin reaches the mask's edge nothing was added, and the two outlines must agree. Pairs follow the
mask's signed distance field, as in edge-based fitting by closest points (Fitzgibbon 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Observation
from backend.geometry.state import FitState
from backend.geometry.surface import gather, project_only
from backend.geometry.terms import LandmarkTerm, whitening
from backend.head.base import ParametricHead
from backend.uvspace.rasterise import cropped_camera, rasterise_camera

FIELD_PX = 256  # side of the reduced masks: about 2 mm per pixel, the person network's own resolution
RIM_PX = 160  # side of the rendered head of which the rim is read
EXTENT = 2.4  # side of the window over the landmarks' extent: crown, ears, some neck
MAX_POINTS = 100
REACH = 0.3  # farther from the mask's edge than this, over the image scale, is no match
INWARD = 0.1  # how far inside the edge skin is looked for, over the image scale
HUBER_WIDTH = 2.0  # sigmas
NOT_SCALP_BELOW = 0.3  # neck weight above which a rim point says nothing: necks bend


@dataclass(frozen=True)
class Silhouette:
    """The person's outline about the head, as a distance field."""

    head: ParametricHead
    distance_px: F32  # (FIELD_PX, FIELD_PX) photo pixels, positive outside the person
    skin: F32  # (FIELD_PX, FIELD_PX) in [0, 1]
    corner_px: tuple[float, float]  # the window's corner in the photo
    side_px: float  # the window's side
    photo_size: tuple[int, int]  # width, height

    def term(self, state: FitState, scale_px: float, sigma: float) -> LandmarkTerm | None:
        """The rim of the head at ``state`` paired with the mask's edge; ``sigma`` is over ``scale_px``.

        Residuals count across the edge alone, at Huber's price: whole ears start far off and must still
        pull. None where no rim point has a partner.
        """
        triangle, barycentric = self._rim(state)
        if len(triangle) == 0:
            return None
        points = gather(self.head, triangle, barycentric)
        width_px, height_px = self.photo_size
        principal = (width_px / 2, height_px / 2)
        at = project_only(points, state, principal)
        distance, outward = self._distance(at)
        edge = at - distance[:, None] * outward
        bare = self._read(self.skin, edge - INWARD * scale_px * outward) > 0.5
        in_photo = ((edge > 2) & (edge < np.array([width_px, height_px]) - 2)).all(1)
        near = (np.abs(distance) < REACH * scale_px) & (np.linalg.norm(outward, axis=1) > 0.5)
        used = np.flatnonzero(in_photo & near & (bare | (distance > 0)))
        if len(used) == 0:
            return None
        tangent = np.stack([-outward[used, 1], outward[used, 0]], axis=1)
        zero, one = np.zeros(len(used)), np.ones(len(used))
        white = whitening(np.full(len(used), sigma * scale_px), one, zero, tangent)
        return LandmarkTerm(points.take(used), edge[used], white, principal, "huber", HUBER_WIDTH)

    def _rim(self, state: FitState) -> tuple[NDArray[np.int32], F64]:
        """Triangles and barycentric weights of at most MAX_POINTS surface points on the head's rim."""
        camera = cropped_camera(
            state.camera(*self.photo_size), *self.corner_px, RIM_PX, RIM_PX, RIM_PX / self.side_px
        )
        head = self.head
        shape = head.shape(state.identity, state.expression)
        seen = rasterise_camera(shape, head.opaque_triangles, camera)
        covered = np.pad(seen.triangle >= 0, 1, constant_values=True)  # the window's border is no rim
        middle = covered[1:-1, 1:-1]
        inner = covered[:-2, 1:-1] & covered[2:, 1:-1] & covered[1:-1, :-2] & covered[1:-1, 2:]
        row, column = np.nonzero(middle & ~inner)
        triangle = seen.triangle[row, column]
        usable = head.triangle_part[triangle] == 0
        if "neck" in head.regions:
            usable &= head.regions["neck"][head.triangles[triangle]].max(1) < NOT_SCALP_BELOW
        rows = np.flatnonzero(usable)
        rows = rows[:: max(1, int(np.ceil(len(rows) / MAX_POINTS)))]
        return triangle[rows], seen.barycentric[row[rows], column[rows]].astype(np.float64)

    def _distance(self, at: F64) -> tuple[F64, F64]:
        """Signed distance ``(N,)`` and the outward direction ``(N, 2)`` at photo pixels ``at``."""
        step = 1.5 * self.side_px / FIELD_PX
        x, y = np.array([step, 0.0]), np.array([0.0, step])
        slope = np.stack(
            [self._read(self.distance_px, at + d) - self._read(self.distance_px, at - d) for d in (x, y)],
            axis=1,
        )
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        outward = np.where(length > 0.5 * step, slope / np.maximum(length, 1e-9), 0.0)
        return self._read(self.distance_px, at), outward

    def _read(self, field: F32, at: F64) -> F64:
        """Bilinear values ``(N,)`` of a field at photo pixels ``(N, 2)``; its border repeats."""
        import cv2

        p = ((at - np.array(self.corner_px)) * (FIELD_PX / self.side_px) - 0.5).astype(np.float32)
        value = cv2.remap(
            field, p[:, None, 0], p[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(value[:, 0], np.float64)


def silhouette_of(observation: Observation, head: ParametricHead) -> Silhouette | None:
    """The person's outline about the face, or None where the mask has no edge there."""
    import cv2

    p = np.asarray(observation.landmarks_px, np.float64)
    low, high = p.min(0), p.max(0)
    side = EXTENT * float((high - low).max())
    x0, y0 = (low + high) / 2 - side / 2
    step = side / FIELD_PX
    matrix = np.array([[step, 0, x0 + step / 2 - 0.5], [0, step, y0 + step / 2 - 0.5]])
    person, skin = (
        cv2.warpAffine(
            _smoothed(mask, step), matrix, (FIELD_PX, FIELD_PX),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )
        for mask in (observation.person_mask, observation.skin_mask)
    )  # fmt: skip
    inside = (person > 0.5).astype(np.uint8)
    if inside.all() or not inside.any():
        return None
    outwards = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    inwards = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    # Each is measured from pixel centres; half a pixel leads from there to the edge between two pixels.
    distance = np.where(inside > 0, 0.5 - inwards, outwards - 0.5) * step
    return Silhouette(
        head=head,
        distance_px=distance.astype(np.float32),
        skin=np.asarray(skin, np.float32),
        corner_px=(float(x0), float(y0)),
        side_px=side,
        photo_size=(observation.photo.width, observation.photo.height),
    )


def _smoothed(mask: F32, step: float) -> F32:
    """``mask`` without detail that a grid of ``step`` pixels would alias."""
    import cv2

    if step <= 1.5:
        return np.ascontiguousarray(mask, np.float32)
    size = round(step)
    return np.asarray(cv2.blur(np.ascontiguousarray(mask, np.float32), (size, size)), np.float32)
