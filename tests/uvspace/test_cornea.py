"""An iris that lies back shines as the cornea before it does."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
from synthetic_avatar import make_head

from backend.uvspace.cornea import with_corneal_normals
from backend.uvspace.normals import vertex_normals

RADIUS, REACH = 0.0078, 0.006
CENTRES = np.array([[0.03, 0.0, 0.08], [-0.03, 0.0, 0.08]])


def disc(points: int, radius: float) -> np.ndarray:
    """A grid ``(N, 2)`` of points within ``radius``."""
    x, y = np.meshgrid(*2 * [np.linspace(-radius, radius, points)])
    at = np.stack([x.ravel(), y.ravel()], 1)
    return at[np.linalg.norm(at, axis=1) <= radius * 1.0001]


def test_normals_below_a_cornea_are_its_own():
    flat, cap = disc(12, 0.009), disc(17, REACH)
    dome = np.c_[cap, np.sqrt(RADIUS**2 - (cap**2).sum(1))]
    back = np.array([[0.0, 0.0, -0.01]])
    eye = np.concatenate([np.c_[flat, np.full(len(flat), 0.010)], back])
    pieces = [CENTRES[0] + eye, CENTRES[1] + eye, CENTRES[0] + dome + [0, 0, 0.005]]
    start = np.cumsum([0, *map(len, pieces)])
    rows = [np.arange(a, b) for a, b in itertools.pairwise(start)]
    head = SimpleNamespace(
        mean_vertices=np.concatenate(pieces),
        eye_centres=CENTRES,
        part_names=("eye_left", "eye_right", "cornea_left"),
        triangles=np.concatenate([np.repeat(r[:, None], 3, 1) for r in rows]),
        triangle_part=np.repeat([0, 1, 2], [len(r) for r in rows]),
    )
    normals = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (start[-1], 1))
    normals[rows[2]] = dome / RADIUS
    out = with_corneal_normals(head, normals)

    under = np.linalg.norm(flat, axis=1) < 0.9 * REACH
    wanted = np.c_[flat[under], np.sqrt(RADIUS**2 - (flat[under] ** 2).sum(1))] / RADIUS
    cosine = (out[rows[0][:-1][under]] * wanted).sum(1)
    assert cosine.min() > np.cos(np.radians(4))
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1.0, atol=1e-5)
    beyond = np.r_[rows[0][:-1][np.linalg.norm(flat, axis=1) > REACH], rows[0][-1:], rows[1], rows[2]]
    np.testing.assert_array_equal(out[beyond], normals[beyond])


def test_heads_without_corneas_keep_their_normals():
    head = make_head()
    normals = vertex_normals(head.mean_vertices, head.triangles)
    assert with_corneal_normals(head, normals) is normals
