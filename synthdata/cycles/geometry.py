"""What a portrait's pixels show, as members of a record: labels, covers, and the head's own geometry."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, Camera
from backend.export.map_files import encode_png
from backend.head.base import ParametricHead
from backend.training import pictures
from backend.training.schema import DEPTH_STEP_M, LABELS
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from synthdata.cycles.cover import KINDS

_HALF = 0.5  # of a pixel that must be covered to bear a label
_VISIBLE_M = 0.004  # that a landmark may lie behind what the camera sees of the head
_SEEN = ("skin", "eyes", "mouth")  # labels under which a landmark shows


def geometry_members(
    head: ParametricHead, vertices_head: F32, camera: Camera, covers: F32, coverage: F32
) -> dict[str, bytes]:
    """The optional members of an instance (docs/dataset.md).

    ``covers`` ``(H, W, 9)`` in the order of ``cover.KINDS``, ``coverage`` ``(H, W)`` of the whole person.
    """
    labels = label_map(covers, coverage)
    seen = rasterise_camera(vertices_head, head.opaque_triangles, camera)
    inside = seen.covered
    normals = seen.interpolate(vertex_normals(vertices_head, head.triangles), head.triangles)
    turned = normals @ camera.world_to_camera[:, :3].T.astype(np.float32)
    turned /= np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-6)
    uv = seen.interpolate(head.uvs, head.triangle_uvs)
    depth = np.where(inside, seen.depth, 0)
    bare = covers[..., KINDS.index("skin")]
    shares = np.stack([bare, coverage, covers[..., KINDS.index("lens")]], -1)
    return {
        "labels.png": pictures.label_png(labels),
        "cover.png": encode_png(np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)),
        "depth.png": encode_png(np.rint(np.clip(depth / DEPTH_STEP_M, 0, 65535)).astype(np.uint16)),
        "normal_camera.png": encode_png(
            np.where(inside[..., None], np.rint(127.5 * (turned + 1)), 0).astype(np.uint8)
        ),
        "uv.png": encode_png(np.rint(65535 * np.dstack([uv, inside])).astype(np.uint16)),
        "face_id.png": encode_png((seen.triangle + 1).astype(np.uint16)),
        "landmarks.npy": pictures.array_bytes(landmarks(head, vertices_head, camera, seen.depth, labels)),
    }


def label_map(covers: F32, coverage: F32) -> np.ndarray:  # type: ignore[type-arg]
    """``(H, W)`` 0 beside the person, else 1 + the place in LABELS of what covers most; lenses come first."""
    order = [KINDS.index(name) for name in LABELS]
    shares = covers[..., order]
    best = shares.argmax(-1) + 1
    lens = shares[..., LABELS.index("lens")] > _HALF
    best = np.where(lens & (shares[..., LABELS.index("frame")] < _HALF), LABELS.index("lens") + 1, best)
    return np.where((coverage > _HALF) & (shares.max(-1) > 0.05), best, 0).astype(np.uint8)


def landmarks(
    head: ParametricHead,
    vertices_head: F32,
    camera: Camera,
    depth_m: F32,
    labels: np.ndarray,  # type: ignore[type-arg]
) -> F32:
    """The 478 Face Mesh points ``(478, 6)``: x, y in pixels, x, y, z in head space, 1 where it is seen.

    NaN where the head has no such point.
    """
    points = head.mediapipe.positions(vertices_head, head.triangles)
    pixels, depth = camera.project(points)
    height, width = depth_m.shape
    column, row = (np.floor(pixels[:, k]).astype(int) for k in (0, 1))
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    shown = np.isin(labels[at], [LABELS.index(name) + 1 for name in _SEEN])
    visible = within & shown & (depth < depth_m[at] + _VISIBLE_M)
    out = np.concatenate([pixels, points, visible[:, None]], 1).astype(np.float32)
    out[head.mediapipe.triangle < 0] = np.nan
    return np.asarray(out, np.float32)
