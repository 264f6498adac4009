"""The shipped open head: symmetric, all quads, manifold, unfolded, one-to-one chart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput, LikenessError, Missing
from backend.head.arkit import ARKIT_NAMES
from backend.head.open_head import load_open_head, unfold
from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_chart

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
    assert 12_000 <= len(head.mean_vertices) <= 22_000


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
    for _ in range(6):
        a = np.clip(rng.standard_normal(len(head.identity_basis)), -2.5, 2.5)
        cosine = corner_cosines(head.shape(a).astype(np.float64), q)
        assert (cosine < 0).sum() <= 12  # of 15 000, at ear rim, nostrils, lip corners; ICT's own: 2 to 3


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
    assert gap(after) < 0.25 * gap(before)


def test_looks_rotate_the_eyeball_about_its_centre(head):
    eye = np.unique(head.triangles[head.triangle_part == head.part_names.index("eye_left")])
    arm = head.mean_vertices[eye] - head.eye_centres[0]
    after = (
        head.shape(np.zeros(1), np.eye(52)[ARKIT_NAMES.index("eyeLookOutLeft")])[eye] - head.eye_centres[0]
    )
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(arm, axis=1), atol=1e-4)
    front = arm[:, 2].argmax()
    assert after[front, 0] - arm[front, 0] > 0.003  # out is +x for the subject's left eye


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
