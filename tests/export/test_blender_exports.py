"""Blender's process end to end on the synthetic head: .blend, .glb, renders, and how it fails."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import struct
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_avatar import make_reconstruction

from backend.artifacts import Run
from backend.errors import BadInput, Cancelled, Missing
from backend.export import blender_process
from backend.export.blender_process import BlenderFailed, BlenderProcess, export_avatar, render_avatar
from backend.export.bundle_writer import write_bundle
from backend.export.views import parse_view
from blender_addon import bundle

VALIDATOR = Path(__file__).resolve().parents[2] / "packaging" / "validate_glb"
needs_bpy = pytest.mark.skipif(
    importlib.util.find_spec("bpy") is None, reason="needs Blender's module (extra `blend`)"
)
pytestmark = pytest.mark.blend


@pytest.fixture(scope="module")
def blender():
    with BlenderProcess() as process:
        yield process


@pytest.fixture(scope="module")
def avatar(tmp_path_factory, blender):
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("needs Blender's module (extra `blend`)")
    folder = write_bundle(make_reconstruction(), tmp_path_factory.mktemp("exports") / "portrait")
    export_avatar(folder, Run(), blender=blender)
    return folder


def _glb(path):
    """The JSON and the binary chunk of a .glb."""
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_both_files_are_there_and_nothing_else(avatar):
    names = {p.name for p in avatar.iterdir()}
    assert names == {
        *("avatar.json", "mesh.npz", "maps", "photo.jpg", "landmarks.npz"),
        *("avatar.blend", "avatar.glb"),
    }
    assert (avatar / "avatar.blend").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"  # Zstandard: compressed


def test_glb_passes_the_khronos_validator(avatar):
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not (VALIDATOR / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("needs the validator: run `npm ci` in packaging/validate_glb")
    done = subprocess.run(
        ["node", VALIDATOR / "validate.mjs", avatar / "avatar.glb"],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["issues"]["numErrors"] == 0, report["issues"]["messages"]
    assert done.returncode == 0
    assert report["info"]["hasMorphTargets"]
    mesh = bundle.read_mesh(avatar)
    assert report["info"]["totalTriangleCount"] == len(mesh.triangles)


def test_glb_geometry_and_morph_targets(avatar):
    gltf, binary = _glb(avatar / "avatar.glb")
    mesh = bundle.read_mesh(avatar)
    skin = next(m for m in gltf["meshes"] if m["name"] == "skin")
    assert skin["extras"]["targetNames"] == ["jawOpen", "mouthSmileLeft"]
    assert skin["weights"] == pytest.approx([0.25, 0.6])
    eye = next(m for m in gltf["meshes"] if m["name"] == "eye_left")
    assert eye["extras"]["targetNames"] == ["eyeLookInLeft"]
    primitive = skin["primitives"][0]
    accessor = gltf["accessors"][primitive["attributes"]["POSITION"]]
    view = gltf["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    points = np.frombuffer(binary, np.float32, accessor["count"] * 3, start).reshape(-1, 3)
    own = np.unique(mesh.triangles[mesh.quad_part[mesh.triangle_quad] == 0])
    wanted = {tuple(p) for p in np.round(mesh.vertices_neutral_head[own].astype(float), 6) + 0.0}
    assert {tuple(p) for p in np.round(points.astype(float), 6) + 0.0} == wanted  # head space is glTF's


def test_glb_material_keeps_our_specular(avatar):
    gltf, binary = _glb(avatar / "avatar.glb")
    skin = next(m for m in gltf["materials"] if m["name"] == "skin")
    specular = skin["extensions"]["KHR_materials_specular"]
    # F0 = 0.04 · colour factor · texture alpha = 0.08 · specular
    assert specular["specularColorFactor"] == [2.0, 2.0, 2.0]
    assert specular.get("specularFactor", 1.0) == 1.0

    def image(texture):
        view = gltf["bufferViews"][gltf["images"][gltf["textures"][texture["index"]]["source"]]["bufferView"]]
        start = view.get("byteOffset", 0)
        return np.asarray(Image.open(BytesIO(binary[start : start + view["byteLength"]])))

    def stored(name):
        return np.asarray(Image.open(bundle.map_path(avatar, name)))

    np.testing.assert_array_equal(image(specular["specularTexture"])[..., 3], stored("specular"))
    factors = image(skin["pbrMetallicRoughness"]["metallicRoughnessTexture"])
    np.testing.assert_array_equal(factors[..., 1], stored("roughness"))
    assert factors[..., 2].max() == 0  # no metal
    np.testing.assert_array_equal(image(skin["normalTexture"]), stored("normal"))
    albedo = image(skin["pbrMetallicRoughness"]["baseColorTexture"]).astype(float)
    assert np.abs(albedo - stored("albedo")).mean() < 2.5  # JPEG


@pytest.mark.slow
def test_render_shows_the_head_where_the_camera_sees_it(avatar, blender, tmp_path):
    from backend.uvspace.rasterise import rasterise_camera

    made = make_reconstruction()
    output = tmp_path / "view.png"
    # small denoised pictures would hide nothing: the silhouette is alpha alone
    render_avatar(
        avatar, None, "photo", output, 320, 8, Run(), denoise=False, transparent=True, blender=blender
    )
    picture = np.asarray(Image.open(output))
    assert picture.shape == (240, 320, 4)
    shown = picture[..., 3] >= 128
    seen = rasterise_camera(made.fit.vertices_head, made.fit.head.triangles, made.fit.camera).covered
    assert (shown & seen).sum() / (shown | seen).sum() >= 0.98
    inner = picture[shown][:, :3].astype(float)
    assert 40 < inner.mean() < 220
    assert inner.std() > 5


@pytest.mark.slow
def test_an_hdri_changes_the_light_and_the_seed_repeats_it(avatar, blender, tmp_path):
    from backend.shading.environment import write_hdr

    panorama = np.full((16, 32, 3), 0.2, np.float32)
    panorama[:, 20:28] = [3.0, 0.3, 0.3]  # red, before the face (+Z is the panorama's 3/4)
    write_hdr(tmp_path / "red.hdr", panorama)

    def shoot(hdri, name):
        render_avatar(avatar, hdri, "front", tmp_path / name, 64, 8, Run(), transparent=True, blender=blender)
        return np.asarray(Image.open(tmp_path / name)).astype(float)

    red, again, plain = (
        shoot(tmp_path / "red.hdr", "a.png"), shoot(tmp_path / "red.hdr", "b.png"), shoot(None, "c.png")
    )  # fmt: skip
    np.testing.assert_array_equal(red, again)
    inside = red[..., 3] > 200
    assert red[inside][:, 0].mean() > 2 * red[inside][:, 2].mean()
    assert plain[inside][:, 0].mean() < 2 * plain[inside][:, 2].mean()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"view": "sideways"}, "view 'sideways' is unknown"),
        ({"view": "10,95"}, "out of range"),
        ({"view": "nan,0"}, "out of range"),
        ({"hdri": Path("absent.hdr")}, "does not exist"),
        ({"output": Path("absent/folder/x.png")}, "does not exist"),
        ({"directory": Path("absent")}, "not an avatar"),
    ],
)
def test_bad_render_requests_are_refused_before_blender_starts(tmp_path, changes, says):
    folder = write_bundle(make_reconstruction(), tmp_path / "portrait")
    arguments = {"directory": folder, "hdri": None, "view": "photo", "output": tmp_path / "x.png"}
    with pytest.raises(BadInput, match=says):
        render_avatar(**{**arguments, **changes}, size=16, samples=1, run=Run())
    assert not (tmp_path / "x.png").exists()


def test_an_unreadable_hdri(avatar, blender, tmp_path):
    (tmp_path / "text.hdr").write_text("not a picture")
    with pytest.raises(BadInput, match="not a readable HDRI"):
        render_avatar(
            avatar, tmp_path / "text.hdr", "photo", tmp_path / "x.png", 16, 1, Run(), blender=blender
        )
    assert [p.name for p in tmp_path.iterdir()] == ["text.hdr"]


@needs_bpy
def test_cancelling_stops_blender_soon(avatar, tmp_path):
    cancelled = threading.Event()
    with BlenderProcess() as process:
        process.start()
        threading.Timer(0.5, cancelled.set).start()
        start = time.monotonic()
        with pytest.raises(Cancelled):
            render_avatar(
                avatar, None, "photo", tmp_path / "x.png", 2048, 4096,
                Run(is_cancelled=cancelled.is_set), blender=process,
            )  # fmt: skip
        assert time.monotonic() - start < 3
    assert list(tmp_path.iterdir()) == []


@needs_bpy
def test_a_crash_is_one_line_that_names_a_log(avatar):
    before = {p.name: p.stat().st_mtime_ns for p in avatar.iterdir()}
    with BlenderProcess() as process:
        process.start()
        process._process.send_signal(signal.SIGSEGV)
        with pytest.raises(BlenderFailed, match="signal 11") as caught:
            export_avatar(avatar, Run(), blender=process)
    log = Path(str(caught.value).rsplit(" ", 1)[1])
    assert log.is_file()
    log.unlink()
    assert {p.name: p.stat().st_mtime_ns for p in avatar.iterdir()} == before


@needs_bpy
def test_too_long_is_an_error(avatar, tmp_path, monkeypatch):
    monkeypatch.setattr(blender_process, "RENDER_TIMEOUT_S", 0.2)
    with pytest.raises(BlenderFailed, match="took longer") as caught:
        render_avatar(avatar, None, "photo", tmp_path / "x.png", 512, 4096, Run())
    Path(str(caught.value).rsplit(" ", 1)[1]).unlink()


def test_without_bpy_the_remedy_is_named(tmp_path, monkeypatch):
    folder = write_bundle(make_reconstruction(), tmp_path / "portrait")
    monkeypatch.setattr(blender_process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"pip install 'likeness\[blend\]'"):
        export_avatar(folder, Run())
    assert not (folder / "avatar.blend").exists()


def test_a_missing_system_library_is_named(tmp_path, monkeypatch):
    """A bpy that fails as the real one does on a bare machine."""
    fake = tmp_path / "fake"
    fake.mkdir()
    line = "libXi.so.6: cannot open shared object file: No such file or directory"
    (fake / "bpy.py").write_text(f"raise ImportError({line!r})")
    folder = write_bundle(make_reconstruction(), tmp_path / "portrait")
    start = subprocess.Popen

    def with_fake_bpy(*arguments, env, **rest):
        # PYTHONPATH comes before site-packages
        return start(*arguments, env={**env, "PYTHONPATH": f"{fake}:{env['PYTHONPATH']}"}, **rest)

    monkeypatch.setattr(blender_process.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(blender_process.subprocess, "Popen", with_fake_bpy)
    with pytest.raises(Missing, match=r"libXi\.so\.6; install .*libxi6"):
        export_avatar(folder, Run())


def test_views():
    assert parse_view("photo") is None
    assert parse_view("left") == (90.0, 0.0)
    assert parse_view("-30, 12.5") == (-30.0, 12.5)


def test_a_map_that_cannot_be_decoded_is_named(avatar, blender, tmp_path):
    folder = tmp_path / "portrait"
    shutil.copytree(avatar, folder)
    path = bundle.map_path(folder, "roughness")
    data = bytearray(path.read_bytes())
    data[60:-20] = bytes(len(data) - 80)  # begins and ends like a PNG
    path.write_bytes(data)
    before = (folder / "avatar.glb").read_bytes()
    with pytest.raises(BadInput, match=r"roughness\.png' is damaged"):
        export_avatar(folder, Run(), blender=blender)
    assert (folder / "avatar.glb").read_bytes() == before
    assert not list(folder.glob(".*"))
