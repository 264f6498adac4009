"""Where in the chart the other side of the face lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.uvspace.kernels import compiled, in_bands


def mirrored_corners(head: ParametricHead) -> F32:
    """UV ``(T, 3, 2)`` of the mirrored surface point of every triangle corner; NaN where there is none.

    A quad's mirror is the quad made of the mirrored vertices, so a chart seam on the symmetry plane
    keeps to its own side. Where no such quad exists, any skin UV of the mirrored vertex serves.
    """
    skin = np.flatnonzero(head.quad_part == 0)
    mirrored = np.where(head.quads >= 0, head.mirror_vertex[head.quads], -1)
    row_of = {tuple(sorted(corners)): q for q, corners in zip(skin, head.quads[skin].tolist(), strict=True)}
    quad_mirror = np.full(len(head.quads), -1, np.int64)
    for q, corners in zip(skin, mirrored[skin].tolist(), strict=True):
        quad_mirror[q] = row_of.get(tuple(sorted(corners)), -1)

    any_uv = np.full(len(head.mean_vertices), -1, np.int64)
    on_skin = head.triangle_part == 0
    any_uv[head.triangles[on_skin]] = head.triangle_uvs[on_skin]

    wanted = head.mirror_vertex[head.triangles]  # (T, 3)
    uv_row = any_uv[wanted]
    partner = quad_mirror[head.triangle_quad]  # (T,)
    has = partner >= 0
    candidates = head.quads[partner[has]]  # (n, 4)
    hit = candidates[:, None, :] == wanted[has][:, :, None]  # (n, 3, 4)
    found = hit.any(-1)
    uv_of_hit = np.take_along_axis(head.quad_uvs[partner[has]], hit.argmax(-1), axis=1)
    uv_row[has] = np.where(found, uv_of_hit, uv_row[has])

    uv = np.where(uv_row[..., None] >= 0, head.uvs[np.maximum(uv_row, 0)], np.nan)
    return uv.astype(np.float32)


@compiled
def _index(
    face_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    corners: NDArray[np.float32],
    size: int,
    start: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    for r in range(start, end):
        for c in range(face_id.shape[1]):
            f = face_id[r, c]
            if f < 0:
                continue
            u, v = 0.0, 0.0
            for k in range(3):
                u += barycentric[r, c, k] * corners[f, k, 0]
                v += barycentric[r, c, k] * corners[f, k, 1]
            if np.isfinite(u + v):
                out[r, c, 0] = min(max((1 - v) * size - 0.5, 0.0), size - 1.0)
                out[r, c, 1] = min(max(u * size - 0.5, 0.0), size - 1.0)


def mirror_index(
    head: ParametricHead, face_id: NDArray[np.int32], barycentric: F32, size: int | None = None
) -> F32:
    """Texel index ``(S, S, 2)`` (row, column; 0 is the first centre) of each texel's mirror image.

    −1 outside the chart. ``size`` is the side of the map to be sampled, the chart's own when None.
    """
    ids = np.ascontiguousarray(face_id)
    weights = np.ascontiguousarray(barycentric, np.float32)
    corners, side = mirrored_corners(head), size or face_id.shape[0]
    out = np.full((*face_id.shape, 2), -1, np.float32)
    in_bands(lambda start, end: _index(ids, weights, corners, side, start, end, out), len(out), 64)
    return out
