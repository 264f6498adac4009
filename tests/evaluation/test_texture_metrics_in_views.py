"""Maps of an avatar beside a truth's, in the truth's own pictures: transforms, masks, units."""

from dataclasses import replace

import numpy as np
import pytest
from avatar_cases import TEXELS, camera_at, make_case, make_prediction, plain_materials, uv_map, write_truth
from scipy.spatial.transform import Rotation
from skimage.color import deltaE_ciede2000, rgb2lab

from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.evaluation.align import Similarity
from backend.evaluation.cases import TruthView
from backend.evaluation.material_metrics import (
    compare,
    mean_angle_degrees,
    relief_rmse_mm,
)
from backend.evaluation.material_metrics import (
    measure as measure_materials,
)
from backend.evaluation.own_view import OwnView, read_map
from backend.evaluation.registration import moved_camera, onto_truth, own_camera, record_of, same_picture
from backend.evaluation.skin_tone_groups import measure as measure_tone
from backend.evaluation.texture_groups import (
    measure_albedo,
    measure_occluders,
    measure_texture,
    measure_turned_albedo,
)
from backend.evaluation.truth_masks import face_of
from backend.head.registry import load_head
from backend.uvspace.chart import chart_maps


def waves(uv):
    """A colour that tells where in the chart it lies."""
    u, v = uv[..., 0], uv[..., 1]
    return np.stack([0.3 + 0.2 * np.sin(25 * u), 0.3 + 0.2 * np.cos(25 * v), 0.3 + 0 * u], -1)


@pytest.fixture(scope="module")
def wavy(tmp_path_factory):
    return make_prediction(
        tmp_path_factory.mktemp("wavy") / "a", plain_materials(albedo_linear=uv_map(waves))
    )


def test_the_same_albedo_meets_itself_in_the_photo(wavy, tmp_path):
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=waves)
    values = measure_albedo(case, wavy, tmp_path)
    assert values["albedo_rmse"] < 0.012
    assert values["albedo_psnr_db"] > 34
    assert values["albedo_ssim"] > 0.98
    assert values["albedo_ms_gms"] > 0.97
    assert values["albedo_covered_percent"] > 97
    assert (tmp_path / "albedo.png").stat().st_size > 1000


def test_a_pixel_off_is_seen(wavy, tmp_path):
    camera = camera_at(0)
    x, y = camera.principal_px
    shifted = make_case(tmp_path / "c", {"photo": replace(camera, principal_px=(x + 2, y))}, albedo=waves)
    assert measure_albedo(shifted, wavy, tmp_path)["albedo_rmse"] > 0.02


def test_the_photo_is_compared_in_the_truths_resolution(wavy, tmp_path):
    camera = camera_at(0, 225, 300)
    case = make_case(tmp_path / "c", {"photo": camera}, albedo=waves)
    assert measure_albedo(case, wavy, tmp_path)["albedo_rmse"] < 0.012
    with pytest.raises(ValueError, match="not the same picture"):
        same_picture(camera, 300, 225)


def test_known_factor_and_units(tmp_path):
    prediction = make_prediction(
        tmp_path / "a", plain_materials(albedo_linear=np.full((TEXELS, TEXELS, 3), 0.2, np.float32))
    )
    case = make_case(
        tmp_path / "c", {"photo": camera_at(0)}, albedo=lambda uv: np.full((*uv.shape[:2], 3), 0.3)
    )
    values = measure_albedo(case, prediction, tmp_path)
    assert values["albedo_rmse"] == pytest.approx(0.1, abs=2e-3)  # of linear albedo, not of sRGB (0.1 → 0.1)
    assert values["albedo_rmse_one_scale"] < 1e-3
    srgb = [1.055 * c ** (1 / 2.4) - 0.055 for c in (0.2, 0.3)]
    assert values["albedo_psnr_db"] == pytest.approx(-20 * np.log10(srgb[1] - srgb[0]), abs=0.2)
    assert measure_tone(case, prediction, tmp_path)["skin_delta_e_2000"] == pytest.approx(8.1, abs=1.0)


def test_a_wrong_colour_is_no_wrong_brightness(tmp_path):
    own, truth = np.array([0.36, 0.20, 0.12]), np.array([0.30, 0.20, 0.14])
    flat = np.broadcast_to(own, (TEXELS, TEXELS, 3)).astype(np.float32)
    prediction = make_prediction(tmp_path / "a", plain_materials(albedo_linear=flat))
    case = make_case(
        tmp_path / "c", {"photo": camera_at(0)}, albedo=lambda uv: np.broadcast_to(truth, (*uv.shape[:2], 3))
    )
    values = measure_albedo(case, prediction, tmp_path)
    best = own * (own @ truth) / (own @ own)
    assert values["albedo_rmse_one_scale"] == pytest.approx(np.sqrt(np.mean((best - truth) ** 2)), abs=1e-3)
    assert values["albedo_rmse_channel_scale"] < 1e-3
    assert values["albedo_ms_gms"] > 0.99  # neither has a gradient
    tone = measure_tone(case, prediction, tmp_path)
    (l_own, _, b_own), (l_truth, _, b_truth) = lab = [rgb2lab(linear_to_srgb(c)) for c in (own, truth)]
    angles = np.degrees(np.arctan2([l_own - 50, l_truth - 50], [b_own, b_truth]))
    assert tone["skin_ita_error_degrees"] == pytest.approx(abs(angles[0] - angles[1]), abs=1.0)
    assert tone["skin_delta_e_2000"] == pytest.approx(deltaE_ciede2000(*lab), abs=0.3)
    assert tone["skin_delta_e_2000_pixels"] == pytest.approx(tone["skin_delta_e_2000"], abs=0.2)


MOVE = Similarity(
    1.08, Rotation.from_euler("xyz", [8, -14, 5], degrees=True).as_matrix(), np.array([0.02, -0.03, 0.05])
)


def _moved_case(folder):
    """The truth stands elsewhere, is turned and larger; its ±45° cameras stand where it is."""
    vertices = MOVE.apply(load_head("open").mean_vertices)
    cameras = {
        name: moved_camera(camera_at(yaw), MOVE.inverse())
        for name, yaw in (("photo", 0), ("left45", 45), ("right45", -45))
    }
    return write_truth(folder, vertices, cameras, albedo=waves)


def test_turned_views_follow_the_truths_head_space(wavy, tmp_path):
    case = _moved_case(tmp_path / "c")
    found = onto_truth(case, wavy)
    assert found.scale == pytest.approx(1.08, abs=1e-5)
    assert np.allclose(found.rotation, MOVE.rotation, atol=1e-5)
    values = measure_turned_albedo(case, wavy, tmp_path)
    assert values["albedo_turned_rmse"] < 0.02
    assert values["albedo_turned_psnr_db"] > 30
    camera = own_camera(case, wavy, "left45", case.view("left45").camera)
    assert np.allclose(camera.world_to_camera, camera_at(45).world_to_camera, atol=1e-4)


def test_turned_views_are_averaged_name_by_name(tmp_path):
    """Flat albedos: one view is off by a brightness, the other by a colour, both in closed form."""
    own = np.array([0.2, 0.2, 0.2])
    brighter, redder = np.array([0.3, 0.3, 0.3]), np.array([0.3, 0.2, 0.2])
    flat = np.broadcast_to(own, (TEXELS, TEXELS, 3)).astype(np.float32)
    prediction = make_prediction(tmp_path / "a", plain_materials(albedo_linear=flat))
    views = {"photo": camera_at(0), "left45": camera_at(45), "right45": camera_at(-45)}
    case = make_case(tmp_path / "c", views, albedo=lambda uv: np.broadcast_to(brighter, (*uv.shape[:2], 3)))
    path = tmp_path / "c" / "truth" / "views" / "right45" / "buffers.npz"
    with np.load(path) as archive:
        kept = dict(archive)
    kept["albedo_linear"] = np.broadcast_to(redder, kept["albedo_linear"].shape).astype(np.float16)
    np.savez(path, **kept)
    values = measure_turned_albedo(case, prediction, tmp_path)
    best = own * (own @ redder) / (own @ own)
    tint = np.sqrt(np.mean((best - redder) ** 2))
    assert values["albedo_turned_rmse"] == pytest.approx((0.1 + 0.1 / np.sqrt(3)) / 2, abs=1.5e-3)
    assert values["albedo_turned_rmse_one_scale"] == pytest.approx(tint / 2, abs=1e-3)
    assert values["albedo_turned_rmse_channel_scale"] < 1e-3
    a, b = (float(linear_to_srgb(np.float64(c))) for c in (0.2, 0.3))
    psnr = [-20 * np.log10((b - a) * share) for share in (1, 1 / np.sqrt(3))]
    assert values["albedo_turned_psnr_db"] == pytest.approx(np.mean(psnr), abs=0.2)
    # SSIM of flat pictures is its luminance term, of luma or by channel; a third of the colour's at most.
    term = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert term - 0.01 < values["albedo_turned_ssim"] < (1 + term) / 2 + 0.03
    assert values["albedo_turned_ms_gms"] > 0.99


def test_left_is_not_right(wavy, tmp_path):
    case = _moved_case(tmp_path / "c")
    views = tmp_path / "c" / "truth" / "views"
    (views / "left45" / "buffers.npz").rename(views / "swap.npz")
    (views / "right45" / "buffers.npz").rename(views / "left45" / "buffers.npz")
    (views / "swap.npz").rename(views / "right45" / "buffers.npz")
    assert measure_turned_albedo(case, wavy, tmp_path)["albedo_turned_rmse"] > 0.08


def test_materials_against_truth_and_against_doing_nothing(tmp_path):
    tilt = np.zeros((TEXELS, TEXELS, 3), np.float32)
    tilt[..., 0], tilt[..., 2] = np.sin(np.radians(10)), np.cos(np.radians(10))
    bumps = (2e-4 * np.sin(30 * uv_map(lambda uv: uv[..., :1]))[..., 0]).astype(np.float32)
    prediction = make_prediction(tmp_path / "a", plain_materials(normal_tangent=tilt))
    case = make_case(
        tmp_path / "c",
        {"photo": camera_at(0)},
        albedo=waves,
        constants={"roughness": 0.62, "specular": 0.3, "displacement_m": 1e-3},
    )
    values = measure_materials(case, prediction, tmp_path)
    assert values["normal_degrees"] == pytest.approx(10, abs=0.6)
    assert values["normal_smooth_degrees"] < 1
    assert values["roughness_error"] == pytest.approx(0.12, abs=3e-3)
    assert values["specular_error"] == pytest.approx(0.1, abs=3e-3)
    assert 0.05 < values["roughness_prior_error"] < 0.2
    assert 0.03 < values["specular_prior_error"] < 0.09
    assert values["displacement_rmse_mm"] < 1e-3  # a constant is the mesh's, not the map's
    bumpy = make_prediction(tmp_path / "b", plain_materials(displacement_m=bumps))
    bumped = measure_materials(case, bumpy, tmp_path)
    assert bumped["displacement_rmse_mm"] == pytest.approx(0.2 / np.sqrt(2), rel=0.15)
    assert bumped["displacement_flat_rmse_mm"] < 1e-3


def test_normals_are_compared_in_the_cameras_space(tmp_path):
    """Another head space, 15° away, is no error of the normals."""
    prediction = make_prediction(tmp_path / "a")
    assert measure_materials(_moved_case(tmp_path / "c"), prediction, tmp_path)["normal_degrees"] < 1


def test_materials_count_on_the_skin_that_both_show():
    mask, covered = np.zeros((2, 8, 8), bool)
    mask[:, :6], covered[:5] = True, True
    both = mask & covered
    off = np.where(both, 0.1, 7.0).astype(np.float32)
    up = np.zeros((8, 8, 3), np.float32)
    up[..., 2] = 1
    level = np.zeros((8, 8), np.float32)
    own = OwnView(covered, up, up, up, off, off, 1e-3 * off, level, level, level)
    truth = TruthView(
        record_of(replace(camera_at(0, 8, 8), world_to_camera=np.eye(4)[:3])),
        {
            "face_mask": mask.astype(np.uint8),
            "normal_head": np.where(both[..., None], up, -up),
            "roughness": level,
            "specular": level + 0.3,
            "displacement_m": level,
        },
    )
    values = compare(truth, own)
    assert values["normal_degrees"] == 0
    assert values["roughness_error"] == pytest.approx(0.1)
    assert values["specular_error"] == pytest.approx(0.2)
    assert values["specular_prior_error"] == pytest.approx(0.3)
    assert values["displacement_rmse_mm"] == pytest.approx(0, abs=1e-6)


def test_angles_and_reliefs_in_closed_form():
    a = np.array([[0, 0, 1.0], [0, 0, 2.0], [0, 0, 0]])
    b = np.array([[0, np.sin(0.2), np.cos(0.2)], [0, 0, 1], [1, 0, 0]])
    assert mean_angle_degrees(a, b) == pytest.approx(np.degrees(0.1))
    assert mean_angle_degrees(a[:1], -a[:1]) == pytest.approx(180)
    assert mean_angle_degrees(a[2:], b[2:]) is None
    assert relief_rmse_mm(np.array([1e-3, 2e-3]), np.array([5e-3, 5e-3])) == pytest.approx(0.5)


def test_occluders_in_the_texture_and_of_the_photo(tmp_path):
    confidence = np.ones((TEXELS, TEXELS), np.float32)
    half = uv_map(lambda uv: uv[..., :1])[..., 0] < 0.5  # one half of the chart believes everything
    camera = camera_at(0)

    def fringe(xy):
        return xy[..., 1] < 90

    case = make_case(tmp_path / "c", {"photo": camera}, albedo=waves, occluder=fringe)
    all_of_it = measure_occluders(case, make_prediction(tmp_path / "a", confidence=confidence), tmp_path)
    one_side = measure_occluders(
        case, make_prediction(tmp_path / "b", confidence=confidence * half), tmp_path
    )
    nothing = measure_occluders(case, make_prediction(tmp_path / "n", confidence=0 * confidence), tmp_path)
    assert all_of_it["occluder_leak_percent"] == 100
    assert one_side["occluder_leak_percent"] == pytest.approx(50, abs=6)
    assert nothing == {"occluder_in_texture_percent": None, "occluder_leak_percent": 0}
    assert 5 < all_of_it["occluder_in_texture_percent"] < 60
    # Who believes only what lies low in the picture believed nothing of the fringe.
    chart = chart_maps(load_head("open"), load_head("open").mean_vertices, TEXELS)
    low = camera.project(chart.position_head)[0][..., 1] > 95
    careful = measure_occluders(case, make_prediction(tmp_path / "l", confidence=confidence * low), tmp_path)
    assert careful["occluder_leak_percent"] < 2
    assert careful["occluder_in_texture_percent"] == 0
    assert not (face_of(case.view("photo")) & (case.view("photo").buffers["occluder_mask"] > 0)).any()
    # What an occluder hides is nobody's albedo.
    grey = make_prediction(tmp_path / "g")
    assert measure_albedo(case, grey, tmp_path)["albedo_covered_percent"] > 90


def test_maps_are_read_in_their_own_units(tmp_path):
    bumps = (2e-4 * np.sin(30 * uv_map(lambda uv: uv[..., :1]))[..., 0] + 1e-4).astype(np.float32)
    avatar = make_prediction(tmp_path / "a", plain_materials(displacement_m=bumps)).avatar
    assert np.abs(read_map(avatar, "displacement") - bumps).max() < 1e-8
    assert np.abs(read_map(avatar, "albedo") - 0.3).max() < 3e-3  # linear, from 8 bits of sRGB
    assert np.abs(read_map(avatar, "normal") - [0, 0, 1]).max() < 5e-3
    assert np.abs(read_map(avatar, "roughness") - 0.5).max() < 3e-3


def test_a_texture_speaks_for_itself(wavy, tmp_path):
    values = measure_texture(None, wavy, tmp_path)
    assert values["bs_error"] > 1
    assert values["seam_ratio"] is not None


def test_a_view_without_albedo_says_so(wavy, tmp_path):
    case = make_case(tmp_path / "c", {"photo": camera_at(0)}, albedo=waves)
    path = tmp_path / "c" / "truth" / "views" / "photo" / "buffers.npz"
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files if name != "albedo_linear"}
    np.savez(path, **kept)
    with pytest.raises(BadInput, match="no albedo_linear; albedo is left out"):
        measure_albedo(case, wavy, tmp_path)
