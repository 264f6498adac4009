"""Where hair begins: a bald scalp is no hair, a shell thins out towards bare skin."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from backend.artifacts import Camera
from backend.gaussians.hair import free_of_hair
from backend.gaussians.hair_mask import HairSeen, HeadWindow, find_hair
from backend.gaussians.hairline import bare_on_the_other_side, room_for_hair
from backend.head.registry import load_head
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera

SKIN_SRGB = np.array([0.80, 0.62, 0.54], np.float32)
SIDE = 256


@pytest.fixture(scope="module")
def fit() -> SimpleNamespace:
    head = load_head("open")
    return SimpleNamespace(head=head, vertices_head=head.mean_vertices)


def pictured(fit: SimpleNamespace, hair_srgb: np.ndarray, yaw_deg: float = 0.0) -> HeadWindow:
    """The mean head, lit from above and the side, its scalp in ``hair_srgb``; the skin mask ends there.

    With ``yaw_deg`` the camera goes to the subject's left.
    """
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    pose = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0.0], [0, 0, -1, 1.2]])
    pose[:, :3] = pose[:, :3] @ turn
    camera = Camera(1000.0, (SIDE / 2, SIDE / 2), SIDE, SIDE, pose)
    drawn = rasterise_camera(fit.vertices_head, fit.head.opaque_triangles, camera)
    normals = vertex_normals(fit.vertices_head, fit.head.triangles)
    fields = np.column_stack([normals, fit.head.regions["scalp"]])
    of_pixel = drawn.interpolate(fields, fit.head.triangles)
    light = 0.55 + 0.45 * np.clip(of_pixel[..., :3] @ np.array([0.4, 0.5, 0.77]), 0, 1)
    scalp = of_pixel[..., 3] > 0.5
    rgb = light[..., None] * np.where(scalp[..., None], hair_srgb, SKIN_SRGB)
    covered = drawn.covered
    return HeadWindow(
        camera=camera,
        rgb_srgb=np.where(covered[..., None], rgb, 0.3).astype(np.float32),
        skin=(covered & ~scalp).astype(np.float32),
        person=covered.astype(np.float32),
        in_photo=np.ones((SIDE, SIDE), bool),
        drawn=drawn,
    )


def found(fit: SimpleNamespace, hair_srgb: np.ndarray) -> HairSeen | None:
    return find_hair(pictured(fit, hair_srgb), fit)


@pytest.mark.parametrize(("wide_px", "is_bald"), [(6, True), (40, False)])
def test_a_dark_rim_at_the_outline_is_shade(fit: SimpleNamespace, wide_px: int, is_bald: bool) -> None:
    """As dark as hair, but only along the outline; the skin mask leaves it out."""
    import cv2

    bare = pictured(fit, SKIN_SRGB)
    depth = cv2.distanceTransform(bare.drawn.covered.astype(np.uint8), cv2.DIST_L2, 5)
    upper = np.arange(SIDE)[:, None] < 0.4 * SIDE
    rim = (depth > 0) & (depth < wide_px) & upper
    skin = (bare.drawn.covered & ~rim).astype(np.float32)
    dark = np.where(rim[..., None], np.float32([0.2, 0.17, 0.15]), bare.rgb_srgb)
    seen = find_hair(replace(bare, rgb_srgb=dark, skin=skin), fit)
    assert seen is not None
    assert seen.is_bald == is_bald


def test_a_scalp_that_only_shades_off_is_bald(fit: SimpleNamespace) -> None:
    seen = found(fit, SKIN_SRGB)
    assert seen is None or seen.is_bald


@pytest.mark.parametrize("hair_srgb", [(0.15, 0.1, 0.08), (0.66, 0.52, 0.34)])
def test_dark_and_blond_cropped_hair_is_hair(fit: SimpleNamespace, hair_srgb: tuple[float, ...]) -> None:
    seen = found(fit, np.array(hair_srgb, np.float32))
    assert seen is not None
    assert not seen.is_bald


def test_the_shell_thins_out_towards_bare_skin(fit: SimpleNamespace) -> None:
    window = pictured(fit, np.array([0.15, 0.1, 0.08], np.float32))
    seen = find_hair(window, fit)
    assert seen is not None
    rows = np.nonzero(seen.mask[:, SIDE // 2])[0]  # from the crown down to the hairline
    depth = window.drawn.depth[rows, SIDE // 2].astype(np.float64)
    down = (rows + 0.5 - SIDE / 2) / window.camera.focal_px
    points = np.stack([0 * depth, -down * depth, 1.2 - depth], 1)
    room = room_for_hair(window, seen, points, np.zeros(len(points)))
    assert room[-1] < 0.006
    assert room[0] > room[-1] + 0.01
    assert (np.diff(room) < 1e-4).all()


def test_without_bare_skin_hair_stands_off_as_it_likes(fit: SimpleNamespace) -> None:
    window = pictured(fit, np.array([0.15, 0.1, 0.08], np.float32))
    seen = find_hair(window, fit)
    assert seen is not None
    hidden = HeadWindow(**{**vars(window), "skin": np.zeros_like(window.skin)})
    assert np.isinf(room_for_hair(hidden, seen, np.zeros((2, 3)), np.zeros(2))).all()


def test_beyond_the_photos_edge_hair_is_as_at_the_edge(fit: SimpleNamespace) -> None:
    """Hair that the frame cuts off goes on; beside a background nothing begins."""
    window = pictured(fit, np.array([0.15, 0.1, 0.08], np.float32))
    seen = find_hair(window, fit)
    assert seen is not None
    mask = np.zeros_like(seen.mask)
    mask[SIDE // 2 :, : SIDE // 4] = True  # down to the lower left corner
    hanging = replace(seen, mask=mask)
    at_px = np.array([[20, SIDE + 15], [-15, SIDE - 20], [SIDE - 20, SIDE + 15], [-15, 20], [20, SIDE - 20]])
    depth = 1.1  # before the head
    rays = np.column_stack([(at_px - SIDE / 2) / window.camera.focal_px, np.ones(len(at_px))]) * depth
    points = (rays - window.camera.world_to_camera[:, 3]) @ window.camera.world_to_camera[:, :3]
    assert free_of_hair(window, hanging, points).tolist() == [False, False, True, True, False]


def test_behind_the_head_hair_is_as_on_the_other_side(fit: SimpleNamespace) -> None:
    """From the subject's left: beside the hidden cheek there is none, as beside the seen one."""
    window = pictured(fit, np.array([0.15, 0.1, 0.08], np.float32), yaw_deg=40.0)
    seen = find_hair(window, fit)
    assert seen is not None
    normals = vertex_normals(fit.vertices_head, fit.head.triangles)
    cheek = (fit.head.regions["face"] > 0.9) & (normals[:, 0] < -0.7)
    cheek &= fit.vertices_head[:, 0] < -0.04  # the subject's right
    beside = fit.vertices_head[cheek] + 0.01 * normals[cheek]
    pixels, depth = window.camera.project(beside.astype(np.float64))
    column, row = pixels.astype(int).T
    hidden = depth > window.drawn.depth[row, column] + 0.004
    assert hidden.sum() > 20
    assert free_of_hair(window, seen, beside[hidden]).mean() > 0.9


def test_the_hidden_hairline_is_the_seen_one_mirrored(fit: SimpleNamespace) -> None:
    window = pictured(fit, np.array([0.15, 0.1, 0.08], np.float32), yaw_deg=40.0)
    seen = find_hair(window, fit)
    assert seen is not None
    right = fit.vertices_head[:, 0] < -0.03
    bare = bare_on_the_other_side(fit.vertices_head, window, seen, fit)
    forehead = right & (fit.head.regions["forehead"] > 0.9) & (fit.head.regions["scalp"] < 0.05)
    scalp = right & (fit.head.regions["scalp"] > 0.95)
    assert bare[forehead].mean() > 0.7
    assert bare[scalp].mean() < 0.1
