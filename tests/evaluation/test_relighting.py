"""Relit pictures: the moved avatar, lights and masks; and Cycles itself on a head in another space."""

import json
from dataclasses import replace

import numpy as np
import pytest
from avatar_cases import camera_at, make_case, make_prediction, plain_materials, uv_map, write_truth
from PIL import Image
from scipy.spatial.transform import Rotation

from backend.artifacts import Run
from backend.errors import BadInput
from backend.evaluation.align import Similarity
from backend.evaluation.registration import camera_of, moved_camera
from backend.evaluation.relighting import (
    compare,
    find_hdri,
    moved_copy,
    relight,
    small_size,
    truth_camera,
)
from backend.export.blender_process import BlenderProcess
from backend.head.registry import load_head
from blender_addon.bundle import read_bundle

MOVE = Similarity(
    0.93, Rotation.from_euler("xyz", [6, 20, -4], degrees=True).as_matrix(), np.array([0.03, 0.01, -0.04])
)


def grey(uv):
    return np.full((*uv.shape[:2], 3), 0.3)


@pytest.fixture(scope="module")
def prediction(tmp_path_factory):
    return make_prediction(tmp_path_factory.mktemp("made") / "a")


def test_a_moved_avatar_is_the_same_picture(prediction, tmp_path):
    """Moved with its camera nothing changes; expressions move along."""
    own = camera_of(prediction.avatar.manifest.camera)
    camera = truth_camera(prediction, MOVE, "photo", own)
    moved = read_bundle(moved_copy(prediction.avatar, MOVE, camera, tmp_path / "moved"))
    weights = prediction.avatar.mesh.expression_weights.copy()
    weights[:3] = 0.7
    there = replace(moved.mesh, expression_weights=weights).expressed()
    here = replace(prediction.avatar.mesh, expression_weights=weights).expressed()
    assert np.allclose(there, MOVE.apply(here), atol=2e-6)
    pixels, depth = camera_of(moved.manifest.camera).project(there)
    expected, own_depth = own.project(here)
    assert np.allclose(pixels, expected, atol=2e-2)
    assert np.allclose(depth, own_depth * MOVE.scale, rtol=1e-4)
    assert moved.manifest.displacement_scale_m == pytest.approx(
        0.93 * prediction.avatar.manifest.displacement_scale_m
    )
    eyes = MOVE.apply(np.array(prediction.avatar.manifest.eyes.centres))
    assert np.allclose(moved.manifest.eyes.centres, eyes)
    assert moved.map_path("albedo").read_bytes() == prediction.avatar.map_path("albedo").read_bytes()


def test_other_views_take_the_truths_camera(prediction):
    side = camera_at(45)
    assert truth_camera(prediction, MOVE, "left45", side) is side


def test_only_the_face_is_compared():
    truth = np.random.default_rng(0).random((60, 60, 3))
    own = truth + 0.05
    own[:20] = 0
    mask = np.zeros((60, 60))
    mask[25:55, 5:55] = 1
    values = compare(own, truth, mask, embed=lambda picture: picture.mean((0, 1)))
    assert values["psnr_db"] == pytest.approx(-20 * np.log10(0.05))
    assert 0.9 < values["csim"] <= 1
    assert "csim" not in compare(own, truth, mask)


def test_lights_are_found_or_named(prediction, tmp_path):
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=grey)
    with pytest.raises(BadInput, match="the light 'nowhere' is neither"):
        find_hdri("nowhere", case)
    own = tmp_path / "c" / "truth" / "relit" / "studio.exr"
    own.parent.mkdir()
    own.write_bytes(b"x")
    assert find_hdri("studio", case) == find_hdri("studio.exr", case) == own


def test_pictures_are_made_small_but_never_larger():
    assert small_size(768, 1024) == (288, 384)
    assert small_size(120, 160) == (120, 160)


def test_a_view_that_nobody_knows_is_named(prediction, tmp_path):
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=grey)
    _list(case, [("x.png", "behind", 0.0, 1.0)], {"x.png": np.zeros((200, 150, 3))})
    with BlenderProcess() as blender, pytest.raises(BadInput, match="unknown view 'behind'"):
        relight(case, prediction, tmp_path, blender)


def _list(case, rows, pictures):
    folder = case.directory / "truth" / "relit"
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(folder / name)
    listed = [
        {"file": file, "view": view, "hdri": "sunset", "rotation_degrees": turn, "strength": strength}
        for file, view, turn, strength in rows
    ]
    (folder / "relit.json").write_text(json.dumps(listed))


@pytest.mark.slow
@pytest.mark.blend
def test_cycles_in_the_truths_space(tmp_path):
    """A truth that is the avatar, turned: relit in the turned light it is the same picture, else not."""
    colours = uv_map(
        lambda uv: np.stack([0.5 + 0 * uv[..., 0], 0.2 + 0.2 * uv[..., 1], 0.15 + 0 * uv[..., 0]], -1)
    )
    size = (96, 128)
    prediction = make_prediction(
        tmp_path / "a", plain_materials(albedo_linear=colours), camera=camera_at(0, *size)
    )
    turn = 50.0
    move = Similarity(
        1.05, Rotation.from_euler("y", turn, degrees=True).as_matrix(), np.array([0.02, 0.03, -0.01])
    )
    cameras = {
        name: moved_camera(camera_at(yaw, *size), move.inverse())
        for name, yaw in (("photo", 0), ("left45", 45))
    }
    vertices = move.apply(load_head("open").mean_vertices)
    case = write_truth(tmp_path / "c", vertices, cameras, albedo=grey)
    hdri = find_hdri("sunset", case)
    with BlenderProcess() as blender:
        # The truth's pictures: the avatar where it is, drawn by a request of our own.
        pictures = {}
        for name, camera in (("photo", camera_at(0, *size)), ("left45", camera_at(45, *size))):
            still = Similarity(1.0, np.eye(3), np.zeros(3))
            folder = moved_copy(prediction.avatar, still, camera, tmp_path / name)
            request = {
                "command": "render", "avatar": str(folder), "output": str(tmp_path / f"{name}.png"),
                "view": "photo", "size": 128, "samples": 24, "hdri": str(hdri), "rotation_degrees": 30.0,
            }  # fmt: skip
            blender.ask(request, Run(), 600)
            pictures[f"{name}.png"] = np.asarray(Image.open(tmp_path / f"{name}.png"))[..., :3] / 255
        found = {}
        for label, rotation, strength in (
            ("right", 30 - turn, 1.0),
            ("other way", 30 + turn, 1.0),
            ("too bright", 30 - turn, 1.5),
        ):
            rows = [(f"{view}.png", view, rotation, strength) for view in ("photo", "left45")]
            if label != "right":
                rows = rows[:1]
            _list(case, rows, pictures)
            shown = tmp_path / label
            shown.mkdir()
            found[label] = relight(case, prediction, shown, blender, samples=24)
    assert found["right"]["relit_psnr_db"] > 34
    assert found["right"]["relit_turned_psnr_db"] > 34
    assert found["right"]["relit_ssim"] > 0.95
    assert found["other way"]["relit_psnr_db"] < found["right"]["relit_psnr_db"] - 8
    assert found["too bright"]["relit_psnr_db"] < found["right"]["relit_psnr_db"] - 8
    assert (tmp_path / "right" / "relit_photo.png").is_file()
