"""The rasterisers against each other, closed forms and embree."""

from __future__ import annotations

import numpy as np
import pytest
from cast_photos import cast
from chart_meshes import cylinder, front_camera, lattice, sphere

from backend.errors import Missing
from backend.uvspace.numba_rasteriser import nearest_depth
from backend.uvspace.rasterise import (
    NumbaRasteriser,
    NvdiffrastRasteriser,
    PlainRasteriser,
    RasterBuffers,
    cropped_camera,
    rasterise_camera,
    rasterise_chart,
)


def random_soup(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes, some off the frame; every third with corners on pixel centres."""
    rng = np.random.default_rng(seed)
    vertices = rng.uniform(-20, 120, (200, 3))
    vertices[:, 2] = rng.uniform(0.5, 3, 200)
    if seed % 3 == 0:
        vertices[:, :2] = vertices[:, :2] // 10 * 10 + 0.5
    elif seed % 3 == 1:
        vertices[:, :2] = np.round(vertices[:, :2] * 2) / 2
    return vertices, rng.integers(0, 200, (250, 3)).astype(np.int32)


@pytest.mark.parametrize("seed", range(6))
def test_numba_and_plain_agree(seed: int) -> None:
    vertices, triangles = random_soup(seed)
    fast = NumbaRasteriser().rasterise(vertices, triangles, 100, 90)
    plain = PlainRasteriser().rasterise(vertices, triangles, 100, 90)
    assert fast.covered.sum() > 1000
    np.testing.assert_array_equal(fast.triangle, plain.triangle)
    np.testing.assert_array_equal(fast.depth, plain.depth)
    np.testing.assert_allclose(fast.barycentric, plain.barycentric, atol=1e-6)
    np.testing.assert_array_equal(nearest_depth(vertices, triangles, 100, 90), plain.depth)


def test_what_is_farther_than_float32_reaches_is_not_drawn() -> None:
    """1/z rounds to 0 there, which is infinitely far."""
    corners = np.array([[2, 2, 1e60], [30, 2, 1e60], [2, 30, 1e60]], float)
    for rasteriser in (NumbaRasteriser(), PlainRasteriser()):
        drawn = rasteriser.rasterise(corners, np.array([[0, 1, 2]], np.int32), 32, 32)
        assert not drawn.covered.any()
        assert np.isinf(drawn.depth).all()


@pytest.mark.parametrize("rasteriser", [NumbaRasteriser(), PlainRasteriser()])
@pytest.mark.parametrize("snap", [0.0, 0.5])
def test_shared_edges_are_covered_exactly_once(rasteriser: NumbaRasteriser, snap: float) -> None:
    """A crumpled grid: the triangles' own coverages sum to 1 on every pixel of its outline, 0 outside."""
    triangles, _, uvs = lattice(12, 12)
    rng = np.random.default_rng(3)
    inner = ((uvs > 0) & (uvs < 1)).all(1)
    xy = uvs * 60 + np.where(inner[:, None], rng.uniform(-1.5, 1.5, uvs.shape), 0) + 2
    if snap:
        xy = np.round(xy / snap) * snap  # centres of pixels fall on edges and corners
    vertices = np.concatenate([xy, np.ones((len(xy), 1))], 1)
    count = sum(
        rasteriser.rasterise(vertices, triangles[t : t + 1], 70, 70).covered.astype(int)
        for t in range(len(triangles))
    )
    expected = np.zeros((70, 70), int)
    expected[2:62, 2:62] = 1
    np.testing.assert_array_equal(count, expected)


def test_result_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, triangles = random_soup(2)
    results: list[RasterBuffers] = []
    for count in (1, 2, 5):
        monkeypatch.setattr("backend.uvspace.kernels.threads", lambda count=count: count)
        results.append(NumbaRasteriser().rasterise(vertices * (4, 4, 1), triangles, 400, 400))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].triangle, other.triangle)
        np.testing.assert_array_equal(results[0].barycentric, other.barycentric)


def test_first_listed_wins_at_equal_depth() -> None:
    corners = np.array([[2, 2, 1], [30, 2, 1], [2, 30, 1]], float)
    twice = NumbaRasteriser().rasterise(corners, np.array([[0, 1, 2], [0, 1, 2]], np.int32), 32, 32)
    assert set(np.unique(twice.triangle)) == {-1, 0}


def test_weights_are_perspective_correct() -> None:
    """A floor receding from z = 1 to 4: at its middle row on screen, 1/z is the mean of 1/z."""
    floor = np.array([[0, 0, 1], [64, 0, 1], [0, 64, 4], [64, 64, 4]], float)
    drawn = NumbaRasteriser().rasterise(floor, np.array([[0, 2, 1], [1, 2, 3]], np.int32), 64, 64)
    y = np.arange(64) + 0.5
    z = 1 / (1 + (0.25 - 1) * y / 64)
    np.testing.assert_allclose(drawn.depth, np.broadcast_to(z[:, None], (64, 64)), rtol=1e-6)
    depth = drawn.interpolate(floor[:, 2:], np.array([[0, 2, 1], [1, 2, 3]], np.int32))
    np.testing.assert_allclose(depth[..., 0], drawn.depth, rtol=1e-5)


def test_corners_too_near_not_finite_or_far_away_drop_the_triangle() -> None:
    good = np.array([[2, 2, 1], [30, 2, 1], [2, 30, 1]], float)
    for rasteriser in (NumbaRasteriser(), PlainRasteriser()):
        for bad in ([2, 30, -1], [2, 30, 0], [2, np.nan, 1], [2, 1e6, 1], [2, 30, np.inf]):
            vertices = good.copy()
            vertices[2] = bad
            drawn = rasteriser.rasterise(vertices, np.array([[0, 1, 2]], np.int32), 32, 32)
            assert not drawn.covered.any()
            assert np.isinf(drawn.depth).all()


def test_sphere_depth_is_the_closed_form() -> None:
    """Inscribed facets lie behind the sphere by at most their sagitta."""
    ball = sphere(129, 256, radius=0.1)
    camera = front_camera(200, 700, 0.6)
    depth = rasterise_camera(ball.mean_vertices, ball.triangles, camera).depth
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5)
    ray = np.stack([(x - 100) / 700, (y - 100) / 700, np.ones(x.shape)], -1)
    a, b, c = (ray**2).sum(-1), -2 * 0.6 * ray[..., 2], 0.6**2 - 0.1**2
    inside = b**2 - 4 * a * c > 0.01 * a
    z = (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a)
    error = (depth - z)[inside]
    assert inside.sum() > 10000
    assert error.min() > -1e-6
    assert error.max() < 1e-4


@pytest.mark.parametrize("yaw", [0.0, 50.0])
def test_agrees_with_embree(yaw: float) -> None:
    tube = cylinder(17, 48)
    camera = front_camera(300, 900, 0.5, yaw=yaw)
    drawn = rasterise_camera(tube.mean_vertices, tube.triangles, camera)
    ids, weights = cast(tube.mean_vertices, tube.triangles, camera)
    same = drawn.triangle == ids
    assert same.mean() > 0.999  # rays that pass within rounding of an edge may pick either side
    both = same & (ids >= 0)
    # Snapping moves a corner by at most 1/4096 px; triangles are some 15 px wide.
    np.testing.assert_allclose(drawn.barycentric[both], weights[both], atol=3e-4)


def test_cropped_camera_sees_the_same_pixels() -> None:
    tube = cylinder()
    camera = front_camera(300, 900, 0.5)
    whole = rasterise_camera(tube.mean_vertices, tube.triangles, camera)
    part = rasterise_camera(tube.mean_vertices, tube.triangles, cropped_camera(camera, 90, 40, 100, 120))
    np.testing.assert_array_equal(part.triangle, whole.triangle[40:160, 90:190])
    twice = cropped_camera(camera, 90, 40, 200, 240, 2.0)
    points = tube.mean_vertices
    expected = (camera.project(points)[0] - (90, 40)) * 2
    np.testing.assert_allclose(twice.project(points)[0], expected, atol=1e-9)


def test_chart_rows_grow_downwards_as_v_falls() -> None:
    """One triangle in the chart's top-left corner (u small, v large) covers the image's top-left."""
    uvs = np.array([[0, 1], [0, 0.5], [0.5, 1]], np.float32)
    drawn = rasterise_chart(uvs, np.array([[0, 1, 2]], np.int32), 64)
    assert drawn.triangle[0, 0] == 0
    assert not drawn.covered[33:].any()
    assert not drawn.covered[:, 33:].any()
    # Weights give back the texel's own UV: row = (1 − v)·S − 0.5.
    row, column = np.nonzero(drawn.covered)
    uv = drawn.interpolate(uvs, np.array([[0, 1, 2]], np.int32))[row, column]
    np.testing.assert_allclose((1 - uv[:, 1]) * 64 - 0.5, row, atol=1e-4)
    np.testing.assert_allclose(uv[:, 0] * 64 - 0.5, column, atol=1e-4)


def test_chart_subset_keeps_the_rows_of_the_whole() -> None:
    tube = cylinder()
    whole = rasterise_chart(tube.uvs, tube.triangle_uvs, 128)
    odd = np.arange(1, len(tube.triangles), 2)
    part = rasterise_chart(tube.uvs, tube.triangle_uvs, 128, odd)
    kept = np.isin(whole.triangle, odd)
    np.testing.assert_array_equal(part.triangle[kept], whole.triangle[kept])
    assert not part.covered[~kept].any()


def test_nvdiffrast_says_what_is_missing() -> None:
    torch = pytest.importorskip("torch")
    try:
        import nvdiffrast.torch  # noqa: F401

        present = torch.cuda.is_available()
    except ImportError:
        present = False
    if present:
        pytest.skip("nvdiffrast and CUDA are present")
    with pytest.raises(Missing, match="numba rasteriser"):
        NvdiffrastRasteriser()


@pytest.mark.gpu
def test_nvdiffrast_agrees_with_numba() -> None:
    pytest.importorskip("nvdiffrast")
    ball = sphere()
    camera = front_camera(500, 1500, 0.6)
    expected = rasterise_camera(ball.mean_vertices, ball.triangles, camera)
    drawn = rasterise_camera(ball.mean_vertices, ball.triangles, camera, NvdiffrastRasteriser())
    same = drawn.triangle == expected.triangle
    assert same.mean() > 0.995
    both = same & expected.covered
    np.testing.assert_allclose(drawn.barycentric[both], expected.barycentric[both], atol=2e-3)
    np.testing.assert_allclose(drawn.depth[both], expected.depth[both], rtol=1e-4)
