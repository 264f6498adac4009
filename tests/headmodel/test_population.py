"""The population behind the identity modes: traits, their transfer, principal modes against draws."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_head import small_head

from backend.errors import Missing
from backend.head.meshing import vertices_of
from backend.head.open_head import MIRROR_X, load_open_head, unfold
from synthdata.cases.morphs import SHAPES
from synthdata.headmodel import population
from synthdata.headmodel.follow import Follower, hold_lips
from synthdata.headmodel.heldout import held_out_families
from synthdata.headmodel.population import TraitShapes, importance_of, population_modes, smooth_fields
from synthdata.headmodel.reach import fresh_people, measure
from synthdata.headmodel.traits import BODIES, SIDES_AGREE, Trait, family_of, find_traits

HOLLOW = Trait("nose/nose-hump", ("nose/nose-hump-decr", "nose/nose-hump-incr"))
EARS = Trait(
    "ears/{}-ear-flap", tuple(f"ears/{side}-ear-flap-{end}" for end in ("decr", "incr") for side in "lr")
)


def shapes_on(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        with gzip.open(folder / f"{name}.target.gz", "wt") as file:
            file.write("# a comment\n0 .1 0 0\n")
    return folder


@pytest.mark.parametrize(
    ("target", "family"),
    [
        ("nose/nose-hump-incr", "nose/nose-hump"),
        ("eyes/l-eye-bag-in", "eyes/{}-eye-bag"),
        ("eyes/{}-eye-bag-decr", "eyes/{}-eye-bag"),
        ("head/head-square", "head/head-square"),
        ("nose/nose-compression-uncompress", "nose/nose-compression"),
    ],
)
def test_families_join_directions_and_sides(target: str, family: str):
    assert family_of(target) == family


def test_traits_pair_ends_and_sides_and_leave_poses_out(tmp_path: Path):
    ears = [f"ears/{s}-ear-wing-{e}" for s in "lr" for e in ("decr", "incr")]
    shapes_on(tmp_path, "nose/nose-hump-incr", "nose/nose-hump-decr", "head/head-oval", "head/head-trans-up")
    found = find_traits(shapes_on(tmp_path, *ears))
    by_family = {trait.family: trait.targets for trait in found}
    assert by_family.pop(BODIES)[0] == "macrodetails/african-female-young"
    assert by_family == {
        "nose/nose-hump": ("nose/nose-hump-decr", "nose/nose-hump-incr"),
        "head/head-oval": ("head/head-oval",),
        "ears/{}-ear-wing": tuple(f"ears/{s}-ear-wing-{e}" for e in ("decr", "incr") for s in "lr"),
    }
    without = find_traits(tmp_path, frozenset({"nose/nose-hump", BODIES}))
    assert {trait.family for trait in without} == {"head/head-oval", "ears/{}-ear-wing"}


def test_missing_shapes_are_named(tmp_path: Path):
    with pytest.raises(Missing, match="none of MakeHuman"):
        find_traits(tmp_path)
    with pytest.raises(Missing, match="nose-hump-decr"):
        find_traits(shapes_on(tmp_path, "nose/nose-hump-incr"))


def test_a_slider_is_at_one_end_and_both_sides_mostly_agree():
    rng = np.random.default_rng(1)
    weights = HOLLOW.draw(4000, rng)
    assert (weights >= 0).all()
    assert (weights.min(1) == 0).all()
    both = EARS.draw(20000, rng)
    left, right = both[:, 2] - both[:, 0], both[:, 3] - both[:, 1]
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(SIDES_AGREE, abs=0.02)
    bodies = Trait(BODIES, ("",) * 12).draw(500, rng)
    np.testing.assert_allclose(bodies.sum(1), 1.0)


def test_the_evaluation_basis_knows_no_direction_of_the_shapes_that_cases_use(shared_data: Path):
    kept = find_traits(shared_data / "makehuman", held_out_families())
    known = {target for trait in kept for target in trait.targets}
    assert len(kept) > 50
    for shape in SHAPES:
        stem = shape.format("l").rpartition("-")[0]
        assert shape.format("l") not in known
        assert shape.format("r") not in known
        if "head/" not in shape:  # head-oval has no direction, and head-age is no head-oval
            assert not {f"{stem}-{end}" for end in ("incr", "decr", "up", "down", "in", "out")} & known


@pytest.fixture(scope="module")
def modelled():
    """A small head, scans and traits that overlap in part, and the modes of their population."""
    head = small_head()
    v = head.mean_vertices.astype(np.float64)
    half = np.flatnonzero(v[:, 0] >= 0).astype(np.int32)
    parity = np.array([1, 1, -1], np.int8)
    waves = np.stack([np.cos(40 * v[:, 0]), np.sin(30 * v[:, 1]), np.sin(45 * v[:, 0])])
    ict = np.zeros((3, len(half), 3))
    ict[..., 2] = np.array([[4e-3], [2e-3], [1e-3]]) * waves[:, half]
    bump = np.exp(-((v[:, 0] - 0.02) ** 2 + v[:, 1] ** 2) / 0.015**2)[:, None] * [0, 0.006, 0.006]
    shapes = TraitShapes((HOLLOW,), (np.stack([-0.5 * bump, bump]).astype(np.float32),))
    return head, half, (ict, parity), shapes


def test_modes_hold_the_population_and_coefficients_are_standard_normal(modelled):
    head, half, (ict, parity), shapes = modelled
    modes, signs = population_modes(head, half, (ict, parity), shapes, 60)
    whole = unfold(modes.astype(np.float32), half, head.mirror_vertex, signs, MIRROR_X)
    flipped = whole[:, head.mirror_vertex] * MIRROR_X
    np.testing.assert_allclose(flipped, whole * signs[:, None, None], atol=1e-7)
    scans = unfold(ict.astype(np.float32), half, head.mirror_vertex, parity, MIRROR_X)
    rng = np.random.default_rng(5)
    reach = measure(
        replace(head, identity_basis=whole),
        [
            head.mean_vertices + np.tensordot(rng.standard_normal(3), scans, 1) + shapes.draw(rng)
            for _ in range(200)
        ],
    )
    assert reach.face_m.max() < 3e-4  # half of a millimetre's field is cut off at 60 modes
    # The three scans' directions are the strongest and keep their spread.
    assert 0.8 < np.sqrt(np.square(reach.coefficients[:, :2]).mean()) < 1.2
    weight = importance_of(head)
    strength = (np.square(whole).sum(2) * weight).sum(1)
    assert (strength[1:] < 1.1 * strength[:-1]).all()  # the triangles' areas are not quite even


def test_what_scans_explain_is_not_counted_twice(modelled):
    """A trait along a scan's own mode adds next to nothing; one that no scan knows is added whole."""
    head, half, (ict, parity), _ = modelled
    along = unfold(ict[:1].astype(np.float32), half, head.mirror_vertex, parity[:1], MIRROR_X)
    across = along[..., [2, 1, 0]] * [0.0, 0.0, 0.0] + along[..., [0, 2, 1]]
    none = TraitShapes((), ())
    weight = importance_of(head)

    def total(shapes: TraitShapes) -> float:
        modes, signs = population_modes(head, half, (ict, parity), shapes, 400)
        whole = unfold(modes.astype(np.float32), half, head.mirror_vertex, signs, MIRROR_X)
        return float((np.square(whole).sum(2) * weight).sum())

    trait = Trait("nose/nose-x", ("nose/nose-x",))
    variance = float(trait.moments[1])
    plain = total(none)
    own = float((np.square(along).sum(2) * weight).sum())
    assert total(TraitShapes((trait,), (along,))) - plain < 0.1 * variance * own
    added = total(TraitShapes((trait,), (across.astype(np.float32),))) - plain
    assert added == pytest.approx(variance * own, rel=0.05)


def test_the_smooth_field_has_the_spread_and_length_that_it_names():
    head = small_head()
    v = head.mean_vertices.astype(np.float64)
    half = np.flatnonzero(v[:, 0] >= 0).astype(np.int32)
    whole = np.concatenate(
        [
            unfold(
                field := smooth_fields(head, half, sign),
                half,
                head.mirror_vertex,
                np.full(len(field), sign, np.int8),
                MIRROR_X,
            )
            for sign in (1, -1)
        ]
    )
    covariance = np.einsum("mvc,mwc->vwc", whole, whole)
    distance = np.linalg.norm(v[:, None] - v[None], axis=2)
    expected = population.FIELD_M**2 * np.exp(-(distance**2) / (2 * population.FIELD_LENGTH_M**2))
    for axis in range(3):
        np.testing.assert_allclose(covariance[..., axis], expected, atol=0.03 * population.FIELD_M**2)


def test_reach_is_what_the_basis_cannot_make():
    """Targets inside basis, expressions and rigid motion leave nothing; an offset across the basis stays."""
    head = small_head()
    rng = np.random.default_rng(3)
    modes = np.zeros((2, len(head.mean_vertices), 3), np.float32)
    modes[..., 0] = 1e-3 * rng.standard_normal((2, len(head.mean_vertices)))
    head = replace(head, identity_basis=modes)
    inside = head.shape(np.array([1.5, -0.5]), np.array([0.7])) + np.array([0.002, -0.001, 0.003])
    found = measure(head, [inside.astype(np.float64)])
    assert found.face_m[0] < 1e-6
    np.testing.assert_allclose(found.coefficients[0], [1.5, -0.5], atol=1e-3)
    ripple = np.zeros((len(modes[0]), 3))
    ripple[:, 2] = 4e-4 * rng.choice([-1.0, 1.0], len(ripple))
    assert measure(head, [inside + ripple]).face_m[0] == pytest.approx(4e-4, rel=0.1)


@pytest.mark.slow
def test_follower_on_the_shipped_head_keeps_eyes_round_and_lips_together():
    head = load_open_head()
    skin = np.zeros(len(head.mean_vertices))
    skin[vertices_of(head, "skin")] = 1.0
    follow = Follower(head, skin)
    still = follow(np.tile([0.001, -0.002, 0.003], (len(skin), 1)) * skin[:, None])
    np.testing.assert_allclose(still, np.tile([0.001, -0.002, 0.003], (len(skin), 1)), atol=1e-6)
    # Stretching everything up from the mouth would part the lips.
    y = head.mean_vertices[:, 1].astype(np.float64)
    jaw = np.linalg.norm(head.expression_basis[head.expression_names.index("jawOpen")], axis=1)
    upper = (jaw < 0.005) * skin
    parted = follow(np.stack([0 * y, 0.003 * upper, 0 * y], 1))
    mouth = head.mediapipe.positions(head.mean_vertices + parted, head.triangles)
    assert abs(mouth[13, 1] - mouth[14, 1]) < 3e-4
    eye = vertices_of(head, "eye_left")
    swirl = follow(np.stack([0.01 * y, 0 * y, 0.01 * y], 1) * skin[:, None])[eye]
    np.testing.assert_allclose(swirl, np.tile(swirl[0], (len(eye), 1)), atol=1e-9)


@pytest.mark.slow
def test_identities_neither_part_nor_press_the_lips():
    """Modes that do so lose it, their mirror symmetry stays, and nothing moves away from the mouth."""
    head = load_open_head()
    parting = np.zeros((2, *head.mean_vertices.shape))
    jaw = np.linalg.norm(head.expression_basis[head.expression_names.index("jawOpen")], axis=1)
    parting[0, :, 1] = -0.2 * jaw  # opens by some millimetres
    parting[1, :, 0] = 0.003 * np.exp(-((head.mean_vertices[:, 1] - 0.05) ** 2) / 0.03**2)
    held = hold_lips(head, parting)

    def gap_mm(offsets, upper: int, lower: int) -> float:
        p = head.mediapipe.positions(head.mean_vertices + offsets, head.triangles)
        still = head.mediapipe.positions(head.mean_vertices, head.triangles)
        return 1e3 * float(np.linalg.norm(p[upper] - p[lower] - still[upper] + still[lower]))

    for upper, lower in ((13, 14), (82, 87), (312, 317)):
        assert gap_mm(parting[0], upper, lower) > 2.0
        assert gap_mm(held[0], upper, lower) < 0.4
    np.testing.assert_allclose(held[:, head.mirror_vertex, 1], held[:, :, 1], atol=2e-4)
    far = head.mean_vertices[:, 1] > 0.02
    assert np.abs(held - parting)[:, far].max() < 5e-5


@pytest.mark.slow
def test_fresh_people_differ_on_both_sides_and_are_repeatable():
    head = load_open_head()
    shapes = TraitShapes((HOLLOW,), (np.zeros((2, *head.mean_vertices.shape), np.float32),))
    ict = head.identity_basis[:3]
    once, again = (fresh_people(head, ict, shapes, 2, 7) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])
    uneven = once[0][head.mirror_vertex] * MIRROR_X - once[0]
    assert 1e-4 < np.abs(uneven).mean() < 0.02
    assert json.loads(json.dumps(measure(head, once).summary()))["heads"] == 2
