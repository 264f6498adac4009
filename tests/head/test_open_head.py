"""The shipped open head: symmetric, all quads, manifold, unfolded, one-to-one chart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.colour import linear_to_srgb
from backend.errors import BadInput, LikenessError, Missing
from backend.head.arkit import ARKIT_NAMES
from backend.head.eyeball import turn_of
from backend.head.open_head import load_open_head, unfold
from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_camera, rasterise_chart
from synthdata.headmodel.preview import look_at
from synthdata.headmodel.source import border_loops

MIRROR = np.array([-1.0, 1.0, 1.0], np.float32)


@pytest.fixture(scope="module")
def head():
    return load_head("open")


def skin_quads(head):
    return head.quads[head.quad_part == head.part_names.index("skin")]


def corner_cosines(points, quads):
    """Smallest cosine between any two corner normals of each quad (folded below 0)."""
    normals = []
    for k in range(4):
        p, q, r = points[quads[:, k - 1]], points[quads[:, k]], points[quads[:, (k + 1) % 4]]
        n = np.cross(q - p, r - q)
        normals.append(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-15))
    return np.min([(normals[i] * normals[j]).sum(1) for i in range(4) for j in range(i)], axis=0)


def test_all_faces_are_quads_with_distinct_corners(head):
    assert (head.quads >= 0).all()
    ordered = np.sort(head.quads, 1)
    assert (ordered[:, 1:] != ordered[:, :-1]).all()
    assert 12_000 <= len(np.unique(skin_quads(head))) <= 20_000
    assert len(head.mean_vertices) <= 28_000  # with eyes, mouth, lashes and brows


def test_triangles_split_the_quads_along_one_diagonal(head):
    np.testing.assert_array_equal(head.triangles[::2], head.quads[:, [0, 1, 2]])
    np.testing.assert_array_equal(head.triangles[1::2], head.quads[:, [0, 2, 3]])
    np.testing.assert_array_equal(head.triangle_quad, np.repeat(np.arange(len(head.quads)), 2))


def test_mesh_is_manifold_and_consistently_oriented(head):
    q = head.quads
    directed = np.concatenate([q[:, [k, (k + 1) % 4]] for k in range(4)])
    _, uses = np.unique(directed, axis=0, return_counts=True)
    assert uses.max() == 1  # no edge twice in one direction: at most two faces, oriented alike


def test_skin_and_linings_leave_only_the_neck_open(head):
    q = head.quads[np.isin(head.quad_part, [head.part_names.index(n) for n in ("skin", "mouth", "sockets")])]
    edges = np.sort(np.concatenate([q[:, [k, (k + 1) % 4]] for k in range(4)]), 1)
    unique, uses = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(unique[uses == 1])
    assert (head.mean_vertices[border, 1] < -0.12).all()


def test_parts_face_outward(head):
    for name in ("skin", "eye_left", "eye_right", "teeth", "tongue"):
        t = head.mean_vertices[head.triangles[head.triangle_part == head.part_names.index(name)]]
        t = t - t.reshape(-1, 3).mean(0)
        assert np.einsum("ij,ij->", t[:, 0], np.cross(t[:, 1], t[:, 2])) > 0, name


def test_exact_symmetry_of_mean_topology_and_albedo(head):
    m = head.mirror_vertex
    np.testing.assert_array_equal(m[m], np.arange(len(m)))
    np.testing.assert_array_equal(head.mean_vertices[m] * MIRROR, head.mean_vertices)
    faces = {frozenset(q) for q in head.quads.tolist()}
    assert all(frozenset(q) in faces for q in m[head.quads].tolist())
    np.testing.assert_array_equal(head.albedo_mean[m], head.albedo_mean)
    np.testing.assert_array_equal(head.albedo_basis[:, m], head.albedo_basis)


def test_identity_modes_are_symmetric_or_antisymmetric(head):
    flipped = head.identity_basis[:, head.mirror_vertex] * MIRROR
    for mode, other in zip(head.identity_basis, flipped, strict=True):
        assert np.array_equal(mode, other) or np.array_equal(mode, -other)


def test_left_and_right_expressions_mirror_each_other(head):
    assert head.expression_names == ARKIT_NAMES
    for k, name in enumerate(ARKIT_NAMES):
        if name.endswith("Left"):
            twin = ARKIT_NAMES.index(name.replace("Left", "Right"))
            gap = head.expression_basis[twin] - head.expression_basis[k][head.mirror_vertex] * MIRROR
            assert np.abs(gap).max() < 2e-5, name  # half precision


def test_no_folded_or_degenerate_quads_on_the_mean(head):
    q = skin_quads(head)
    p = head.mean_vertices.astype(np.float64)
    assert (corner_cosines(p, q) > 0).all()
    area = np.linalg.norm(np.cross(p[q[:, 2]] - p[q[:, 0]], p[q[:, 3]] - p[q[:, 1]]), axis=1) / 2
    assert area.min() > 1e-9  # square metres: edges of some 0.03 mm at the least


def test_random_identities_at_up_to_two_and_a_half_sigma_do_not_fold(head):
    rng = np.random.default_rng(11)
    q = skin_quads(head)
    folded = []
    for _ in range(8):
        a = np.clip(rng.standard_normal(len(head.identity_basis)), -2.5, 2.5)
        folded.append((corner_cosines(head.shape(a).astype(np.float64), q) < 0).sum())
    # Of 15 000, at ear rim, nostrils, lip corners; ICT's own: 2 to 3.
    assert np.median(folded) <= 12
    assert max(folded) <= 36


def test_expressions_stay_within_bounds_and_ears_keep_still(head):
    size = np.linalg.norm(head.expression_basis, axis=2).max(1)
    assert (size > 1e-3).all()
    assert (size < 0.05).all()
    blink = np.linalg.norm(head.expression_basis[ARKIT_NAMES.index("eyeBlinkLeft")], axis=1)
    assert blink[head.regions["neck"] > 0.9].max() < 1e-4
    assert blink[head.mean_vertices[:, 0] < -0.02].max() < 1e-3


def test_blink_closes_the_lids(head):
    before = head.mean_vertices
    after = head.shape(np.zeros(1), np.eye(52)[ARKIT_NAMES.index("eyeBlinkLeft")])

    # MediaPipe's upper and lower lid middle points of the subject's left eye.
    def gap(v):
        p = head.mediapipe.positions(v, head.triangles)
        return p[386, 1] - p[374, 1]

    assert gap(before) > 0.006
    assert gap(after) < 0.3 * gap(before)


def test_looks_rotate_the_eyeball_about_its_centre(head):
    eye = np.unique(head.triangles[head.triangle_part == head.part_names.index("eye_left")])
    arm = head.mean_vertices[eye] - head.eye_centres[0]
    after = (
        head.shape(np.zeros(1), np.eye(52)[ARKIT_NAMES.index("eyeLookOutLeft")])[eye] - head.eye_centres[0]
    )
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(arm, axis=1), atol=1e-4)
    front = arm[:, 2].argmax()
    assert after[front, 0] - arm[front, 0] > 0.003  # out is +x for the subject's left eye


@pytest.mark.parametrize("looks", [("eyeLookUpLeft", "eyeLookInLeft"), ("eyeLookDownLeft", "eyeLookOutLeft")])
def test_an_eyeball_stays_round_where_two_looks_meet(head, looks):
    rows = np.isin(head.triangle_part, [head.part_names.index(p) for p in ("eye_left", "cornea_left")])
    eye = np.unique(head.triangles[rows])
    arm = head.mean_vertices[eye] - head.eye_centres[0]
    both = np.isin(ARKIT_NAMES, looks).astype(np.float64)
    after = head.shape(np.zeros(1), both)[eye] - head.eye_centres[0]
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(arm, axis=1), atol=1e-4)
    np.testing.assert_allclose(after, arm @ turn_of(*looks).T, atol=1e-4)


def test_tongue_comes_out(head):
    tongue = np.unique(head.triangles[head.triangle_part == head.part_names.index("tongue")])
    out = head.shape(np.zeros(1), np.eye(52)[ARKIT_NAMES.index("tongueOut")])
    assert out[tongue, 2].max() - head.mean_vertices[tongue, 2].max() > 0.02


def test_skin_chart_is_bijective_upright_and_symmetric(head):
    rows = np.flatnonzero(head.triangle_part == head.part_names.index("skin"))
    uv = head.uvs[head.triangle_uvs[rows]].astype(np.float64)
    e, f = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
    assert (area > 0).all()
    assert uv.min() >= 0
    assert uv.max() <= 1
    # Overlaps would cover texels twice: the union drawn once must have the sum of the areas.
    drawn = rasterise_chart(head.uvs, head.triangle_uvs, 2048, rows)
    assert abs(drawn.covered.mean() - area.sum() / 2) < 5e-4
    low = rasterise_chart(head.uvs, head.triangle_uvs, 1024, rows).covered
    assert (low != low[:, ::-1]).mean() < 2e-3
    p = head.mediapipe
    at = np.einsum("nk,nkc->nc", p.barycentric, head.uvs[head.triangle_uvs[p.triangle]])
    assert at[10, 1] > at[4, 1] > at[152, 1]  # forehead over nose over chin
    assert at[263, 0] > 0.5 > at[33, 0]  # subject's left eye on the right
    face = low[:, :] & True
    assert face.mean() > 0.6


def test_face_gets_most_of_the_chart(head):
    rows = np.flatnonzero(head.triangle_part == 0)
    face = head.regions["face"][head.triangles[rows]].mean(1)
    uv = head.uvs[head.triangle_uvs[rows]].astype(np.float64)
    e, f = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]
    assert (area * face).sum() / area.sum() > 0.4  # of about a quarter of the surface


def test_landmarks_lie_where_they_should(head):
    p = head.mediapipe.positions(head.mean_vertices, head.triangles)
    assert (head.mediapipe.triangle >= 0).all()
    assert p[4, 2] > 0.12  # nose tip
    assert abs(p[4, 0]) < 1e-3
    np.testing.assert_allclose(p[473, :2], head.eye_centres[0, :2], atol=0.0025)  # left iris centre
    np.testing.assert_allclose(p[468, :2], head.eye_centres[1, :2], atol=0.0025)
    assert head.mediapipe.trust[[33, 263, 61, 291]].min() > 0.5
    assert head.mediapipe.trust[[10, 152, 234, 454]].max() < 0.2  # the outline slides
    iris = np.linalg.norm(p[474:478] - p[473], axis=1)
    assert 0.0045 < iris.mean() < 0.0072


@pytest.mark.parametrize(("upper", "lower"), [(13, 14), (82, 87), (81, 178), (312, 317), (311, 402)])
def test_jaw_open_parts_the_inner_lips_landmarks(head, upper: int, lower: int):
    jaw = head.expression_basis[head.expression_names.index("jawOpen")]
    still = head.mediapipe.positions(head.mean_vertices, head.triangles)
    opened = head.mediapipe.positions(head.mean_vertices + jaw, head.triangles)
    assert np.linalg.norm(still[upper] - still[lower]) < 0.012
    assert np.linalg.norm(opened[upper] - opened[lower]) > 0.025


def test_regions_cover_what_they_name(head):
    p = head.mediapipe.positions(head.mean_vertices, head.triangles)
    corner = head.triangles[head.mediapipe.triangle]

    def at(region, *points):
        return np.array([head.regions[region][corner[k]].mean() for k in points])

    assert set(head.regions) >= {"face", "lips", "nose", "brows", "eyelids", "scalp", "ears", "neck", "beard"}
    assert (at("lips", 13, 14, 81, 311, 178, 402) > 0.5).all()
    assert (at("lips", 0, 17) > 0.2).all()  # on the border
    assert (at("nose", 4, 1, 5) > 0.8).all()
    assert (at("brows", 105, 334, 66, 296) > 0.3).all()
    assert (at("face", 50, 280, 151, 199) > 0.8).all()
    assert (at("beard", 199, 164) > 0.6).all()
    assert head.regions["ears"][np.abs(head.mean_vertices[:, 0]) > 0.088].min() >= 0
    assert p.shape == (478, 3)


def test_albedo_is_plausible_and_varies_in_tone(head):
    skin = head.regions["face"] > 0.9
    assert ((head.albedo_mean >= 0) & (head.albedo_mean <= 1)).all()
    mean = head.albedo_mean[skin].mean(0)
    assert mean[0] > mean[1] > mean[2] > 0.05
    dark, light = (head.albedo(np.array([s]))[skin].mean() for s in (-1.5, 1.5))
    assert max(dark, light) > 1.8 * min(dark, light)


def face_lab(head, coefficients):
    """Mean L*, a*, b* over plain facial skin, by OpenCV's own conversion."""
    import cv2

    plain = (head.regions["face"] > 0.9) & (head.regions["lips"] < 0.05) & (head.regions["brows"] < 0.05)
    colour = linear_to_srgb(head.albedo(np.asarray(coefficients))[plain].mean(0))
    return cv2.cvtColor(colour.reshape(1, 1, 3), cv2.COLOR_RGB2LAB)[0, 0].astype(np.float64)


def test_tone_mode_spans_human_skin_with_plausible_chroma(head):
    steps = np.linspace(-2.5, 2.5, 11)
    lab = np.array([face_lab(head, [s]) for s in steps])
    ita = np.degrees(np.arctan2(lab[:, 0] - 50, lab[:, 2]))  # individual typology angle
    assert (np.diff(lab[:, 0]) > 0).all()
    assert ita[steps == -2.0] < -30  # dark
    assert ita[steps == 2.0] > 41  # light
    inner = np.abs(steps) <= 2.0
    assert ((lab[inner, 1] > 5) & (lab[inner, 1] < 17)).all()  # a*
    assert ((lab[inner, 2] > 7) & (lab[inner, 2] < 23)).all()  # b*
    assert ((lab[:, 1:] > 2) & (lab[:, 1:] < 25)).all()
    for mode in range(1, 6):  # what is left of tone: never green, never more than a tan
        for s in (-2.0, 2.0):
            _, a, b = face_lab(head, s * np.eye(12)[mode])
            assert 3 < a < 19
            assert 6 < b < 26


def test_no_albedo_mode_clips_within_two_sigma(head):
    for mode in head.albedo_basis:
        for s in (-2.0, 2.0):
            skin = head.albedo_mean + s * mode
            assert skin.min() >= 0
            assert skin.max() <= 1


def test_regions_have_soft_borders_and_lips_end_at_the_vermilion(head):
    q = skin_quads(head)
    edges = np.concatenate([q[:, [k, (k + 1) % 4]] for k in range(4)])
    length = np.linalg.norm(head.mean_vertices[edges[:, 0]] - head.mean_vertices[edges[:, 1]], axis=1)
    for name in ("lips", "brows", "ears", "nose"):
        w = head.regions[name]
        step = np.abs(w[edges[:, 0]] - w[edges[:, 1]]) / np.maximum(length, 5e-4)
        assert np.percentile(step[step > 0], 99) < 450, name  # per metre: from 0 to 1 takes over 2 mm
    p = head.mediapipe.positions(head.mean_vertices, head.triangles)
    v, lips = head.mean_vertices, head.regions["lips"]
    middle = (np.abs(v[:, 0]) < 5e-3) & (v[:, 2] > 0.09)
    assert lips[middle & (v[:, 1] < p[17, 1] - 0.0035)].max() < 0.03
    assert lips[middle & (v[:, 1] > p[0, 1] + 0.0045)].max() < 0.03


def seen_parts(head, vertices, yaw, pitch, height_m=0.12, size=480):
    camera = look_at((0.0, -0.040, 0.09), yaw, pitch, 1.0, height_m, size)
    triangle = rasterise_camera(vertices, head.triangles, camera).triangle
    return camera, np.where(triangle >= 0, head.triangle_part[np.maximum(triangle, 0)], 255)


def test_lips_touch_at_rest(head):
    """Straight and from the side no column of 0.1 mm pixels shows the mouth's inside in more than one."""
    inside = [head.part_names.index(n) for n in ("mouth", "teeth", "gums", "tongue")]
    for yaw in (0, 25, 45):
        part = seen_parts(head, head.mean_vertices, yaw, 0, 0.06, 600)[1]
        assert np.isin(part, inside).sum(0).max() <= 1


def lip_rings(head, count=6):
    """The mouth's border loop and the edge loops round it, out to where the lips meet."""
    q = skin_quads(head)
    around: dict[int, set[int]] = {}
    for a, b, c, d in q.tolist():
        for v, one, other in ((a, d, b), (b, a, c), (c, b, d), (d, c, a)):
            around.setdefault(v, set()).update((one, other))
    v = head.mean_vertices
    loop = next(p for p in border_loops(q) if np.ptp(v[p, 0]) < 0.06 and abs(v[p, 0].mean()) < 2e-3)
    rings, seen = [loop], set(loop)
    for _ in range(count - 1):
        rings.append([next(n for n in around[k] if n not in seen) for k in rings[-1]])
        seen.update(rings[-1])
    return rings


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"jawOpen": 0.3},
        {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9},
        {"mouthFunnel": 0.8},
        {"mouthLowerDownLeft": 0.8, "mouthLowerDownRight": 0.8},
        {
            "jawOpen": 0.3,
            "mouthSmileLeft": 0.7,
            "mouthSmileRight": 0.7,
            "mouthLowerDownLeft": 0.5,
            "mouthLowerDownRight": 0.5,
        },
    ],
    ids=lambda w: "+".join(w) or "rest",
)
def test_mouth_parts_show_through_the_lips_only(head, weights):
    import cv2

    rng = np.random.default_rng(5)
    rings = lip_rings(head)
    expression = np.array([weights.get(n, 0.0) for n in head.expression_names])
    for _ in range(4):
        vertices = head.shape(np.clip(rng.standard_normal(100), -1.5, 1.5), expression)
        for yaw, pitch in ((0, 0), (30, -10), (0, -30)):
            camera, part = seen_parts(head, vertices, yaw, pitch)
            opening = np.zeros(part.shape, np.uint8)
            for ring in rings:
                pixel = camera.project(vertices[ring])[0]
                cv2.fillPoly(opening, [pixel.round().astype(np.int32)], 1)
            opening = cv2.dilate(opening, np.ones((5, 5), np.uint8))
            for name in ("mouth", "gums", "tongue"):
                assert not ((part == head.part_names.index(name)) & (opening == 0)).any(), name
            teeth = (part == head.part_names.index("teeth")) & (opening == 0)
            assert teeth.sum() < 150  # 9 mm², where a stretched lip sinks into a corner tooth


def test_nostrils_are_found_and_dark(head):
    inside = head.regions["nostrils"] > 0.5
    assert 16 <= inside.sum() < 600
    v = head.mean_vertices[inside]
    assert (np.abs(v[:, 0]) < 0.022).all()
    assert (v[:, 2] > 0.085).all()
    assert head.albedo_mean[inside].mean() < 0.6 * head.albedo_mean[head.regions["nose"] > 0.9].mean()


def test_unfold_against_a_plain_loop():
    rng = np.random.default_rng(0)
    half, mirror = np.array([0, 1, 2], np.int32), np.array([0, 3, 4, 1, 2], np.int32)
    stored, parity = rng.standard_normal((2, 3, 3)).astype(np.float32), np.array([1, -1], np.int8)
    full = unfold(stored, half, mirror, parity, MIRROR)
    for k in range(2):
        for h, v in enumerate(half):
            reflected = parity[k] * stored[k, h] * MIRROR
            if mirror[v] == v:
                np.testing.assert_allclose(full[k, v], (stored[k, h] + reflected) / 2, atol=1e-6)
            else:
                np.testing.assert_array_equal(full[k, v], stored[k, h])
                np.testing.assert_array_equal(full[k, mirror[v]], reflected)


def test_registry_and_file_errors(tmp_path: Path):
    assert load_head("open") is load_head("open")
    with pytest.raises(BadInput, match="unknown head"):
        load_head("closed")
    with pytest.raises(Missing):
        load_open_head(tmp_path / "none.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"x" * 64)
    with pytest.raises(LikenessError, match="safetensors"):
        load_open_head(bad)
    header = json.dumps({"__metadata__": {"format_version": "99"}}).encode()
    bad.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadInput, match="format"):
        load_open_head(bad)
