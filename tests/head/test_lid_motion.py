"""Lids of people far from the mean head: closed ones hide the eye, half-closed ones pass over the cornea."""

from __future__ import annotations

import numpy as np
import pytest
from eyelids import cut_m
from synthetic_avatar import make_head

from backend.head.contact import sampled
from backend.head.eyeball import GAZES_DEG, turn, turn_of
from backend.head.lid_motion import MIRROR_X, eye_centres, fitted_lids, person_vertices, rested_eyes
from backend.head.lids import CLEARANCE_M, LidLayout, Lids
from backend.head.meshing import vertices_of
from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_camera
from synthdata.headmodel.preview import look_at

WIDTH_M, SIZE = 0.034, 160
SEEDS = (1, 5)  # people whose eyes the mean head's blink leaves open


@pytest.fixture(scope="module")
def head():
    return load_head("open")


@pytest.fixture(scope="module", params=SEEDS)
def person(head, request):
    """Neutral vertices, and the head with lids for them."""
    neutral = rested_eyes(head, drawn_person(head, request.param))
    return neutral, fitted_lids(head, neutral)


def drawn_person(head, seed):
    drawn = np.random.default_rng(seed).standard_normal(len(head.identity_basis))
    return head.shape(np.clip(drawn, -2.5, 2.5))


def shown(head, neutral, weights):
    w = np.array([weights.get(n, 0.0) for n in head.expression_names], np.float32)
    return neutral + np.tensordot(w, head.expression_basis, 1) + head.correctives.moved(w, len(neutral))


def seen_mm2(head, neutral, weights, side):
    """How much of eyeball and cornea a camera in front of the eye sees."""
    vertices = shown(head, neutral, weights)

    def faces(*parts):
        return head.triangles[np.isin(head.triangle_part, [head.part_names.index(p) for p in parts])]

    eye = faces(f"eye_{side}", f"cornea_{side}")
    camera = look_at(tuple(float(x) for x in neutral[eye].mean((0, 1))), 0, 0, 0.5, WIDTH_M, SIZE)
    front = rasterise_camera(vertices, eye, camera)
    skin = rasterise_camera(vertices, faces("skin", "sockets"), camera)
    seen = front.covered & (~skin.covered | (skin.depth > front.depth))
    return float(seen.sum()) * (1e3 * WIDTH_M / SIZE) ** 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_closed_lids_hide_a_persons_eyes(head, person, side):
    neutral, fitted = person
    s = side.capitalize()
    assert seen_mm2(head, neutral, {f"eyeBlink{s}": 1.0}, side) > 10.0  # or this could not fail
    for other in (None, "eyeLookUp", "eyeLookOut", "eyeWide", "eyeSquint"):
        weights = {f"eyeBlink{s}": 1.0} | ({f"{other}{s}": 1.0} if other else {})
        assert seen_mm2(fitted, neutral, weights, side) < 2.0


@pytest.mark.parametrize("aside", ["eyeLookInLeft", "eyeLookOutLeft"])
@pytest.mark.parametrize("pitch", ["eyeLookUpLeft", "eyeLookDownLeft"])
def test_closed_lids_cover_a_cornea_that_two_looks_turn(head, person, pitch, aside):
    neutral, fitted = person
    layout = LidLayout(head)
    posed = shown(fitted, neutral, {"eyeBlinkLeft": 1.0, pitch: 1.0, aside: 1.0}).astype(np.float64)
    below, _ = Lids(layout, neutral).missing(turn_of(pitch, aside))(sampled(posed, layout.surface))
    assert below.max() - CLEARANCE_M < 0.0001


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("looks", [("Down",), ("Up",), ("In",), ("Out",), ("Down", "Out"), ("Up", "In")])
def test_an_eyeball_that_a_bone_turns_stays_below_open_and_closed_lids(head, person, looks, weight):
    neutral, fitted = person
    layout, names = LidLayout(head), [f"eyeLook{look}Left" for look in looks]
    pitch, yaw = weight * np.sum([GAZES_DEG[name] for name in names], axis=0)
    over = {}
    for blink in (0.0, 0.5, 1.0):
        for made in (head, fitted):  # a bone turns the eyeball as a whole, shape keys move lids alone
            posed = shown(made, neutral, dict.fromkeys(names, weight) | {"eyeBlinkLeft": blink})
            lids = Lids(layout, neutral)
            below, _ = lids.missing(turn(pitch, yaw))(sampled(posed.astype(np.float64), layout.surface))
            over[blink, made is fitted] = below.max() - CLEARANCE_M
    assert max(over[b, True] for b in (0.0, 0.5, 1.0)) < 0.0006
    assert over[0.0, True] < over[0.0, False]


def test_half_closed_lids_pass_over_a_turned_cornea(head, person):
    neutral, fitted = person
    layout = LidLayout(head)
    for name in (None, "eyeLookOutLeft", "eyeLookInLeft", "eyeLookDownLeft"):
        weights = {"eyeBlinkLeft": 0.5} | ({name: 1.0} if name else {})
        gaze = turn(*GAZES_DEG[name]) if name else np.eye(3)
        posed = shown(fitted, neutral, weights).astype(np.float64)
        below, _ = Lids(layout, neutral).missing(gaze)(sampled(posed, layout.surface))
        assert below.max() - CLEARANCE_M < 0.0001


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_white_of_the_eye_does_not_cut_open_lids(head, side):
    neutral = drawn_person(head, 1)
    rested = rested_eyes(head, neutral)
    assert cut_m(head, neutral, side) > 0.0005  # or this could not fail
    assert cut_m(head, rested, side) < 0
    np.testing.assert_allclose(rested_eyes(head, rested), rested, atol=1e-4)


def test_the_iris_and_all_beside_the_eyes_stay(head):
    neutral = drawn_person(head, 1)
    moved = np.linalg.norm(rested_eyes(head, neutral) - neutral, axis=1)
    near = np.linalg.norm(neutral[:, None] - head.eye_centres[None], axis=2).min(1) < 0.03
    assert 0 < moved.max() < 0.002
    assert moved[~near].max() == 0
    assert moved[LidLayout(head).front].max() < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_eyes_turn_about_the_middle_of_what_shows(head, seed):
    neutral = drawn_person(head, seed)
    centres = eye_centres(head, neutral)
    for side, part in enumerate(("cornea_left", "cornea_right")):
        cornea = vertices_of(head, part)
        arm = head.mean_vertices[cornea] - head.eye_centres[side]
        ratio = np.linalg.norm(neutral[cornea] - centres[side], axis=1) / np.linalg.norm(arm, axis=1)
        assert np.ptp(ratio) < 1e-3  # the mean head's cornea, grown
    np.testing.assert_allclose(eye_centres(head, rested_eyes(head, neutral)), centres, atol=1e-6)


def test_an_expression_is_added_to_lids_at_rest(head):
    identity = np.full(len(head.identity_basis), 0.5, np.float32)
    expression = np.zeros(len(head.expression_names), np.float32)
    expression[head.expression_names.index("jawOpen")] = 0.7
    neutral, posed = person_vertices(head, identity, expression)
    moved = head.shape(identity, expression) - head.shape(identity)
    np.testing.assert_allclose(posed - neutral, moved, atol=1e-6)
    np.testing.assert_array_equal(neutral, rested_eyes(head, head.shape(identity)))


def test_both_sides_of_an_even_face_are_mirror_images(head):
    fitted = fitted_lids(head, head.mean_vertices)
    left, right = (
        fitted.expression_basis[head.expression_names.index(f"eyeBlink{s}")] for s in ("Left", "Right")
    )
    np.testing.assert_allclose(right, left[head.mirror_vertex] * MIRROR_X, atol=1e-6)


def test_what_lids_do_not_move_stays(head, person):
    _, fitted = person
    for name in ("jawOpen", "mouthSmileLeft", "browDownRight", "eyeSquintLeft"):
        row = head.expression_names.index(name)
        np.testing.assert_array_equal(fitted.expression_basis[row], head.expression_basis[row])
    known, made = (h.correctives.names(h.expression_names) for h in (head, fitted))
    assert set(known) <= set(made)
    assert len(set(made)) == len(made)


def test_a_head_without_lids_is_left_alone():
    plain = make_head()
    assert fitted_lids(plain, plain.mean_vertices) is plain
    np.testing.assert_array_equal(rested_eyes(plain, plain.mean_vertices), plain.mean_vertices)
