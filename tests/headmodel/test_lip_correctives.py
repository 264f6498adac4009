"""Lips drawn aside in a smile: the trailing corner hides the teeth; the leading one is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at

WIDTH_M, SIZE = 0.08, 200


@pytest.fixture(scope="module")
def head():
    return load_head("open")


def weights_of(head, **weights):
    return np.array([weights.get(name, 0.0) for name in head.expression_names])


def bared_mm2(head, weights, yaw_deg=0.0):
    """How much of teeth and gums a camera before the mouth sees."""
    vertices = head.shape(np.zeros(0), weights)

    def faces(*parts):
        return head.triangles[np.isin(head.triangle_part, [head.part_names.index(p) for p in parts])]

    middle = vertices[head.regions["lips"] > 0.5].mean(0)
    camera = look_at(tuple(float(x) for x in middle), yaw_deg, 0, 0.5, WIDTH_M, SIZE)
    hard, soft = (
        rasterise_camera(vertices, faces(*p), camera) for p in (("teeth", "gums"), ("skin", "mouth"))
    )
    seen = hard.covered & (~soft.covered | (soft.depth > hard.depth))
    return float(seen.sum()) * (1e3 * WIDTH_M / SIZE) ** 2


def test_bared_teeth_are_seen(head):
    assert (
        bared_mm2(head, weights_of(head, mouthUpperUpLeft=1, mouthUpperUpRight=1)) > 20
    )  # or none could fail


@pytest.mark.parametrize(
    ("aside", "trailing", "yaw_deg"), [("Left", "Right", -35.0), ("Right", "Left", 35.0)]
)
def test_no_tooth_through_the_trailing_corner(head, aside, trailing, yaw_deg):
    for other in (0.0, 1.0):
        smiles = {f"mouthSmile{trailing}": 1.0, f"mouthSmile{aside}": other}
        weights = weights_of(head, **{f"mouth{aside}": 1.0}, **smiles)
        assert bared_mm2(head, weights) < 2.5
        assert bared_mm2(head, weights, yaw_deg) < 3.5


def test_the_leading_corner_keeps_its_way(head):
    both = head.shape(np.zeros(0), weights_of(head, mouthLeft=1, mouthSmileRight=1)).astype(np.float64)
    alone = head.mean_vertices + sum(
        head.expression_basis[head.expression_names.index(n)].astype(np.float64)
        for n in ("mouthLeft", "mouthSmileRight")
    )
    far_left = head.mean_vertices[:, 0] > 0.0201
    np.testing.assert_allclose(both[far_left], alone[far_left], atol=1e-7)
    assert np.linalg.norm(both - alone, axis=1).max() > 0.001
