"""Procedural eyes and the parts that one looks through."""

from __future__ import annotations

import dataclasses

import numpy as np
from spheres import SphereBuffer, front_camera
from synthetic_avatar import EYE_CENTRES, EYE_RADIUS, make_head

from backend.artifacts import Camera
from backend.colour import srgb_to_linear
from backend.shading import parts
from backend.shading.environment import Environment
from backend.shading.relight import relight
from backend.uvspace.rasterise import rasterise_camera
from backend.uvspace.render import TexturedHead


def test_iris_coordinates_are_anatomical_and_turn_with_nothing() -> None:
    head = make_head()
    at = parts.iris_coordinates(head)
    for side, centre in enumerate(EYE_CENTRES):
        rows = np.unique(head.triangles[head.triangle_part == 1 + side])
        offset = head.mean_vertices[rows] - centre
        front = offset[:, 2] > 0.85 * EYE_RADIUS
        radius = np.linalg.norm(at[rows], axis=1)
        expected = np.linalg.norm(offset[:, :2], axis=1) / parts.IRIS_RADIUS_M
        np.testing.assert_allclose(radius[front], expected[front], atol=0.02)
        behind = offset[:, 2] < 0
        assert radius[behind].min() > 2.0
    skin = np.unique(head.triangles[head.triangle_part == 0])
    assert np.linalg.norm(at[skin], axis=1).min() > 5


def test_an_eye_has_a_black_pupil_a_coloured_iris_and_a_pale_sclera() -> None:
    blue = np.array([0.3, 0.45, 0.65])
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    pupil, iris, limbus, sclera = (parts.eye_albedo(r * ring, blue).mean(0) for r in (0.15, 0.65, 0.9, 1.4))
    assert pupil.max() < 0.005
    np.testing.assert_allclose(
        iris / iris.sum(), srgb_to_linear(blue) / srgb_to_linear(blue).sum(), atol=0.01
    )
    assert limbus.mean() < 0.75 * iris.mean()
    assert sclera.min() > 0.35
    assert np.ptp(parts.eye_albedo(0.65 * ring, blue)[:, 0]) > 0.01, "the iris has fibres"


def test_looks_paint_each_eye_in_its_own_chart() -> None:
    looks = parts.looks(make_head(), np.array([0.3, 0.2, 0.1]), 64)
    assert set(looks) == {"eye_left", "eye_right", "teeth"}
    painted = np.asarray(looks["eye_left"]["albedo_linear"])
    assert painted[31:33, 31:33].max() < 0.01, "the pupil is at the chart's centre"
    assert painted[1, 1].min() > 0.2
    assert looks["teeth"]["albedo_linear"] == parts.plain_material("teeth")[0]


def test_see_through_parts_hide_nothing() -> None:
    head = make_head()
    assert head.opaque_triangles is head.triangles
    layered = dataclasses.replace(head, part_names=("skin", "eye_left", "eye_right", "cornea_left"))
    clear = layered.triangle_part == 3
    np.testing.assert_array_equal(layered.opaque_triangles[~clear], layered.triangles[~clear])
    camera = Camera(900.0, (128.0, 128.0), 256, 256, np.c_[np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 0.5]])
    vertices = layered.mean_vertices + np.array([0, 0, 0.1]) * np.isin(
        np.arange(len(layered.mean_vertices)), layered.triangles[clear]
    )[:, None].astype(np.float32)  # the clear part before the face
    assert (rasterise_camera(vertices, layered.triangles, camera).triangle >= 0).any()
    seen = rasterise_camera(vertices, layered.opaque_triangles, camera).triangle
    bare = rasterise_camera(vertices, layered.triangles[~clear], camera).triangle
    np.testing.assert_array_equal(np.flatnonzero(~clear)[bare][bare >= 0], seen[seen >= 0])
    drawn = TexturedHead(layered, vertices, {}).view(camera, 1)
    assert set(np.unique(drawn.part)) <= {-1, 0, 1, 2}
    assert (drawn.part == 0).sum() == (layered.triangle_part[seen[seen >= 0]] == 0).sum()


def test_an_eye_is_darkest_below_its_upper_lid() -> None:
    size = 64
    rows, columns = np.mgrid[0:size, 0:size]
    eye = (np.abs(rows - 32) < 10) & (np.abs(columns - 32) < 20)
    one = np.ones((size, size), np.float32)
    facing = np.zeros((size, size, 3), np.float32)
    facing[..., 2] = 1
    camera = front_camera(size)
    flat = SphereBuffer(
        np.zeros((size, size, 3), np.float32),
        facing,
        facing,
        np.full((size, size, 3), 0.5, np.float32),
        one,
        0 * one,
        np.where(eye, 1, 0).astype(np.int16),
    )
    zoom = dataclasses.replace(camera, focal_px=2000.0)  # 2 pixels a millimetre
    picture = relight(flat, Environment("even", np.ones((16, 32, 3), np.float32)), zoom)[..., 1]
    np.testing.assert_allclose(picture[5, 32], 0.5, rtol=1e-3)
    top, middle, bottom = picture[23, 32], picture[32, 32], picture[41, 32]
    assert top < bottom < middle
    assert middle > 0.45
