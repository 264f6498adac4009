"""The avatar bundle: what is written is read back; what is damaged is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from synthetic_avatar import make_reconstruction

from backend.artifacts import StageRecord
from backend.export.bundle_writer import amend_manifest, write_bundle
from backend.head.lid_motion import eye_centres
from blender_addon import bundle


@pytest.fixture
def avatar(tmp_path):
    return write_bundle(make_reconstruction(), tmp_path / "portrait")


def test_round_trip(avatar):
    made = make_reconstruction()
    read = bundle.read_bundle(avatar)
    mesh, head = read.mesh, made.fit.head
    for name in ("quads", "quad_uvs", "quad_part", "uvs", "triangles", "triangle_uvs", "triangle_quad"):
        np.testing.assert_array_equal(getattr(mesh, name), getattr(head, name))
    np.testing.assert_array_equal(mesh.vertices_neutral_head, made.fit.neutral_head)
    assert mesh.part_names == head.part_names
    assert mesh.expression_names == head.expression_names
    dense = np.zeros_like(head.expression_basis)
    for e in range(len(mesh.expressions)):
        rows, offset = mesh.expressions.rows(e)
        dense[e, rows] = offset
    np.testing.assert_allclose(dense, head.expression_basis, atol=1e-6)
    assert len(mesh.expressions.vertex) < head.expression_basis[..., 0].size / 2
    np.testing.assert_allclose(mesh.expressed(), made.fit.vertices_head, atol=3e-6)

    manifest = read.manifest
    assert manifest.expression == {
        "jawOpen": 0.25,
        "mouthSmileLeft": pytest.approx(0.6),
        "eyeLookInLeft": 0.0,
    }
    assert manifest.camera.focal_px == made.fit.camera.focal_px
    np.testing.assert_array_equal(manifest.camera.world_to_camera, made.fit.camera.world_to_camera)
    np.testing.assert_allclose(manifest.light.radiance_sh, made.fit.radiance_sh)
    assert manifest.warnings == ("the face is small",)
    assert manifest.weights[0].licence == head.licence


def test_regions_come_along_and_may_be_absent(tmp_path):
    head = make_reconstruction().fit.head
    lips = np.linspace(0, 1, len(head.mean_vertices), dtype=np.float32)
    made = make_reconstruction(dataclasses.replace(head, regions={"lips": lips}))
    folder = write_bundle(made, tmp_path / "portrait")
    np.testing.assert_allclose(bundle.read_mesh(folder).regions["lips"] / 255.0, lips, atol=0.5 / 255)
    with np.load(folder / "mesh.npz") as archive:
        older = {n: archive[n] for n in archive.files if "region" not in n}
    np.savez(folder / "mesh.npz", **older)
    assert bundle.read_mesh(folder).regions == {}


def test_manifest_has_the_promised_fields(avatar):
    fields = json.loads((avatar / "avatar.json").read_text(encoding="utf-8"))
    promised = (
        "schema engine stages peak_rss_mb fit camera light photo displacement_scale_m texels_per_pixel "
        "weights seed warnings"
    )
    assert set(promised.split()) <= set(fields)
    assert set(fields["stages"][0]) == {"name", "implementation", "seconds"}
    assert set(fields["fit"]) == {"landmark_error_px", "landmark_error_iod", "photometric_psnr_db"}
    assert {"sha256", "size", "face_box"} <= set(fields["photo"])
    assert set(fields["weights"][0]) == {"name", "sha256", "licence"}
    assert fields["peak_rss_mb"] > 10


def test_the_same_reconstruction_gives_the_same_bytes(tmp_path):
    a = write_bundle(make_reconstruction(), tmp_path / "a")
    b = write_bundle(make_reconstruction(), tmp_path / "b")
    for name in ("mesh.npz", *(f"maps/{n}.png" for n in bundle.MAP_NAMES)):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_later_stages_and_warnings_are_added_once(avatar):
    amend_manifest(
        avatar, stages=[StageRecord("preview", "own", 1.0)], warnings=["the face is small", "dark", "dark"]
    )
    manifest = bundle.read_manifest(avatar)
    assert [s.name for s in manifest.stages] == ["photo", "head fit", "preview"]
    assert manifest.warnings == ("the face is small", "dark")


def test_eye_centres_follow_the_eyeballs(tmp_path):
    made = make_reconstruction()
    step = np.float32([0.001, -0.002, 0.003])
    moved = made.fit.neutral_head + step
    made = dataclasses.replace(made, fit=dataclasses.replace(made.fit, neutral_head=moved))
    np.testing.assert_allclose(
        eye_centres(made.fit.head, made.fit.neutral_head), made.fit.head.eye_centres + step, atol=1e-6
    )


def test_unknown_errors_are_null(tmp_path):
    made = make_reconstruction()
    made = dataclasses.replace(made, fit=dataclasses.replace(made.fit, landmark_error_px=float("nan")))
    assert bundle.read_manifest(write_bundle(made, tmp_path / "x")).fit.landmark_error_px is None


def _edit(path, **changes):
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields.update(changes)
    path.write_text(json.dumps(fields), encoding="utf-8")


def _truncate(path, keep=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def _rewrite_mesh(folder, **changes):
    with np.load(folder / "mesh.npz") as archive:
        arrays = {k: archive[k] for k in archive.files}
    arrays.update(changes)
    np.savez(folder / "mesh.npz", **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda d: (d / "avatar.json").unlink(), "not an avatar"),
        (lambda d: _truncate(d / "avatar.json"), "damaged"),
        (lambda d: (d / "avatar.json").write_text("[]"), "damaged"),
        (lambda d: _edit(d / "avatar.json", schema=bundle.SCHEMA + 1), "newer Likeness"),
        (lambda d: _edit(d / "avatar.json", schema=0), "older Likeness"),
        (lambda d: _edit(d / "avatar.json", camera=None), "camera"),
        (lambda d: _edit(d / "avatar.json", light={"radiance_sh": [[1, 1, 1]]}), "9 coefficients"),
        (lambda d: (d / "mesh.npz").unlink(), "mesh.npz is missing"),
        (lambda d: _truncate(d / "mesh.npz"), "damaged"),
        (lambda d: (d / "mesh.npz").write_bytes(b""), "damaged"),
        (lambda d: _rewrite_mesh(d, quads=None), "damaged"),
        (lambda d: _rewrite_mesh(d, uvs=np.zeros((3, 2), np.float32)), "outside"),
        (lambda d: _rewrite_mesh(d, expression_weights=np.zeros(9, np.float32)), "differ in number"),
        (lambda d: _rewrite_mesh(d, expression_offset=np.zeros((1, 3), np.float32)), "cut short"),
        (lambda d: _rewrite_mesh(d, vertices_neutral_head=np.full((900, 3), np.nan, np.float32)), "finite"),
        (lambda d: (d / "maps/normal.png").unlink(), "missing"),
        (lambda d: _truncate(d / "maps/albedo.png"), "not a whole PNG"),
        (lambda d: (d / "maps/albedo.png").write_bytes(b"\x89PNG"), "not a whole PNG"),
    ],
)
def test_damage_is_named_in_one_line(avatar, damage, says):
    damage(avatar)
    with pytest.raises(bundle.BundleError, match=says) as caught:
        bundle.read_bundle(avatar)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_never_loaded(avatar):
    _rewrite_mesh(avatar, part_names=np.array([object()], dtype=object))
    with pytest.raises(bundle.BundleError, match="damaged"):
        bundle.read_bundle(avatar)


def test_unknown_fields_are_let_through(avatar):
    """A newer version may add fields without raising the schema."""
    _edit(avatar / "avatar.json", something_new=[1, 2])
    assert bundle.read_bundle(avatar).manifest.engine == "embedded"


def test_the_bundle_needs_neither_blender_nor_the_backend():
    code = (
        "import sys, blender_addon.bundle, blender_addon;"
        "bad = {'bpy', 'backend', 'torch', 'cv2'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
