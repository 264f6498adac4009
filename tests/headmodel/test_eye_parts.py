"""Eyeball, cornea, tear line and lashes on an eye of known shape, a sphere with elliptic lids; brows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.head.arkit import ARKIT_NAMES
from backend.head.eyeball import LIMBUS_RADIUS_M
from synthdata.headmodel.brows import BROW_LINE, COUNT, LENGTH_M, build_brows
from synthdata.headmodel.cornea import build_cornea
from synthdata.headmodel.eyes import RINGS, SECTION_M, Eyeball, build_eye
from synthdata.headmodel.lashes import LOWER, UPPER, build_lashes
from synthdata.headmodel.lid_edge import LidEdge, over_eyeball
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored
from synthdata.headmodel.tear_line import build_tear_line

RADIUS = 0.0157
CENTRE = np.array([0.031, 0.036, 0.08])
COLUMNS = 48


@pytest.fixture(scope="module")
def eyeball() -> Eyeball:
    return Eyeball(CENTRE, RADIUS, np.arange(4), np.eye(4, 12))


def lids(lower_by: float = 0.0, upper_turn_deg: float = 0.0) -> np.ndarray:
    """Five rings of lids ``(5 · COLUMNS, 3)``, the innermost last: they rise from below the eyeball."""
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    rings = []
    for width, height in (
        (0.014, 0.004),
        (0.013, 0.002),
        (0.012, 0.0012),
        (0.0112, -0.0002),
        (0.0115, -0.001),
    ):
        x, y = width * np.cos(angle), 0.55 * width * np.sin(angle)
        direction = np.c_[x, y, np.sqrt(RADIUS**2 - x**2 - y**2)] / RADIUS
        point = direction * (RADIUS + height)
        share = np.clip(np.sin(angle), 0, None)[:, None]
        closing = Rotation.from_rotvec(np.radians(upper_turn_deg) * share * np.array([1.0, 0, 0]))
        point = closing.apply(point)
        point[:, 1] -= lower_by * np.clip(-np.sin(angle), 0, None)
        rings.append(CENTRE + point)
    return np.concatenate(rings)


@pytest.fixture(scope="module")
def skin() -> PartHalf:
    rest = lids()
    own = {name: np.zeros_like(rest) for name in ARKIT_NAMES}
    own["eyeBlinkLeft"] = lids(upper_turn_deg=35.0) - rest
    own["mouthSmileLeft"] = lids(lower_by=-0.001) - rest
    return PartHalf(
        "skin", "skin", rest, np.zeros((0, 4), np.int32), np.zeros((0, 2)), np.zeros((0, 4), np.int32),
        lambda offsets: np.asarray(offsets)[..., : len(rest), :], own, same_chart_mirrored,
    )  # fmt: skip


@pytest.fixture(scope="module")
def edge(skin, eyeball) -> LidEdge:
    rings = list(np.arange(5 * COLUMNS).reshape(5, COLUMNS))
    return LidEdge.of(SimpleNamespace(eye_rings=rings), skin.vertices, eyeball)


def faces_outward(part: PartHalf) -> bool:
    p = part.vertices[part.quads]
    normal = np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1])
    return bool(((normal * (p.mean(1) - CENTRE)).sum(1) > 0).all())


def test_iris_lies_back_within_the_limbus(eyeball):
    part = build_eye(eyeball)
    r = np.linalg.norm((part.uvs - 0.5) / 0.49, axis=1)
    local = part.vertices - CENTRE
    across, distance = np.hypot(local[:, 0], local[:, 1]), np.linalg.norm(local, axis=1)
    np.testing.assert_allclose(across[np.isclose(r, 0.5)], LIMBUS_RADIUS_M)
    np.testing.assert_allclose(distance[r > 0.4999], RADIUS)
    assert (distance[r < 0.499] < RADIUS - 2e-4).all()
    pupil, iris = local[r < 0.15, 2].mean(), local[(r > 0.25) & (r < 0.45), 2].mean()
    assert iris - pupil > 3e-4, "the pupil is a pit"
    assert faces_outward(part)
    assert 0.5 in RINGS
    assert SECTION_M[-1] == (0.5, 0.0)


def test_cornea_vaults_the_iris_and_ends_below_the_white(eyeball):
    eye, part = build_eye(eyeball), build_cornea(eyeball)
    local = part.vertices - CENTRE
    across, distance = np.hypot(local[:, 0], local[:, 1]), np.linalg.norm(local, axis=1)
    assert (distance[across < 0.95 * LIMBUS_RADIUS_M] > RADIUS).all()
    assert (distance[across > 0.98 * across.max()] < RADIUS).all()
    iris = (eye.vertices - CENTRE)[:, 2][np.linalg.norm(eye.uvs - 0.5, axis=1) < 0.49 * 0.4]
    chamber = local[:, 2].max() - iris.max()
    assert 0.0025 < chamber < 0.004  # anatomy: 2.5 to 4 mm
    assert faces_outward(part)


def test_cornea_turns_with_the_eyeball(eyeball):
    look = {}
    for part in (build_eye(eyeball), build_cornea(eyeball)):
        before = part.vertices - CENTRE
        after = before + part.own_expressions["eyeLookOutLeft"]
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1))
        look[part.name], _ = Rotation.align_vectors(after, before)
        assert not part.own_expressions["jawOpen"].any()
    turned = look["eye_left"].inv() * look["cornea_left"]
    assert turned.magnitude() < 1e-6
    grown = np.zeros((4, 3))
    grown[1, 0] = 0.001  # the fixture's solver reads growth from here
    assert np.linalg.norm(build_cornea(eyeball).carry(grown), axis=1).max() == pytest.approx(0.0011, rel=0.1)


def test_tear_line_lies_between_lower_lid_and_eyeball(eyeball, skin, edge):
    part = build_tear_line(None, skin, edge)
    lid, middle, eye = part.vertices.reshape(3, -1, 3)
    assert (part.vertices[:, 1] < CENTRE[1] + 0.002).all()
    inner = slice(4, -4)
    dip = over_eyeball(eye[inner], eyeball)
    assert ((dip < -5e-5) & (dip > -2e-4)).all(), "its rim dips below the white"
    assert (over_eyeball(middle[inner], eyeball) > 0).all()
    assert np.linalg.norm(part.vertices - CENTRE, axis=1).max() < RADIUS + 0.001
    assert faces_outward(part)
    raised = part.vertices + part.own_expressions["mouthSmileLeft"]
    moved = (raised - part.vertices).reshape(3, -1, 3)[:, lid.shape[0] // 2]
    assert (moved[:, 1] > 0.0006).all()
    assert (np.abs(over_eyeball(raised.reshape(3, -1, 3)[2, inner], eyeball)) < 2e-4).all()


def test_tear_line_spans_from_a_lid_to_an_eyeball_that_differ(eyeball, skin, edge):
    part = build_tear_line(None, skin, edge)
    grown = np.zeros(skin.vertices.shape)
    grown[1, 0] = 0.001  # of the eyeball's radius, for the fixture's solver; the lids keep still
    lid, middle, eye = part.carry(grown).reshape(3, -1, 3)
    outward = part.vertices.reshape(3, -1, 3)[2] - CENTRE
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert not lid.any()
    np.testing.assert_allclose(eye, 0.001 * outward, rtol=0.02, atol=1e-5)
    np.testing.assert_allclose(middle, 0.5 * eye)


def test_lashes_curl_away_from_the_eye_and_come_down_with_the_lid(eyeball, skin, edge):
    part = build_lashes(None, skin, edge)
    again = build_lashes(None, skin, edge)
    np.testing.assert_array_equal(part.vertices, again.vertices)
    assert (np.diff(np.sort(part.quads, 1), axis=1) > 0).all()

    def strands(vertices, row, start):
        size = 2 * len(row.sections)
        return vertices[start : start + size * row.count].reshape(row.count, -1, 2, 3).mean(2)

    lower_start = 2 * len(UPPER.sections) * UPPER.count
    upper, lower = strands(part.vertices, UPPER, 0), strands(part.vertices, LOWER, lower_start)
    assert (upper[:, -1, 1] > upper[:, 0, 1]).mean() > 0.95
    assert (lower[:, -1, 1] < lower[:, 0, 1]).all()
    assert (over_eyeball(part.vertices, eyeball) > -5e-4).all()
    assert (upper[:, -1, 2] > upper[:, 0, 2]).mean() > 0.9
    for row, strand in ((UPPER, upper), (LOWER, lower)):
        length = np.linalg.norm(np.diff(strand, axis=1), axis=2).sum(1)
        assert row.shortest_m * 0.7 < length.min() < length.max() < row.longest_m * 1.3
        assert length.std() > 0.05 * length.mean()
    shut = part.vertices + part.own_expressions["eyeBlinkLeft"]
    down = strands(shut, UPPER, 0)
    middle = slice(UPPER.count // 3, 2 * UPPER.count // 3)
    assert (down[middle, -1, 1] < down[middle, 0, 1]).all(), "lashes of a closed lid point down"
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(down, axis=1), axis=2), np.linalg.norm(np.diff(upper, axis=1), axis=2)
    )
    assert np.abs(strands(shut, LOWER, lower_start) - lower).max() < 1e-3


def test_lashes_are_carried_with_their_place_on_the_lid(skin, edge):
    part = build_lashes(None, skin, edge)
    moved = part.carry(np.broadcast_to([0.001, -0.002, 0.003], skin.vertices.shape))
    np.testing.assert_allclose(moved, np.broadcast_to([0.001, -0.002, 0.003], moved.shape))


def test_brow_hairs_are_rooted_in_the_skin_and_lie_along_it():
    n = 40
    x, y = np.meshgrid(np.linspace(0, 0.08, n), np.linspace(0.03, 0.09, n))
    first = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    quads = np.stack([first, first + 1, first + n + 1, first + n], 1).astype(np.int32)
    bulge = 0.08 + 0.02 * np.cos(x / 0.04)
    flat = np.stack([x, y, bulge], -1).reshape(-1, 3)
    skin = PartHalf(
        "skin", "skin", flat, quads, flat[:, :2], quads,
        lambda offsets: np.asarray(offsets)[..., : len(flat), :], {}, same_chart_mirrored,
    )  # fmt: skip
    line = np.zeros((max(BROW_LINE) + 1, 3))
    line[list(BROW_LINE), 0] = np.linspace(0.012, 0.06, len(BROW_LINE))
    line[list(BROW_LINE), 1] = 0.06
    line[:, 2] = 0.08 + 0.02 * np.cos(line[:, 0] / 0.04)
    part = build_brows(SimpleNamespace(mean_vertices=line), skin)
    root, tip = part.vertices.reshape(COUNT, 2, 2, 3).mean(2).swapaxes(0, 1)

    def height(p):
        return p[:, 2] - 0.08 - 0.02 * np.cos(p[:, 0] / 0.04)

    assert np.abs(height(root)).max() < 3e-4
    assert (height(tip) > 2e-4).all()
    assert (height(tip) < 0.003).all()
    length = np.linalg.norm(tip - root, axis=1)
    assert length.max() < 1.3 * max(v for _, v in LENGTH_M)
    inner, outer = root[:, 0] < 0.02, root[:, 0] > 0.05
    lean = np.abs((tip - root)[:, 1]) / length
    assert lean[inner].mean() > 2 * lean[outer].mean(), "upright by the nose, lying by the temple"
    moved = part.carry(np.stack([0 * x, 0 * y, 0.001 + 0.5 * x], -1).reshape(-1, 3)).reshape(COUNT, 4, 3)
    np.testing.assert_allclose(moved[..., 2], np.repeat(0.001 + 0.5 * root[:, :1], 4, 1), atol=2e-4)
    np.testing.assert_array_equal(moved, moved[:, :1].repeat(4, 1))
