"""Closed lids of the shipped head: nothing of the eye shows, whatever else the face does."""

from __future__ import annotations

import numpy as np
import pytest

from backend.head.contact import Sheet, sampled
from backend.head.lids import CLEARANCE_M, LidLayout, Lids
from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at

OTHERS = (
    "eyeLookUp",
    "eyeLookDown",
    "eyeLookIn",
    "eyeLookOut",
    "eyeWide",
    "eyeSquint",
    "cheekSquint",
    "browOuterUp",
)
WIDTH_M, SIZE = 0.034, 160


@pytest.fixture(scope="module")
def head():
    return load_head("open")


def seen_mm2(head, weights, side=0):
    """How much of eyeball and cornea a camera in front of the eye sees."""
    vertices = head.shape(np.zeros(0), np.array([weights.get(n, 0.0) for n in head.expression_names]))
    name = ("left", "right")[side]

    def faces(*parts):
        return head.triangles[np.isin(head.triangle_part, [head.part_names.index(p) for p in parts])]

    camera = look_at(tuple(float(x) for x in head.eye_centres[side]), 0, 0, 0.5, WIDTH_M, SIZE)
    eye = rasterise_camera(vertices, faces(f"eye_{name}", f"cornea_{name}"), camera)
    skin = rasterise_camera(vertices, faces("skin", "sockets"), camera)
    seen = eye.covered & (~skin.covered | (skin.depth > eye.depth))
    return float(seen.sum()) * (1e3 * WIDTH_M / SIZE) ** 2


def test_an_open_eye_is_seen(head):
    assert seen_mm2(head, {}) > 100.0  # or the other tests could not fail


@pytest.mark.parametrize("other", OTHERS)
def test_closed_lids_hide_the_eye(head, other):
    for weight in (0.0, 0.5, 1.0):
        assert seen_mm2(head, {"eyeBlinkLeft": 1.0, f"{other}Left": weight}) < 2.0


def test_closed_lids_hide_the_eye_in_threes_and_on_the_right(head):
    assert seen_mm2(head, {"eyeBlinkRight": 1, "eyeLookUpRight": 1, "eyeSquintRight": 1}, side=1) < 2.0
    assert seen_mm2(head, {"eyeBlinkRight": 1, "eyeWideRight": 1, "cheekSquintRight": 1}, side=1) < 2.0


def test_closed_lids_stay_where_the_blink_puts_them(head):
    """Upper lids neither stop short of the lower ones nor run past them when the eyes look down."""
    names = head.expression_names
    lashes = np.unique(head.triangles[head.triangle_part == head.part_names.index("lashes")])
    blink, both = np.zeros((2, len(names)))
    blink[names.index("eyeBlinkLeft")] = both[names.index("eyeBlinkLeft")] = 1.0
    alone = head.shape(np.zeros(0), blink)
    for other in ("eyeLookDownLeft", "eyeWideLeft", "eyeSquintLeft"):
        both[names.index(other)] = 1.0
        moved = np.linalg.norm(head.shape(np.zeros(0), both) - alone, axis=1)[lashes]
        assert moved.max() < 0.0015  # at most out over the turned cornea
        both[names.index(other)] = 0.0


def test_contact_keeps_a_sheet_over_a_ball_and_leaves_its_border():
    """A flat sheet that a ball pokes through by 3 mm lies on it afterwards."""
    line = np.linspace(-0.03, 0.03, 25)
    x, y = np.meshgrid(line, line)
    flat = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    cell = (np.arange(24)[:, None] * 25 + np.arange(24)).ravel()
    triangles = np.concatenate(
        [np.stack([cell, cell + 1, cell + 26], 1), np.stack([cell, cell + 26, cell + 25], 1)]
    )
    free = (np.abs(flat[:, :2]) < 0.024).all(1)
    centre, radius = np.array([0.0, 0.0, -0.017]), 0.020

    def missing(points):
        arm = points - centre
        distance = np.linalg.norm(arm, axis=1)
        return radius - distance, arm / distance[:, None]

    moved = Sheet(flat, triangles.astype(np.int32), free).clear(flat, triangles.astype(np.int32), missing)
    assert not moved[~free].any()
    assert (np.linalg.norm((flat + moved)[triangles].mean(1) - centre, axis=1) > radius - 5e-5).all()
    assert np.linalg.norm(moved, axis=1).max() < 0.005


def test_half_closed_lids_pass_over_the_cornea(head):
    """The cornea stands out of the eyeball by 1.5 mm; a lid on a straight way would sink into it."""
    lids = Lids(LidLayout(head))
    for weight in (0.4, 0.5, 0.75):
        weights = np.array([weight * (name == "eyeBlinkLeft") for name in head.expression_names])
        shown = head.shape(np.zeros(0), weights).astype(np.float64)
        below, _ = lids.missing(np.eye(3))(sampled(shown, lids.layout.surface))
        assert below.max() - CLEARANCE_M < 0.0001
