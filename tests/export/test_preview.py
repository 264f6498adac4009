"""The contact sheet and the relit portraits: what they show is where it should be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_avatar import make_camera, make_head, make_materials, make_reconstruction

from backend.artifacts import PartialUV, Reconstruction
from backend.colour import linear_to_srgb
from backend.export import preview as sheet_of
from backend.export import sheet
from backend.export.portrait import Portrait, portrait_camera, relit_views
from backend.export.preview import preview
from backend.shading import studio
from backend.shading.environment import Environment
from backend.uvspace.chart import chart_maps

SIZE = 96


@pytest.fixture(scope="module")
def reconstruction() -> Reconstruction:
    """The egg with its real chart, before a photo whose colours are its coordinates."""
    made = make_reconstruction(size=SIZE, camera=make_camera(640, 480), expression={})
    chart = chart_maps(made.fit.head, made.fit.vertices_head, SIZE)
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32) + 0.5
    photo = np.stack([columns / 640, rows / 480, np.full_like(rows, 0.25)], -1)
    landmarks, _ = made.fit.camera.project(made.fit.vertices_head[:478])
    observation = dataclasses.replace(
        made.observation,
        photo=dataclasses.replace(made.observation.photo, rgb_srgb=photo),
        landmarks_px=landmarks.astype(np.float32),
        landmarks_visible=np.zeros(478, np.float32),
    )
    partial = PartialUV(chart, made.partial.rgb_linear, np.float32(0.5) * chart.inside, 2.5)
    return dataclasses.replace(made, observation=observation, partial=partial)


@pytest.fixture(scope="module")
def page(reconstruction: Reconstruction) -> np.ndarray:
    return preview(reconstruction)


def _lamp(azimuth: float) -> Environment:
    """The hard side light turned so that it stands at ``azimuth``."""
    return studio.hard_side().rotated(azimuth - 68)


def _halves(picture: np.ndarray) -> tuple[float, float]:
    middle = picture.shape[1] // 2
    return float(picture[:, :middle].mean()), float(picture[:, middle:].mean())


def test_page_has_its_rows_on_a_dark_ground(page: np.ndarray) -> None:
    assert page.dtype == np.uint8
    assert page.shape == (1128, 2280, 3)
    gap = page[:, 5], page[sheet.HEADER + 100, sheet.MARGIN + 424 + 8]
    assert all((pixels == sheet.BACKGROUND).all() for pixels in gap)
    # The title is drawn, and so is a caption below every tile of the first row.
    assert page[20:70, sheet.MARGIN : 400].max() > 200
    for k in range(5):
        x = sheet.MARGIN + k * (424 + sheet.GAP)
        assert page[sheet.HEADER + 530 + 8 : sheet.HEADER + 530 + 34, x : x + 120].max() > 180


def test_the_photo_tile_is_the_photo_where_the_window_says(
    reconstruction: Reconstruction, page: np.ndarray
) -> None:
    size = (424, 530)
    left, top, scale = sheet_of._portrait_window(reconstruction.fit, size)
    tile = page[sheet.HEADER : sheet.HEADER + 530, sheet.MARGIN : sheet.MARGIN + 424] / 255.0
    rows, columns = np.mgrid[20:510:35, 20:404:35]
    photo_x, photo_y = left + (columns + 0.5) / scale, top + (rows + 0.5) / scale
    inside = (photo_x > 4) & (photo_x < 636) & (photo_y > 4) & (photo_y < 476)
    assert inside.mean() > 0.5
    found = tile[rows, columns][inside]
    # An 8-bit step is 2.5 photo pixels wide and 1.9 high.
    np.testing.assert_allclose(found[:, 0] * 640, photo_x[inside], atol=1.5)
    np.testing.assert_allclose(found[:, 1] * 480, photo_y[inside], atol=1.2)


def test_large_photos_are_averaged_and_stay_aligned() -> None:
    rows, columns = np.mgrid[0:900, 0:1200].astype(np.float32) + 0.5
    noise = np.random.default_rng(0).random((900, 1200))
    photo = np.stack([columns / 1200, rows / 900, noise], -1).astype(np.float32)
    tile = sheet_of._cropped(photo, (203.0, 101.0, 0.2), (120, 150))
    y, x = np.mgrid[5:145:20, 5:115:20]
    np.testing.assert_allclose(tile[y, x, 0] * 1200, 203 + (x + 0.5) / 0.2, atol=0.6)
    np.testing.assert_allclose(tile[y, x, 1] * 900, 101 + (y + 0.5) / 0.2, atol=0.6)
    assert tile[..., 2].std() < 0.3 * noise.std(), "25 photo pixels to one: noise averages, not aliases"


def test_a_window_beside_the_photo_is_a_plain_plate() -> None:
    tile = sheet_of._cropped(np.ones((50, 50, 3), np.float32), (500.0, 500.0, 1.0), (20, 30))
    np.testing.assert_allclose(tile, np.broadcast_to(np.array(sheet.PLATE) / 255, (30, 20, 3)), atol=1e-6)


def test_map_tiles_show_the_maps(reconstruction: Reconstruction) -> None:
    tiles = {t.name: t for t in sheet_of._map_tiles(reconstruction, SIZE)}
    assert list(tiles) == ["Albedo", "Normal", "Roughness", "Specular", "Displacement", "Visibility"]
    inside = reconstruction.partial.chart.inside
    albedo = linear_to_srgb(reconstruction.materials.albedo_linear)[inside]
    np.testing.assert_allclose(tiles["Albedo"].picture[inside] / 255, albedo, atol=0.003)
    assert (tiles["Albedo"].picture[~inside] == sheet.PLATE).all()
    assert tiles["Visibility"].note.startswith("100 %")
    rough = reconstruction.materials.roughness[inside]
    np.testing.assert_allclose(tiles["Roughness"].picture[inside][:, 0] / 255, rough, atol=0.003)


def test_the_wire_lies_on_the_head(reconstruction: Reconstruction, page: np.ndarray) -> None:
    """The fit tile differs from the photo on the head and nowhere else."""
    x = sheet.MARGIN + 424 + sheet.GAP
    photo = page[sheet.HEADER : sheet.HEADER + 530, sheet.MARGIN : sheet.MARGIN + 424].astype(int)
    fit = page[sheet.HEADER : sheet.HEADER + 530, x : x + 424].astype(int)
    changed = np.abs(photo - fit).max(-1) > 2
    left, top, scale = sheet_of._portrait_window(reconstruction.fit, (424, 530))
    pixels, _ = reconstruction.fit.camera.project(reconstruction.fit.vertices_head)
    at = (pixels - [left, top]) * scale
    box = np.zeros_like(changed)
    low, high = np.maximum(at.min(0) - 3, 0).astype(int), np.ceil(at.max(0) + 3).astype(int)
    box[low[1] : high[1], low[0] : high[0]] = True
    assert changed[box].mean() > 0.6
    assert not changed[~box].any()


@pytest.mark.parametrize("azimuth", [70.0, -70.0])
def test_a_portrait_is_bright_on_the_side_of_the_light(
    reconstruction: Reconstruction, azimuth: float
) -> None:
    (picture,) = relit_views(reconstruction, (96, 120), [Portrait("front", 0, 0, _lamp(azimuth))])
    assert picture.shape == (120, 96, 3)
    left, right = _halves(picture)
    # The subject's left (+X, positive azimuth) is the right of a frontal picture.
    bright, dark = (right, left) if azimuth > 0 else (left, right)
    assert bright > 1.5 * dark


def test_turning_the_camera_with_the_light_moves_the_bright_side(reconstruction: Reconstruction) -> None:
    """Seen from the subject's left, a lamp in front of the face lights the picture's left."""
    front, profile = relit_views(
        reconstruction,
        (96, 120),
        [Portrait("front", 0, 0, _lamp(0)), Portrait("left", 80, 0, _lamp(0))],
    )
    left, right = _halves(front)
    assert left == pytest.approx(right, rel=0.1)
    left, right = _halves(profile)
    assert left > 1.3 * right


def test_albedo_and_eyes_show_in_the_portrait(reconstruction: Reconstruction) -> None:
    sky = Portrait("front", 0, 0, studio.soft_sky())
    head = reconstruction.fit.head
    dark_skin = dataclasses.replace(
        reconstruction.materials, albedo_linear=0.25 * reconstruction.materials.albedo_linear
    )
    size = (192, 240)
    (fair,) = relit_views(reconstruction, size, [sky])
    (dark,) = relit_views(dataclasses.replace(reconstruction, materials=dark_skin), size, [sky])
    camera = portrait_camera(head, 0, 0, *size)
    (cheek, left_eye, left_pupil), _ = camera.project(
        np.array([[0.03, -0.03, 0.082], [0.0395, 0.03, 0.083], [0.032, 0.03, 0.087]])
    )

    def colour(picture: np.ndarray, at: np.ndarray, reach: int = 1) -> np.ndarray:
        x, y = int(at[0]), int(at[1])
        return picture[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3).astype(float)

    assert colour(dark, cheek).mean() < 0.75 * colour(fair, cheek).mean()
    sclera, pupil = colour(fair, left_eye), colour(fair, left_pupil)
    assert sclera.mean() > 1.6 * pupil.min(0).mean()
    np.testing.assert_allclose(colour(dark, left_eye).mean(), sclera.mean(), rtol=0.08)  # eyes are not skin


def test_portrait_camera_stands_where_yaw_and_pitch_say() -> None:
    head = make_head()
    eyes = head.eye_centres.mean(0)
    for yaw, pitch, axis in ((0, 0, [0, 0, 1]), (90, 0, [1, 0, 0]), (0, 89, [0, 1, 0])):
        camera = portrait_camera(head, yaw, pitch, 100, 125)
        towards = camera.centre_head - eyes
        assert towards @ np.array(axis) / np.linalg.norm(towards) > 0.98
        rotation = camera.world_to_camera[:, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
    (low, high), _ = portrait_camera(head, 20, 5, 100, 125).project(np.array([[0, -0.1, 0], [0, 0.1, 0]]))
    assert high[1] < low[1], "up is up"


def test_maps_of_any_size_give_the_same_portrait(reconstruction: Reconstruction) -> None:
    """Portraits read reduced maps: the same look at four times the texels."""
    sky = [Portrait("front", 0, 0, studio.soft_sky())]
    plain = make_materials(SIZE)
    flat = dataclasses.replace(plain, displacement_m=0 * plain.displacement_m)
    large = type(flat)(*(np.repeat(np.repeat(m, 16, 0), 16, 1) for m in vars(flat).values()))
    assert large.size > 1024
    (a,) = relit_views(dataclasses.replace(reconstruction, materials=flat), (96, 120), sky)
    (b,) = relit_views(dataclasses.replace(reconstruction, materials=large), (96, 120), sky)
    assert np.abs(a.astype(int) - b.astype(int)).mean() < 1.0


def test_long_names_are_cut_to_fit() -> None:
    plain = sheet.Tile(np.zeros((40, 300, 3), np.uint8), "Photograph", "x" * 200)
    page = sheet.compose("n" * 400, "c" * 900, "Likeness", [[plain]])
    assert page.shape == (sheet.HEADER + 40 + sheet.CAPTION + sheet.FOOTER, 300 + 2 * sheet.MARGIN, 3)
    assert (page[:, -sheet.MARGIN + 4 :] == sheet.BACKGROUND).all()
