"""The building blocks: solver, resampling, mirror map, surface fields."""

from __future__ import annotations

import ellipsoid_head as synthetic
import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import map_coordinates
from scipy.sparse import linalg

from backend.texture import grid, mirror, multigrid, regions, surface


def _direct(data, screen, gx, gy, inside):
    """The same least-squares problem by scipy's sparse direct solver, assembled edge by edge."""
    rows, columns = inside.shape
    index = -np.ones(inside.shape, int)
    index[inside] = np.arange(inside.sum())
    n = inside.sum()
    a = sparse.lil_matrix((n, n))
    b = np.zeros((n, data.shape[2]))
    for r in range(rows):
        for c in range(columns):
            if not inside[r, c]:
                continue
            i = index[r, c]
            a[i, i] += screen[r, c]
            b[i] += screen[r, c] * data[r, c]
            for rr, cc, g in ((r, c + 1, gx[r, c]), (r + 1, c, gy[r, c])):
                if rr < rows and cc < columns and inside[rr, cc]:
                    j = index[rr, cc]
                    a[i, i] += 1
                    a[j, j] += 1
                    a[i, j] -= 1
                    a[j, i] -= 1
                    b[i] -= g
                    b[j] += g
    out = np.zeros(data.shape)
    out[inside] = linalg.splu(a.tocsc()).solve(b)
    return out


@pytest.mark.parametrize("shape", [(32, 32), (37, 29)])
def test_multigrid_agrees_with_a_direct_solve(shape):
    rng = np.random.default_rng(1)
    inside = np.ones(shape, bool)
    inside[5:12, 8:20] = False
    inside[:, -3:] = False
    screen = np.where(rng.random(shape) < 0.1, rng.random(shape) * 5, 0).astype(np.float32)
    data = rng.normal(size=(*shape, 2)).astype(np.float32)
    gx = 0.1 * rng.normal(size=(*shape, 2)).astype(np.float32)
    gy = 0.1 * rng.normal(size=(*shape, 2)).astype(np.float32)
    ours = multigrid.solve(data, screen, gx, gy, inside, iterations=60, tolerance=1e-6)
    theirs = _direct(data, screen, gx, gy, inside)
    assert np.abs(ours - theirs).max() < 2e-4 * np.abs(theirs).max()


def test_multigrid_converges_in_few_iterations_on_a_nearly_unscreened_grid():
    rng = np.random.default_rng(2)
    size = 256
    inside = np.ones((size, size), bool)
    screen = np.full((size, size), 1e-5, np.float32)
    screen[:8] = 1
    data = rng.normal(size=(size, size, 1)).astype(np.float32)
    zero = np.zeros_like(data)
    u = multigrid.solve(data, screen, zero, zero, inside, iterations=25, tolerance=1e-5)
    b = screen[..., None] * data
    residual = multigrid.apply(u, screen, inside) - b
    assert np.linalg.norm(residual) < 1e-3 * np.linalg.norm(b)


def test_reduction_and_enlargement_keep_a_ramp_in_place():
    size = 64
    r, c = np.mgrid[0:size, 0:size] + 0.5
    ramp = np.stack([r, c, r + c], -1).astype(np.float32)
    mean, cover = grid.weighted_reduce(ramp, np.ones((size, size), np.float32), 4)
    assert cover == pytest.approx(1)
    back = grid.enlarge(mean, size)
    assert np.abs(back - ramp)[4:-4, 4:-4].max() < 1e-3


def test_remapping_is_bilinear_between_centres_holds_the_border_and_skips_what_is_marked():
    rng = np.random.default_rng(4)
    image = rng.random((20, 30, 2)).astype(np.float32)
    index = rng.uniform([0, -3], [23, 33], (9, 150, 2)).astype(np.float32)
    index[3, 5:40, 0] = -1
    expected = np.stack(
        [map_coordinates(image[..., k], index.transpose(2, 0, 1), order=1, mode="nearest") for k in range(2)],
        -1,
    )
    expected[3, 5:40] = 0
    np.testing.assert_allclose(grid.remap(image, index), expected, atol=1e-5)
    np.testing.assert_allclose(grid.remap(image[..., 1], index), expected[..., 1], atol=1e-5)


def test_dilation_keeps_what_is_known_and_fills_the_rest_within_its_range():
    rng = np.random.default_rng(3)
    image = rng.uniform(0.2, 0.6, (64, 64, 3)).astype(np.float32)
    known = rng.random((64, 64)) < 0.2
    out = grid.dilate(image, known)
    assert np.array_equal(out[known], image[known])
    assert out.min() >= 0.2 - 1e-6
    assert out.max() <= 0.6 + 1e-6


def test_the_mirror_map_is_an_involution_within_a_texel():
    size = 128
    head = synthetic.make_head()
    chart = synthetic.make_chart(head, size)
    index = mirror.mirror_index(head, chart.face_id, chart.barycentric)
    # Coordinates encoded as colour: mirroring twice must give back each texel's own place.
    twice = grid.remap(index, index)
    own = np.stack(np.mgrid[0:size, 0:size], -1).astype(np.float32)
    safe = chart.inside & (np.abs(own[..., 1] - size / 2) < size * 0.44)
    safe &= np.abs(own[..., 0] - size / 2) < size * 0.42
    error = np.abs(twice - own)[safe]
    assert error.mean() < 0.1
    assert error.max() < 1.0


def test_the_mirror_map_points_at_the_mirrored_place():
    size = 128
    head = synthetic.make_head()
    chart = synthetic.make_chart(head, size)
    index = mirror.mirror_index(head, chart.face_id, chart.barycentric)
    across = grid.remap(chart.position_head, index)
    expected = chart.position_head * np.array([-1, 1, 1], np.float32)
    rows = np.arange(size)
    safe = chart.inside & (np.abs(rows - size / 2) < size * 0.42)[:, None]
    safe &= (np.abs(rows - size / 2) < size * 0.44)[None]
    assert np.abs(across - expected)[safe].max() < 0.004


def test_texels_and_vertices_exchange_a_linear_field():
    size = 256
    head = synthetic.make_head()
    chart = synthetic.make_chart(head, size)
    laid = regions.to_chart(head.mean_vertices, head.triangles, chart.face_id, chart.barycentric)
    assert np.abs(laid - chart.position_head).max() < 1e-6
    back, mass = regions.to_vertices(
        laid,
        chart.inside.astype(np.float32),
        head.triangles,
        chart.face_id,
        chart.barycentric,
        len(head.mean_vertices),
    )
    assert (mass > 0).mean() > 0.95
    assert np.abs(back - head.mean_vertices)[mass > 1].max() < 0.003


def test_a_smooth_surface_field_keeps_constants_and_continues_across_the_back_seam():
    head = synthetic.make_head()
    skin = surface.skin_surface(head, head.mean_vertices)
    node_x = np.zeros((skin.count, 3))
    node_x[skin.node] = head.mean_vertices
    seen = (node_x[:, 2] > 0.03).astype(float)
    constant = skin.smooth(np.full((skin.count, 1), 0.7), seen, 0.01)
    assert constant == pytest.approx(0.7, abs=1e-3)
    ramp = skin.smooth(node_x[:, :1], seen, 0.005)[:, 0]
    # Antisymmetric data must stay antisymmetric at the back, where the chart is cut.
    across = np.empty(skin.count)
    across[skin.node] = ramp[skin.node[head.mirror_vertex]]
    assert np.abs(ramp + across).max() < 5e-3
    assert np.abs(ramp - node_x[:, 0])[node_x[:, 2] > 0.06].max() < 0.004


def test_regions_that_a_head_lacks_are_empty():
    head = synthetic.make_head()
    chart = synthetic.make_chart(head, 64)
    assert not regions.region_map(head, ("no such",), chart.face_id, chart.barycentric).any()
    lips = regions.region_map(head, ("lips", "no such"), chart.face_id, chart.barycentric)
    assert 0.8 < lips.max() <= 1
