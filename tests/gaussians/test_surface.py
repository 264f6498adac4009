"""Gaussians on a mesh: they lie where their texels lie, move as the mesh moves, and files keep the tie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation
from splat_reference import matrices
from synthetic_avatar import make_head

from backend.gaussians.decoder import OPAQUE_LOGIT, SKIN_CHART, SKIN_EVERY
from backend.gaussians.surface import (
    SPREAD,
    BoundGaussians,
    bind,
    chart_points,
    placed,
    texel_shapes,
)
from backend.gaussians.turntable import draw, orbit_camera
from backend.head.registry import load_head
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from blender_addon import splat_sh
from blender_addon.splat_binding import SplatBinding, read_bound_splats, write_binding
from blender_addon.splats import Splats, SplatsError, write_ply


def some_bound(size: int = 24) -> tuple[BoundGaussians, object]:
    head = make_head()
    points = chart_points(head, head.mean_vertices, 0, size)
    normals = vertex_normals(head.mean_vertices, head.triangles)
    n = np.einsum("nk,nkc->nc", points.barycentric, normals[head.triangles[points.triangle]])
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    log_scales, rotations = texel_shapes(points, n)
    count = len(n)
    random = np.random.default_rng(0)
    lifted = points.position + 0.004 * n
    splats = Splats(
        lifted.astype(np.float32),
        log_scales,
        rotations,
        np.zeros(count, np.float32),
        random.normal(size=(count, 4, 3)).astype(np.float32),
    )
    bound = bind(
        splats,
        points.triangle,
        points.barycentric,
        head.mean_vertices,
        head.triangles,
        np.full((count, 3), 0.5, np.float32),
        n,
        np.zeros(count, np.uint8),
    )
    return bound, (head, splats)


def same_rotation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(matrices(a) - matrices(b)).max())


def test_bound_gaussians_lie_where_they_were() -> None:
    bound, (head, splats) = some_bound()
    back = placed(bound, head.mean_vertices, head.triangles)
    assert np.abs(back.positions - splats.positions).max() < 1e-6
    assert same_rotation(back.rotations, splats.rotations) < 1e-4


def test_a_rigid_motion_of_the_mesh_is_the_gaussians_motion() -> None:
    bound, (head, splats) = some_bound()
    turn, move = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix(), np.array([0.1, 0.2, -0.3])
    moved = placed(bound, head.mean_vertices @ turn.T + move, head.triangles)
    assert np.abs(moved.positions - (splats.positions @ turn.T + move)).max() < 1e-6
    assert np.abs(matrices(moved.rotations) - turn @ matrices(splats.rotations)).max() < 1e-4


def test_the_files_place_them_as_the_compiled_code_does() -> None:
    """On a mesh bent out of shape, through two implementations."""
    bound, (head, splats) = some_bound()
    bent = head.mean_vertices + 0.02 * np.sin(40 * head.mean_vertices[:, [1, 2, 0]])
    ours = placed(bound, bent, head.triangles)
    tie = SplatBinding(
        head.triangles[bound.triangle],
        bound.barycentric,
        bound.offset,
        bound.rotation,
        bound.part,
        np.zeros((len(bound), 3), np.uint8),
        bound.normal,
    )
    other = tie.placed(splats, bent)
    assert np.abs(ours.positions - other.positions).max() < 1e-6
    assert same_rotation(ours.rotations, other.rotations) < 1e-4


def test_texels_of_a_flat_square_become_even_discs() -> None:
    """A square metre on a chart of 16 texels: neighbours are 1/16 m apart, and so are the Gaussians."""
    head = make_head()
    flat = replace(
        head,
        mean_vertices=np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32),
        uvs=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        triangle_uvs=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        triangle_quad=np.zeros(2, np.int32),
        quad_part=np.zeros(1, np.uint8),
    )
    points = chart_points(flat, 0.05 * flat.mean_vertices, 0, 16)
    assert len(points.triangle) == 256
    assert np.allclose(points.position[:, :2], 0.05 * points.uv, atol=1e-6)
    log_scales, _ = texel_shapes(points, np.broadcast_to([0.0, 0.0, 1.0], (256, 3)))
    assert np.allclose(np.exp(log_scales[:, :2]), SPREAD * 0.05 / 16, rtol=1e-4)
    assert (log_scales[:, 2] < log_scales[:, 1]).all()


def test_nobody_looks_through_the_back_of_the_head() -> None:
    """The face is red, what lies behind it green: from behind no red shines through the widest texels."""
    head = load_head("open")
    points = chart_points(head, head.mean_vertices, 0, SKIN_CHART, SKIN_EVERY)
    normals = vertex_normals(head.mean_vertices, head.triangles)
    n = np.einsum("nk,nkc->nc", points.barycentric, normals[head.triangles[points.triangle]])
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    log_scales, rotations = texel_shapes(points, n)
    is_front = points.position[:, 2] > 0.0
    harmonics = np.zeros((len(n), 1, 3), np.float32)
    harmonics[is_front, 0] = (np.array([1, 0, 0]) - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    harmonics[~is_front, 0] = (np.array([0, 1, 0]) - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    logits = np.full(len(n), OPAQUE_LOGIT, np.float32)
    splats = Splats(points.position.astype(np.float32), log_scales, rotations, logits, harmonics)
    camera = orbit_camera(head.eye_centres, 180.0, 0.0, 128)
    drawn = rasterise_camera(head.mean_vertices, head.opaque_triangles, camera)
    height = drawn.interpolate(head.mean_vertices, head.triangles)[..., 1]
    skull = drawn.covered & (height > head.eye_centres[:, 1].mean() - 0.05)
    skull = binary_erosion(skull, iterations=4)
    picture = draw(splats, camera)[skull].astype(float) / 255
    assert skull.sum() > 500
    assert picture[:, 0].mean() < 0.04
    assert np.quantile(picture[:, 0], 0.99) < 0.15


def test_binding_round_trip_and_its_faults(tmp_path) -> None:
    bound, (head, splats) = some_bound(8)
    tie = SplatBinding(
        head.triangles[bound.triangle],
        bound.barycentric,
        bound.offset,
        bound.rotation,
        bound.part,
        np.full((len(bound), 3), 7, np.uint8),
        bound.normal,
    )
    count = len(head.mean_vertices)
    with pytest.raises(SplatsError, match="--splats"):
        read_bound_splats(tmp_path, count)
    write_ply(tmp_path / "splats.ply", splats)
    write_binding(tmp_path, tie)
    _, read = read_bound_splats(tmp_path, count)
    for name in vars(tie):
        assert np.array_equal(getattr(read, name), getattr(tie, name)), name
    with pytest.raises(SplatsError, match="another mesh"):
        read_bound_splats(tmp_path, 3)
    (tmp_path / "splats.npz").write_bytes(b"PK")
    with pytest.raises(SplatsError, match="damaged"):
        read_bound_splats(tmp_path, count)
    write_binding(tmp_path, replace(tie, normal=tie.normal[:-1]))
    with pytest.raises(SplatsError, match="damaged"):
        read_bound_splats(tmp_path, count)
