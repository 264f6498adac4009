"""The skin's UV chart: Blender's minimum-stretch unwrap (SLIM), made symmetric, upright and one-to-one.

The seam runs up the back midline and on over the crown. The face is enlarged by smooth monotone warps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

MARGIN = 0.004


def unwrap(vertices: F64, quads: I32, seam: set[int], share: F64, iterations: int) -> F64:
    """UV ``(Q, 4, 2)`` of every quad corner by Blender's MINIMUM_STRETCH, in its own pose and scale.

    ``seam`` vertices are cut along the edges between them; ``share`` ``(V,)`` in [0, 1] raises a
    vertex's part of the texture. Raises: ImportError without the bpy module.
    """
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = bpy.data.meshes.new("skin")
    mesh.from_pydata(vertices.tolist(), [], quads.tolist())
    item = bpy.data.objects.new("skin", mesh)
    bpy.context.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    item.select_set(True)
    mesh.uv_layers.new(name="skin")
    for edge in mesh.edges:
        edge.use_seam = edge.vertices[0] in seam and edge.vertices[1] in seam
    group = item.vertex_groups.new(name="share")
    for k, s in enumerate(share):
        group.add([k], float(s), "REPLACE")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.unwrap(
        method="MINIMUM_STRETCH",
        fill_holes=True,
        iterations=iterations,
        use_weights=True,
        weight_group="share",
        weight_factor=1.0,
        no_flip=True,
        margin=0.0,
    )
    bpy.ops.object.mode_set(mode="OBJECT")
    flat = np.zeros(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers[0].data.foreach_get("uv", flat)
    return flat.reshape(-1, 4, 2).astype(np.float64)


def half_chart(left: F64, right: F64, half_quads: I32, front: NDArray[np.intp], top: int, bottom: int) -> F64:
    """UV ``(N, 2)`` of the left half's vertices, u ≥ 0.5, from raw corner UVs of both halves.

    ``left`` and ``right`` ``(Q, 4, 2)`` belong to the same half quads (right: the mirrored quad's corners
    in the left quad's order). ``front`` lists midline vertices that are not on the seam; ``top`` and
    ``bottom`` are two of them, high and low, which set the chart upright.
    """
    count = int(half_quads.max()) + 1
    a, b = _per_vertex(left, half_quads, count), _per_vertex(right, half_quads, count)
    up = a[top] - a[bottom]
    up /= np.linalg.norm(up)
    turn = np.array([[up[1], -up[0]], up])  # takes `up` to +v
    a, b = a @ turn.T, b @ turn.T
    axis = 0.5 * (a[front, 0] + b[front, 0]).mean()
    a[:, 0] -= axis
    b[:, 0] = axis - b[:, 0]
    uv = 0.5 * (a + b)
    if uv[:, 0].mean() < 0:
        raise ValueError("the unwrapped chart is mirrored")
    uv[front, 0] = 0.0
    return _untangle(uv, half_quads, front)


def fit_square(uv: F64, face: NDArray[np.intp], zoom: tuple[float, float]) -> F64:
    """Scale a half chart (u ≥ 0, axis u = 0) into [0.5, 1]×[0, 1], ``face`` enlarged by ``zoom``."""
    u = uv[:, 0] / uv[:, 0].max()
    low, high = uv[:, 1].min(), uv[:, 1].max()
    v = (uv[:, 1] - low) / (high - low)
    middle = float(np.median(v[face]))
    u = _warp(u, 0.0, 0.45, zoom[0])
    v = _warp(v, middle, 0.30, zoom[1])
    return np.stack([0.5 + (0.5 - MARGIN) * u, MARGIN + (1 - 2 * MARGIN) * v], 1)


def _warp(x: F64, centre: float, width: float, zoom: float) -> F64:
    """Monotone map of [0, 1] onto itself whose slope peaks at ``centre``, ``zoom`` times that far away."""
    grid = np.linspace(0, 1, 2001)
    slope = 1 + (zoom - 1) * np.exp(-(((grid - centre) / width) ** 2))
    total = np.r_[0.0, np.cumsum(0.5 * (slope[1:] + slope[:-1]))]
    return np.interp(x, grid, total / total[-1])


def _per_vertex(corner_uv: F64, quads: I32, count: int) -> F64:
    total = np.zeros((count, 2))
    np.add.at(total, quads.ravel(), corner_uv.reshape(-1, 2))
    return total / np.bincount(quads.ravel(), minlength=count)[:, None]


def folded(uv: F64, quads: I32) -> NDArray[np.bool_]:
    """``(Q,)`` whether any corner of a flat quad turns the wrong way (clockwise or straight)."""
    bad = np.zeros(len(quads), bool)
    for k in range(4):
        p, q, r = uv[quads[:, k - 1]], uv[quads[:, k]], uv[quads[:, (k + 1) % 4]]
        e, f = q - p, r - q
        size = np.linalg.norm(e, axis=1) * np.linalg.norm(f, axis=1)
        bad |= e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0] <= 0.02 * size
    return bad


def _untangle(uv: F64, quads: I32, front: NDArray[np.intp]) -> F64:
    """Relax the neighbourhood of folded quads towards neighbour means until none is left."""
    uv = uv.copy()
    count = len(uv)
    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    edges = np.unique(np.sort(edges, 1), axis=0)
    use = np.bincount(edges.ravel(), minlength=count)
    border = _border(quads, count)
    on_front = np.zeros(count, bool)
    on_front[front] = True
    for _ in range(400):
        bad = folded(uv, quads)
        if not bad.any():
            return uv
        move = np.zeros(count, bool)
        move[quads[bad].ravel()] = True
        for _ in range(2):
            near = move[quads].any(1)
            move[quads[near].ravel()] = True
        move &= ~border | on_front
        total = np.zeros((count, 2))
        np.add.at(total, edges[:, 0], uv[edges[:, 1]])
        np.add.at(total, edges[:, 1], uv[edges[:, 0]])
        target = total / np.maximum(use, 1)[:, None]
        target[on_front, 0] = 0.0
        uv[move] = 0.5 * uv[move] + 0.5 * target[move]
    raise ValueError(f"{int(folded(uv, quads).sum())} quads of the chart stay folded")


def _border(quads: I32, count: int) -> NDArray[np.bool_]:
    edges = np.sort(np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)]), 1)
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    border = np.zeros(count, bool)
    border[unique[uses == 1].ravel()] = True
    return border
