"""Splats grow and shrink with the skin that they lie on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blender_addon.splat_binding import (
    STRETCH,
    SplatBinding,
    read_bound_splats,
    spans_of,
    stretches,
    write_binding,
)
from blender_addon.splats import Splats, write_ply

CORNERS = np.array([[0, 1, 2]], np.int32)
TRIANGLE = np.array([[0.0, 0, 0], [0.01, 0, 0], [0.002, 0.008, 0]], np.float32)


def binding(rotation=(1.0, 0.0, 0.0, 0.0), rest: np.ndarray | None = TRIANGLE) -> SplatBinding:
    return SplatBinding(
        corners=CORNERS,
        barycentric=np.full((1, 3), 1 / 3, np.float32),
        offset=np.zeros((1, 3), np.float32),
        rotation=np.array([rotation], np.float32),
        part=np.zeros(1, np.uint8),
        albedo_srgb=np.zeros((1, 3), np.uint8),
        normal=np.array([[0, 0, 1]], np.float32),
        rest=None if rest is None else spans_of(rest, CORNERS).astype(np.float32),
    )


def splat() -> Splats:
    return Splats(
        np.zeros((1, 3), np.float32),
        np.log(np.array([[0.002, 0.001, 0.0005]], np.float32)),
        np.array([[1, 0, 0, 0]], np.float32),
        np.zeros(1, np.float32),
        np.zeros((1, 1, 3), np.float32),
    )


def sizes(tie: SplatBinding, vertices: np.ndarray) -> np.ndarray:
    return np.exp(tie.placed(splat(), vertices).log_scales[0])


def test_moved_and_turned_skin_changes_no_size() -> None:
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(sizes(binding(), TRIANGLE @ turn.T + 0.3), [0.002, 0.001, 0.0005], rtol=1e-4)


def test_skin_pulled_one_way_widens_splats_that_way_alone() -> None:
    pulled = TRIANGLE * np.array([1.0, 3.0, 1.0], np.float32)
    np.testing.assert_allclose(sizes(binding(), pulled), [0.002, 0.003, 0.0005], rtol=1e-4)
    quarter = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))  # about the normal: the splat's x lies along y
    np.testing.assert_allclose(sizes(binding(quarter), pulled), [0.006, 0.001, 0.0005], rtol=1e-4)


def test_a_direction_is_stretched_as_the_affine_map_does() -> None:
    """Against the map of the triangle itself, on random triangles and directions in their plane."""
    rng = np.random.default_rng(0)
    rest, now = rng.normal(size=(2, 50, 3, 2))
    flat = [np.concatenate([t, np.zeros((50, 3, 1))], 2) for t in (rest, now)]
    corners = np.arange(150).reshape(50, 3).astype(np.int32)
    spans = [spans_of(t.reshape(-1, 3), corners) for t in flat]
    angle = rng.uniform(0, 2 * np.pi, 50)
    axes = np.zeros((50, 3, 3))
    axes[:, 0, 0], axes[:, 1, 0], axes[:, 2, 2] = np.cos(angle), np.sin(angle), 1.0
    axes[:, 0, 1], axes[:, 1, 1] = -np.sin(angle), np.cos(angle)
    got = stretches(spans[0], spans[1], axes)
    for n in range(50):
        edges = [np.stack([t[n, 1] - t[n, 0], t[n, 2] - t[n, 0]], 1) for t in (rest, now)]
        first = edges[0][:, 0] / np.linalg.norm(edges[0][:, 0])
        sign = np.sign(first[0] * edges[0][1, 1] - first[1] * edges[0][0, 1])
        direction = axes[n, 0, 0] * first + axes[n, 1, 0] * sign * np.array([-first[1], first[0]])
        expected = np.linalg.norm(edges[1] @ np.linalg.solve(edges[0], direction))
        assert np.isclose(got[n, 0], np.clip(expected, *STRETCH), rtol=1e-6)
    assert np.allclose(got[:, 2], 1.0)


def test_collapsed_triangles_stay_within_limits() -> None:
    flat = TRIANGLE * np.array([1.0, 0.0, 1.0], np.float32)
    assert np.isfinite(sizes(binding(), flat)).all()
    assert np.isfinite(sizes(binding(rest=flat), TRIANGLE)).all()


def test_avatars_written_before_there_was_stretch_are_read(tmp_path) -> None:
    write_ply(tmp_path / "splats.ply", splat())
    write_binding(tmp_path, binding(rest=None))
    assert read_bound_splats(tmp_path, 3)[1].rest is None
    write_binding(tmp_path, binding())
    tie = read_bound_splats(tmp_path, 3)[1]
    assert np.array_equal(tie.rest, binding().rest)
    kept = replace(tie, rest=None)
    assert np.array_equal(kept.placed(splat(), 3 * TRIANGLE).log_scales, splat().log_scales)
