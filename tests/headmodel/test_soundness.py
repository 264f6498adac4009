"""Faces that cross or fold, on meshes of which it is known."""

from __future__ import annotations

import numpy as np

from backend.head.registry import load_head
from synthdata.headmodel.eyes import o_grid_disc
from synthdata.headmodel.soundness import (
    apart_from_contact,
    crossing_faces,
    crossing_pairs,
    folded_quads,
    measure,
    random_identities,
    surface_rows,
)


def sphere(count: int, centre, radius: float = 1.0):
    """A latitude-longitude sphere as triangles."""
    theta = np.linspace(0.2, np.pi - 0.2, count)
    phi = np.linspace(0, 2 * np.pi, 2 * count, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    v = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(count - 1), np.arange(2 * count), indexing="ij")
    a, b = i * 2 * count + j, i * 2 * count + (j + 1) % (2 * count)
    c, d = a + 2 * count, b + 2 * count
    t = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return radius * v + np.asarray(centre), t.astype(np.int32)


def both(one, other):
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1] + len(one[0])])


def by_brute_force(v, t):
    """The same question asked of every pair by linear algebra, without a search grid."""
    hit = np.zeros(len(t), bool)
    for a in range(len(t)):
        for k in range(3):
            p, q = v[t[a, k]], v[t[a, (k + 1) % 3]]
            o, e, f = v[t[:, 0]], v[t[:, 1]] - v[t[:, 0]], v[t[:, 2]] - v[t[:, 0]]
            m = np.stack([e, f, np.broadcast_to(p - q, e.shape)], -1)
            free = (np.abs(np.linalg.det(m)) > 1e-12) & ~np.isin(t, t[a]).any(1)
            x = np.linalg.solve(m[free], (p - o[free])[..., None])[..., 0]
            inside = (x[:, :2] > 0).all(1) & (x[:, :2].sum(1) < 1) & (x[:, 2] > 0) & (x[:, 2] < 1)
            rows = np.flatnonzero(free)[inside]
            hit[rows] = True
            hit[a] |= len(rows) > 0
    return hit


def test_spheres_apart_do_not_cross_and_overlapping_ones_do_where_they_meet():
    assert not crossing_faces(*both(sphere(12, (0, 0, 0)), sphere(12, (2.5, 0.1, 0.2)))).any()
    v, t = both(sphere(12, (0, 0, 0)), sphere(12, (1.5, 0.1, 0.2)))
    hit = crossing_faces(v, t)
    assert hit.any()
    first = v[t[hit]].mean(1)[t[hit].max(1) < len(v) // 2]
    gap = np.linalg.norm(first - [1.5, 0.1, 0.2], axis=1)
    assert (np.abs(gap - 1) < 0.25).all()  # near the other sphere's surface


def test_against_every_pair_solved():
    rng = np.random.default_rng(3)
    v = rng.uniform(-1, 1, (120, 3))
    t = np.arange(120, dtype=np.int32).reshape(-1, 3)
    v = v.reshape(-1, 3, 3).mean(1, keepdims=True).repeat(3, 1).reshape(-1, 3) * 0.8 + 0.3 * v
    want = by_brute_force(v, t)
    assert 5 < want.sum() < len(t)
    np.testing.assert_array_equal(crossing_faces(v, t), want)
    pairs = crossing_pairs(v, t, want)
    np.testing.assert_array_equal(np.unique(pairs), np.flatnonzero(want))
    for pair in pairs:
        assert by_brute_force(v, t[pair]).all()


def test_folded_quads_are_found():
    points, quads = o_grid_disc(4, 3)
    flat = np.c_[points, np.zeros(len(points))]
    assert not folded_quads(flat, quads).any()
    inner = quads[0, 0]
    flat[inner, :2] += 0.6
    assert folded_quads(flat, quads).any()


def test_the_shipped_mean_is_sound_away_from_lips_and_lids():
    head = load_head("open")
    rows = surface_rows(head)
    away = apart_from_contact(head, rows)
    assert 0.5 < away.mean() < 0.95
    assert not (crossing_faces(head.mean_vertices, head.triangles[rows]) & away).any()
    (line,) = measure(head, iter([("mean", head.mean_vertices)]))
    assert line.startswith("1 meshes: 0 folded quads, 0 crossing")


def test_identities_stay_within_the_bound():
    drawn = random_identities(7, 500)
    assert drawn.shape == (500, 7)
    assert np.abs(drawn).max() == 2.5
    assert abs(drawn.std() - 1) < 0.05
