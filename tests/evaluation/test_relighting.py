"""Relit pictures: the moved avatar, lights and masks; and Cycles itself on a head in another space."""

import json
import os
import shutil

import msgspec
import numpy as np
import pytest
from avatar_cases import camera_at, make_case, make_prediction, plain_materials, uv_map, write_truth
from PIL import Image
from scipy.spatial.transform import Rotation

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")

from backend.artifacts import Run
from backend.errors import BadInput
from backend.evaluation.align import Similarity
from backend.evaluation.case_schema import RelitPicture
from backend.evaluation.registration import moved_camera, record_of
from backend.evaluation.relighting import (
    compare,
    find_hdri,
    relight,
    shot,
    small_camera,
    window_around,
)
from backend.export.blender_process import BlenderProcess
from backend.head.registry import load_head
from blender_addon.bundle import read_bundle, write_manifest

MOVE = Similarity(
    0.93, Rotation.from_euler("xyz", [6, 20, -4], degrees=True).as_matrix(), np.array([0.03, 0.01, -0.04])
)


def make_moved_case(folder, move, cameras):
    """A truth that is the mean head where ``move`` puts it; its cameras stand there as well."""
    there = {name: moved_camera(camera, move.inverse()) for name, camera in cameras.items()}
    return write_truth(folder, move.apply(load_head("open").mean_vertices), there, albedo=grey)


def grey(uv):
    return np.full((*uv.shape[:2], 3), 0.3)


@pytest.fixture(scope="module")
def prediction(tmp_path_factory):
    return make_prediction(tmp_path_factory.mktemp("made") / "a")


def test_only_the_face_is_compared():
    truth = np.random.default_rng(0).random((60, 60, 3))
    own = truth + 0.05
    own[:20] = 0
    mask = np.zeros((60, 60))
    mask[25:55, 5:55] = 1
    values = compare(own, truth, mask, embed=lambda picture: picture.mean((0, 1)))
    assert values["psnr_db"] == pytest.approx(-20 * np.log10(0.05))
    assert values["ms_gms"] == pytest.approx(1, abs=1e-6)  # brightness alone differs
    assert 0.5 < values["ssim"] < 0.9999
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
    large, small = camera_at(20, 768, 1024), camera_at(20, 72, 96)
    made = small_camera(large)
    assert (made.width_px, made.height_px) == (144, 192)
    point = np.array([[0.02, -0.03, 0.08]])
    assert np.allclose(made.project(point)[0], large.project(point)[0] * 144 / 768)
    assert small_camera(small) == small


def test_the_window_holds_the_face_and_a_margin():
    mask = np.zeros((100, 80), bool)
    mask[40:60, 70:78] = True
    left, top, right, bottom = window_around(mask)
    assert 60 < left < 70
    assert 30 < top < 40
    assert right == 80
    assert 60 < bottom < 70
    assert window_around(np.zeros((4, 4), bool)) is None


def test_a_view_that_nobody_knows_is_named(prediction, tmp_path):
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=grey)
    _list(case, [("x.png", "behind", 0.0, 1.0)], {"x.png": np.zeros((200, 150, 3))})
    with BlenderProcess() as blender, pytest.raises(BadInput, match="unknown view 'behind'"):
        relight(case, prediction, tmp_path, blender)


class _Drawn:
    """In Blender's place: draws, for the shot of each light and view, what it was told to."""

    def __init__(self, pictures):
        self.pictures, self.asked = pictures, []

    def ask(self, request, run, timeout_s):
        for one in request["shots"]:
            key = (one["rotation_degrees"], one["camera"]["width_px"])
            self.asked.append(key)
            Image.fromarray(np.rint(self.pictures[key] * 255).astype(np.uint8)).save(one["output"])


def test_figures_are_means_over_lights_by_view(prediction, tmp_path):
    """Two lights in the photo's view, one at each turn; every own picture is off by a known step."""
    sizes = {"photo": (96, 128), "left45": (84, 112), "right45": (90, 120)}
    views = {n: camera_at(yaw, *sizes[n]) for n, yaw in (("photo", 0), ("left45", 45), ("right45", -45))}
    case = make_case(tmp_path / "c", views, albedo=grey)
    steps = {("photo", 10.0): 5, ("photo", 20.0): 20, ("left45", 10.0): 10, ("right45", 10.0): 40}
    rng = np.random.default_rng(1)
    truths, owns, rows = {}, {}, []
    for (view, turn), step in steps.items():
        width, height = sizes[view]
        file = f"{view}{turn:.0f}.png"
        truths[file] = rng.integers(60, 200, (height, width, 3)) / 255
        owns[turn, width] = truths[file] + step / 255
        rows.append((file, view, turn, 1.0))
    _list(case, rows, truths)
    blender = _Drawn(owns)
    values = relight(case, prediction, tmp_path, blender)
    assert len(blender.asked) == len(set(blender.asked)) == 4
    db = {key: 20 * np.log10(255 / step) for key, step in steps.items()}
    assert values["relit_psnr_db"] == pytest.approx((db["photo", 10.0] + db["photo", 20.0]) / 2, abs=1e-3)
    expected = (db["left45", 10.0] + db["right45", 10.0]) / 2
    assert values["relit_turned_psnr_db"] == pytest.approx(expected, abs=1e-3)
    assert values["relit_turned_psnr_db"] < values["relit_psnr_db"] - 3
    assert values["relit_ms_gms"] == pytest.approx(1, abs=1e-3)  # brightness alone differs
    assert values["relit_turned_ms_gms"] == pytest.approx(1, abs=1e-3)
    assert values["relit_turned_ssim"] < values["relit_ssim"] < 1
    assert set(values) == {f"relit{t}_{m}" for t in ("", "_turned") for m in ("psnr_db", "ssim", "ms_gms")}


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


def turned_panorama(source, target, turn, rotation_degrees):
    """The panorama that a head sees from its own space when it is turned by ``turn`` in the light.

    Blender's layout: the middle column looks along the scene's +X, columns to the right turn towards −Y;
    its scene is (x, −z, y) of the head's space; its rotation turns the direction that is looked up.
    """
    import cv2

    image = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)[..., :3]
    height, width = image.shape[:2]
    azimuth = 2 * np.pi * (0.5 - (np.arange(width) + 0.5) / width)
    a, e = np.meshgrid(azimuth, np.pi * (0.5 - (np.arange(height) + 0.5) / height))
    scene = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1)
    head = np.stack([scene[..., 0], scene[..., 2], -scene[..., 1]], -1)
    head = turn.apply(head.reshape(-1, 3)).reshape(head.shape)
    scene = np.stack([head[..., 0], -head[..., 2], head[..., 1]], -1)
    azimuth = np.arctan2(scene[..., 1], scene[..., 0]) + np.radians(rotation_degrees)
    x = (0.5 - azimuth / (2 * np.pi)) % 1 * width - 0.5
    y = (0.5 - np.arcsin(np.clip(scene[..., 2], -1, 1)) / np.pi) * height - 0.5
    turned = cv2.remap(
        image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP
    )
    assert cv2.imwrite(str(target), turned.astype(np.float32))


@pytest.mark.slow
@pytest.mark.blend
def test_cycles_in_the_truths_space(tmp_path):
    """A truth that is the avatar, turned: it is lit from where the truth's light stands, else not."""
    colours = uv_map(
        lambda uv: np.stack([0.5 + 0 * uv[..., 0], 0.2 + 0.2 * uv[..., 1], 0.15 + 0 * uv[..., 0]], -1)
    )
    size = (96, 128)
    prediction = make_prediction(
        tmp_path / "a", plain_materials(albedo_linear=colours), camera=camera_at(0, *size)
    )
    # About the vertical by 50°, and nodding by 15°, which no rotation of the light about the vertical undoes.
    turn = Rotation.from_euler("yx", [50.0, 15.0], degrees=True)
    move = Similarity(1.05, turn.as_matrix(), np.array([0.02, 0.03, -0.01]))
    cameras = {"photo": camera_at(0, *size), "left45": camera_at(45, *size)}
    case = make_moved_case(tmp_path / "c", move, cameras)
    hdri = find_hdri("sunset", case)
    with BlenderProcess() as blender:
        # The truth's pictures: the head where it stands, drawn by requests of our own. In its own space that
        # is the light turned the other way.
        pictures = {}
        for name, camera in cameras.items():
            folder = tmp_path / name
            shutil.copytree(prediction.directory, folder)
            manifest = read_bundle(folder).manifest
            write_manifest(folder, msgspec.structs.replace(manifest, camera=record_of(camera)))
            request = {
                "command": "render", "avatar": str(folder), "output": str(tmp_path / f"{name}.png"),
                "view": "photo", "size": 128, "samples": 24, "hdri": str(tmp_path / "turned.exr"),
            }  # fmt: skip
            turned_panorama(hdri, tmp_path / "turned.exr", turn, 30.0)
            blender.ask(request, Run(), 600)
            pictures[f"{name}.png"] = np.asarray(Image.open(tmp_path / f"{name}.png"))[..., :3] / 255
        found = {}
        for label, rotation, strength in (
            ("right", 30.0, 1.0),
            ("other way", -30.0, 1.0),
            ("too bright", 30.0, 1.5),
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


@pytest.mark.slow
@pytest.mark.blend
def test_a_shot_does_not_depend_on_those_before_it(tmp_path, prediction):
    """What Cycles keeps between shots is the head alone, not camera, light or window."""
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=grey)
    mask = np.zeros((128, 96), bool)
    mask[30:100, 20:70] = True
    plans = (
        (camera_at(0, 96, 128), mask, "sunset", 30.0, 1.0),
        (camera_at(45, 96, 128), mask[:, ::-1], "city", -60.0, 0.6),
        (camera_at(0, 96, 128), np.zeros((128, 96), bool), "sunset", 120.0, 1.4),
    )

    def ask(blender, chosen, name):
        shots = [
            shot(
                camera,
                face,
                RelitPicture(file="x.png", view="photo", hdri=hdri, rotation_degrees=turn, strength=strength),
                find_hdri(hdri, case),
                np.eye(3),
                tmp_path / f"{name}{index}.png",
            )
            for index, (camera, face, hdri, turn, strength) in enumerate(chosen)
        ]
        request = {
            "command": "render_shots",
            "avatar": str(prediction.directory),
            "samples": 4,
            "subdivision": 0,
        }
        blender.ask(request | {"shots": shots}, Run(), 600)
        return [np.asarray(Image.open(one["output"])).astype(int) for one in shots]

    with BlenderProcess() as blender:
        together = ask(blender, plans, "together")
        for index, plan in enumerate(plans):
            (alone,) = ask(blender, [plan], f"alone{index}-")
            assert np.abs(together[index] - alone).max() <= 2
    assert np.abs(together[0] - together[1]).max() > 50
    left, top, right, bottom = window_around(mask)
    outside = np.ones(mask.shape, bool)
    outside[top:bottom, left:right] = False
    assert together[0][outside].max() <= 1  # black, dithered
    drawn = (together[0] > 1).any(-1)
    assert drawn[~outside].mean() > 0.9
    assert (together[2] > 1).any(-1).mean() > 0.9  # no face: no window
