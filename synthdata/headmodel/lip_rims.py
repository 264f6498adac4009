"""The lips' inner rims: where a closed mouth's lips meet, found on the mesh rather than in pictures.

On every closed mouth Face Mesh puts the upper and the lower inner rim on one line. Points cast from
renders of an opened mouth lie up to 2.5 mm out on either lip's front, so that a fit takes a closed
mouth for an overclosed one and a smile for a narrower one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.head.base import ParametricHead, SurfacePoints
from backend.head.surface import closest_on

# Upper and lower inner rim, subject's right and left, from the middle outwards.
RIM_PAIRS = (
    (13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318), (191, 95), (415, 324),
)  # fmt: skip
SLAB_M = 0.0025  # half width across the mouth in which a pair's meeting point is sought
TOUCHING_M = 0.0005  # farther apart than the nearest approach by this, lips still meet


def on_lip_rims(points: SurfacePoints, head: ParametricHead) -> SurfacePoints:
    """``points`` with the inner rims moved to the foremost place where the neutral lips meet.

    Which lip a vertex belongs to is told by how far ``jawOpen`` carries it. Mirrored points stay each
    other's mirror image on a symmetric head.
    """
    mean = head.mean_vertices.astype(np.float64)
    jaw = np.linalg.norm(head.expression_basis[head.expression_names.index("jawOpen")], axis=1)
    skin = np.flatnonzero((head.triangle_part == 0) & (head.regions["lips"][head.triangles].min(1) > 0.5))
    lips = np.unique(head.triangles[skin])
    here = points.positions(mean, head.triangles)
    triangle, weight = points.triangle.copy(), points.barycentric.copy()
    for upper, lower in RIM_PAIRS:
        pair = [upper, lower]
        x = np.average(here[pair, 0], weights=points.trust[pair] + 1e-6)  # one of them may not be seen
        near = lips[np.abs(mean[lips, 0] - x) < SLAB_M]
        middle = 0.5 * (jaw[near].min() + jaw[near].max())
        above, below = near[jaw[near] < middle], near[jaw[near] >= middle]
        gap = np.linalg.norm(mean[above][:, None] - mean[below][None], axis=2)
        meets = above[gap.min(1) < gap.min() + TOUCHING_M]
        first = meets[mean[meets, 2].argmax()]
        second = below[gap[np.flatnonzero(above == first)[0]].argmin()]
        for index, vertex, own in ((upper, first, above), (lower, second, below)):
            chosen = skin[np.isin(head.triangles[skin], own).all(1)]
            target = np.array([[x, *mean[vertex, 1:]]])
            hit, barycentric = closest_on(target, mean, head.triangles[chosen])
            triangle[index], weight[index] = chosen[hit[0]], barycentric[0]
    return replace(points, triangle=triangle, barycentric=weight)
