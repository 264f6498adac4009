"""Named points and regions of the open head against other ways of finding them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput
from backend.evaluation.keypoints import EXTRA_OF_FACE_MESH, IBUG_OF_FACE_MESH
from backend.head.base import SurfacePoints
from backend.head.correspondences import (
    LIPS_OF_FACE_MESH,
    REALY_REGIONS,
    points68,
    points88,
    realy_regions,
)
from backend.head.open_head import MIRROR_X, load_open_head
from backend.head.registry import load_head
from synthdata.headmodel.heldout import SHIPPED
from synthdata.headmodel.landmarks import detect
from synthdata.headmodel.preview import look_at, picture
from synthdata.headmodel.store import point_arrays, read_stored, write_stored

IBUG_MIRROR = np.array(
    [
        *(16 - np.arange(17)),
        *(43 - np.arange(17, 27)),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)


@pytest.fixture(scope="module")
def head():
    return load_head("open")


@pytest.fixture(scope="module")
def with_ibug(head):
    """The shipped head; a file from before the 68 points gets Face Mesh's in their place."""
    if head.ibug is not None:
        return head
    rows, mesh = list(IBUG_OF_FACE_MESH), head.mediapipe
    own = SurfacePoints(mesh.triangle[rows], mesh.barycentric[rows], mesh.trust[rows])
    return replace(head, ibug=own)


def test_a_head_without_the_68_points_says_what_to_do(head):
    old = replace(head, ibug=None)
    for wanted in (points68, points88):
        with pytest.raises(BadInput, match="build it anew"):
            wanted(old)


def test_files_keep_the_68_points_and_old_files_have_none(head, tmp_path: Path):
    arrays, known = read_stored(SHIPPED)
    rng = np.random.default_rng(2)
    points = SurfacePoints(
        rng.integers(0, len(head.triangles), 68, dtype=np.int32),
        rng.dirichlet([1, 1, 1], 68).astype(np.float32),
        rng.random(68, dtype=np.float32),
    )
    write_stored(tmp_path / "new.safetensors", arrays | point_arrays("ibug", points), known)
    read = points68(load_open_head(tmp_path / "new.safetensors"))
    for name in ("triangle", "barycentric", "trust"):
        np.testing.assert_array_equal(getattr(read, name), getattr(points, name))
    without = {name: values for name, values in arrays.items() if not name.startswith("ibug")}
    write_stored(tmp_path / "old.safetensors", without, known)
    assert load_open_head(tmp_path / "old.safetensors").ibug is None


def test_the_68_points_lie_where_face_mesh_sees_them_and_mirror_each_other(with_ibug):
    mean = with_ibug.mean_vertices.astype(np.float64)
    points = points68(with_ibug).positions(mean, with_ibug.triangles)
    assert points.shape == (68, 3)
    np.testing.assert_allclose(points[IBUG_MIRROR] * MIRROR_X, points, atol=1e-3)
    seen = with_ibug.mediapipe.positions(mean, with_ibug.triangles)[list(IBUG_OF_FACE_MESH)]
    gap = np.linalg.norm(points - seen, axis=1)
    assert np.median(gap[27:]) < 0.003  # nose, eyes, mouth: two conventions of the same features
    assert gap[27:].max() < 0.008
    assert gap[36:48].max() < 0.003  # corners and lids are named alike


def test_the_68_points_are_ict_facekits(head, shared_data: Path):
    from backend.head.ict import load_ict

    rows = json.loads((shared_data / "ict-facekit" / "vertex_indices.json").read_text())
    theirs = load_ict(shared_data / "ict-facekit").mean_vertices[rows["idx_to_landmark_verts"]]
    ours = points68(head).positions(head.mean_vertices, head.triangles)
    gap = np.linalg.norm(ours - theirs, axis=1)
    assert np.percentile(gap, 90) < 5e-4
    assert gap.max() < 1.5e-3  # lips, which ICT leaves ajar


def test_the_hybrid_is_ibug_off_the_mouth_and_face_mesh_on_it(with_ibug):
    import mediapipe as mp

    hybrid = points88(with_ibug)
    assert len(hybrid.triangle) == len(hybrid.trust) == 88
    np.testing.assert_array_equal(hybrid.triangle[:48], points68(with_ibug).triangle[:48])
    lips = mp.solutions.face_mesh.FACEMESH_LIPS
    assert set(LIPS_OF_FACE_MESH) == {index for edge in lips for index in edge}
    for ring in (LIPS_OF_FACE_MESH[:20], LIPS_OF_FACE_MESH[20:]):  # neighbours in the list are joined
        for a, b in zip(ring, (*ring[1:], ring[0]), strict=True):
            assert (a, b) in lips or (b, a) in lips
    np.testing.assert_array_equal(hybrid.triangle[48:], with_ibug.mediapipe.triangle[list(LIPS_OF_FACE_MESH)])


def test_realys_regions_hold_the_points_that_they_are_named_for(head):
    masks = realy_regions(head)
    assert tuple(masks) == REALY_REGIONS
    assert (sum(mask.astype(int) for mask in masks.values()) <= 1).all()
    corners = head.triangles[head.mediapipe.triangle]

    def holds(region: str, *rows: int) -> bool:
        return bool(masks[region][corners[list(rows)]].any(1).all())

    assert holds("nose", 4, 5, 197, EXTRA_OF_FACE_MESH[2], EXTRA_OF_FACE_MESH[3])
    assert holds("mouth", 0, 17, 61, 291, 13, 14)
    assert holds("forehead", 151, 69, 299)
    assert holds("cheek", 50, 280, 205, 425)
    for mask in masks.values():
        assert not mask[head.regions["ears"] > 0.5].any()
        assert (mask == mask[head.mirror_vertex]).mean() > 0.995


def test_realys_regions_need_landmarks(head):
    blind = replace(head, mediapipe=replace(head.mediapipe, triangle=np.full(478, -1, np.int32)))
    with pytest.raises(BadInput, match="no landmarks"):
        realy_regions(blind)


@pytest.mark.slow
@pytest.mark.parametrize(("yaw", "pitch", "seed"), [(0, 0, 0), (12, 4, 1)])
def test_trusted_landmarks_lie_where_face_mesh_finds_them_on_a_new_render(head, yaw, pitch, seed):
    import mediapipe as mp

    rng = np.random.default_rng([41, seed])
    vertices = head.shape(0.5 * rng.standard_normal(len(head.identity_basis))).astype(np.float64)
    camera = look_at((0.0, -0.005, 0.02), yaw, pitch, 0.9, 0.34, 512)
    image = picture(vertices, head.triangles, camera, head.albedo_mean, gloss=0.015, background=0.55)
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        seen = detect(image, detector)
    assert seen is not None
    expected, _ = camera.project(head.mediapipe.positions(vertices, head.triangles))
    apart = np.linalg.norm(expected[33] - expected[263])  # outer corners of the eyes
    error = np.linalg.norm(seen - expected, axis=1) / apart
    assert np.median(error[head.mediapipe.trust > 0.5]) < 0.03
