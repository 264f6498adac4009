"""Offsets that fold faces or drive them through each other, made sound where they do and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from backend.head.registry import load_head
from synthdata.headmodel.restrain import IN_PEOPLE, Skin, least_cosine, sound_people
from synthdata.headmodel.skin import fold_cosines
from synthdata.headmodel.soundness import apart_from_contact, crossing_faces, folded_quads, surface_rows

TIP = np.array([0.0, -0.010, 0.118])
CHEEK = np.array([0.045, -0.020, 0.085])


@pytest.fixture(scope="module")
def head():
    return load_head("open")


@pytest.fixture(scope="module")
def skin(head):
    return Skin(head, IN_PEOPLE)


def near(head, place, size):
    """A symmetric bump ``(V,)`` of the given size round a place and its mirror image."""
    v = np.abs(head.mean_vertices[:, :1]), head.mean_vertices[:, 1:]
    return np.exp(
        -np.square(np.concatenate(v, 1) - np.abs(place) * [1, 0, 0] - place * [0, 1, 1]).sum(1) / size**2
    )


def test_a_pinched_cheek_unfolds_and_the_rest_keeps_its_offsets(head, skin):
    """One mode draws a vertex over its neighbours, the other moves the whole head."""
    pinch = np.zeros(head.mean_vertices.shape)
    vertex = int(np.linalg.norm(head.mean_vertices - CHEEK, axis=1).argmin())
    pinch[[vertex, head.mirror_vertex[vertex]], 1] = 0.006
    modes = np.stack([pinch, np.full(pinch.shape, [0.0, 0.0, 0.01])]).astype(np.float32)
    people = np.array([[1.0, 0.3], [0.5, -1.0], [-1.0, 0.0]])
    assert folded_quads(head.mean_vertices + modes[0], skin.quads).any()
    made = sound_people(skin, modes, people)
    for a in people:
        assert not folded_quads(head.mean_vertices + np.tensordot(a, made, 1), skin.quads).any()
    np.testing.assert_allclose(made[1], modes[1], atol=1e-6)  # nothing moves apart in it
    far = near(head, CHEEK, 0.015) < np.exp(-4.0)
    np.testing.assert_array_equal(made[:, far], modes[:, far])
    np.testing.assert_allclose(made[0], made[0][head.mirror_vertex] * [-1, 1, 1], atol=1e-6)


def test_a_nose_pulled_through_the_lip_comes_back(head, skin):
    drop = np.zeros(head.mean_vertices.shape)
    drop[:, 1:] = near(head, TIP, 0.010)[:, None] * [-0.018, -0.010]
    modes = drop[None].astype(np.float32)
    rows = surface_rows(head)
    away = apart_from_contact(head, rows)

    def crossed(known):
        return (crossing_faces(head.mean_vertices + known[0], head.triangles[rows]) & away).any()

    assert crossed(modes)
    made = sound_people(skin, modes, np.array([[1.0], [0.5]]))
    assert not crossed(made)
    assert np.abs(made).max() > 0.002  # a nose that hangs still


def test_least_cosine_is_the_smallest_of_all_people(head, skin):
    rng = np.random.default_rng(1)
    modes = (0.0003 * rng.standard_normal((2, *head.mean_vertices.shape))).astype(np.float32)
    people = rng.standard_normal((3, 2))
    some = skin.quads[::37]
    found = least_cosine(modes, head.mean_vertices, people, some)
    each = [
        fold_cosines((head.mean_vertices + np.tensordot(a, modes, 1)).astype(np.float64), some)
        for a in people
    ]
    np.testing.assert_allclose(found, np.minimum.reduce([np.ones(len(some)), *each]), atol=2e-3)
