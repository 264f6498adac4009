"""G-buffers against the surfaces and maps that they show."""

from __future__ import annotations

import numpy as np
from cast_photos import cast
from chart_meshes import cylinder, front_camera, head_from_mesh, sphere

from backend.uvspace.render import TexturedHead, render_view
from backend.uvspace.seams import dilate

from backend.uvspace.chart import chart_raster  # isort: skip


def uv_chart(size: int) -> np.ndarray:
    """A chart map whose texels hold their own (u, v, 0.25)."""
    column, row = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    return np.stack([column, row, np.full((size, size), 0.25)], -1).astype(np.float32)


def test_albedo_is_where_embree_says_it_is() -> None:
    tube, camera = cylinder(), front_camera(200, 500, yaw=30)
    buffer = render_view(tube, tube.mean_vertices, {"albedo_linear": uv_chart(256)}, camera, supersample=1)
    ids, weights = cast(tube.mean_vertices, tube.triangles, camera)
    uv = np.einsum("hwk,hwkc->hwc", weights, tube.uvs[tube.triangle_uvs[np.maximum(ids, 0)]].astype(float))
    both = (ids >= 0) & (buffer.part == 0)
    assert both.sum() > 5000
    inner = both & (uv[..., 0] > 0.07) & (uv[..., 0] < 0.93) & (uv[..., 1] > 0.07) & (uv[..., 1] < 0.93)
    error = np.abs(buffer.albedo_linear[..., :2] - uv)[inner]
    assert error.max() < 0.5 / 256
    assert np.abs(buffer.mask - (ids >= 0)).mean() < 2e-3


def test_positions_normals_and_view_on_a_ball() -> None:
    ball, camera = sphere(65, 128), front_camera(200, 700)
    buffer = render_view(ball, ball.mean_vertices, {}, camera, supersample=2)
    hit = buffer.part == 0
    assert buffer.part.shape == (400, 400)
    position = buffer.position_head[hit]
    np.testing.assert_allclose(np.linalg.norm(position, axis=1), 0.1, atol=2e-4)
    np.testing.assert_allclose(buffer.normal_head[hit], position / 0.1, atol=0.03)
    toward = camera.centre_head - position
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    np.testing.assert_allclose(buffer.view_head[hit], toward, atol=1e-5)
    np.testing.assert_allclose(buffer.albedo_linear[hit], 0.5, atol=1e-6)  # the head's vertex albedo
    for outside in (buffer.albedo_linear, buffer.normal_head, buffer.roughness, buffer.view_head):
        assert (outside[~hit] == 0).all()


def test_resolve_averages_in_linear_light_over_the_background() -> None:
    ball, camera = sphere(), front_camera(80, 200)
    buffer = render_view(ball, ball.mean_vertices, {}, camera, supersample=4)
    picture = buffer.resolve(np.full((*buffer.part.shape, 3), 2.0, np.float32), 1.0)
    assert picture.shape == (80, 80, 3)
    np.testing.assert_allclose(picture[..., 0], 1 + buffer.coverage(), atol=1e-6)
    radius = 0.1 / np.sqrt(0.6**2 - 0.1**2) * 200  # of the ball's outline
    np.testing.assert_allclose(buffer.coverage().sum(), np.pi * radius**2, rtol=0.01)


def test_normal_map_tilts_along_u_and_v() -> None:
    tube, camera = cylinder(9, 96), front_camera(120, 300)
    s = 2**-0.5
    for tilt, expected in (([s, 0, s], [s, 0, s]), ([0, s, s], [0, s, s])):
        look = {"normal_tangent": np.broadcast_to(np.float32(tilt), (64, 64, 3))}
        buffer = render_view(tube, tube.mean_vertices, look, camera, supersample=1)
        # The tube's front line faces +Z with u to +X and v to +Y.
        np.testing.assert_allclose(buffer.normal_head[60, 60], expected, atol=0.03)


def test_displacement_shades_like_the_normals_of_the_displaced_surface() -> None:
    """Height rising linearly with v on a tube: the cone's normal, tilted down by the slope."""
    tube, camera = cylinder(9, 96), front_camera(120, 300)
    size = 128
    v = 1 - (np.arange(size) + 0.5) / size
    height = np.broadcast_to((0.01 * (v - 0.5))[:, None], (size, size)).astype(np.float32)
    buffer = render_view(tube, tube.mean_vertices, {"displacement_m": height}, camera, supersample=1)
    slope = 0.01 * 0.9 / 0.2  # v spans 0.9 over 0.2 m
    expected = np.array([0, -slope, 1]) / np.hypot(1, slope)
    np.testing.assert_allclose(buffer.normal_head[60, 60], expected, atol=0.02)


def test_far_away_detail_fades_to_its_mean() -> None:
    tube = cylinder()
    board = ((np.add.outer(np.arange(512), np.arange(512)) % 2)[..., None] * np.ones(3)).astype(np.float32)
    board = dilate(board, chart_raster(tube, 512).covered)
    buffer = render_view(tube, tube.mean_vertices, {"albedo_linear": board}, front_camera(60, 150), 1)
    middle = buffer.albedo_linear[25:35, 25:35]
    np.testing.assert_allclose(middle, 0.5, atol=0.05)


def test_parts_have_looks_of_their_own() -> None:
    skin, eye = sphere(), sphere(17, 32, radius=0.03)
    count, uv_count = len(skin.mean_vertices), len(skin.uvs)
    head = head_from_mesh(
        "with an eye",
        np.concatenate([skin.mean_vertices, eye.mean_vertices + np.float32([0, 0, 0.1])]),
        np.concatenate([skin.triangles, eye.triangles + count]),
        np.concatenate([skin.uvs, eye.uvs]),
        np.concatenate([skin.triangle_uvs, eye.triangle_uvs + uv_count]),
        part=np.repeat([0, 1], [len(skin.triangles), len(eye.triangles)]),
        part_names=("skin", "eye_left"),
    )
    drawn = TexturedHead(
        head,
        head.mean_vertices,
        {"albedo_linear": (0.8, 0.6, 0.5), "roughness": 0.6},
        {"eye_left": {"albedo_linear": uv_chart(64), "roughness": 0.1}},
    )
    buffer = drawn.view(front_camera(100, 250), supersample=1)
    np.testing.assert_allclose(
        buffer.albedo_linear[buffer.part == 0], [[0.8, 0.6, 0.5]] * (buffer.part == 0).sum()
    )
    np.testing.assert_allclose(buffer.roughness[buffer.part == 1], 0.1)
    np.testing.assert_allclose(buffer.albedo_linear[50, 50], [0.5, 0.5, 0.25], atol=0.03)
    np.testing.assert_allclose(buffer.specular[buffer.part >= 0], 0.5)
