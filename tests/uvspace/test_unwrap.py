"""Unwrapping photographs that embree took, so that no code of the rasteriser judges itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cast_photos import cast, photograph
from chart_meshes import cylinder, front_camera, head_from_mesh, sphere

from backend.artifacts import Camera, HeadFit, Observation, PartialUV, Run
from backend.colour import linear_to_srgb
from backend.errors import BadInput, Cancelled
from backend.head.base import ParametricHead
from backend.head.ict import load_ict
from backend.head.registry import load_head
from backend.uvspace.chart import chart_maps
from backend.uvspace.unwrap import unwrap


def uv_ramp(uv: np.ndarray) -> np.ndarray:
    return np.stack([uv[..., 0], uv[..., 1], np.full(uv.shape[:-1], 0.5)], -1)


def texel_error(partial: PartialUV) -> np.ndarray:
    """Distance in texels between the UV that each texel saw and its own."""
    size = partial.chart.size
    column, row = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    own = np.stack([column / size, 1 - row / size], -1)
    return np.linalg.norm(partial.rgb_linear[..., :2] - own, axis=-1) * size


@pytest.mark.parametrize(
    ("head", "camera", "size"),
    [
        (sphere(), front_camera(400, 1000), 256),  # several pixels a texel
        (sphere(), front_camera(250, 600), 512),  # several texels a pixel
        (cylinder(), front_camera(400, 1000, yaw=25), 384),
    ],
)
def test_coordinates_as_colours_come_back(head: ParametricHead, camera: Camera, size: int) -> None:
    observation, fit, _ = photograph(head, camera, uv_ramp)
    partial = unwrap(observation, fit, size, Run())
    confident = partial.confidence > 0.1
    error = texel_error(partial)[confident]
    assert confident.sum() > 0.05 * size**2
    assert error.mean() <= 0.1
    assert error.max() <= 0.5


def test_seen_side_only_and_zero_elsewhere() -> None:
    """A camera to the subject's left (+X, u > 0.5) sees that half of the ball and nothing behind it."""
    observation, fit, _ = photograph(sphere(), front_camera(300, 800, yaw=90), uv_ramp)
    partial = unwrap(observation, fit, 256, Run())
    seen = partial.confidence > 0
    columns = (np.nonzero(seen)[1] + 0.5) / 256
    assert columns.min() > 0.5
    np.testing.assert_allclose(np.median(columns), 0.74, atol=0.01)
    assert (partial.rgb_linear[~seen] == 0).all()
    assert not seen[~partial.chart.inside].any()
    facing = np.einsum("ijc,c->ij", partial.chart.normal_head, [1, 0, 0])
    assert (facing[seen] > 0).all()


def test_nothing_of_the_background_bleeds_in() -> None:
    observation, fit, _ = photograph(
        cylinder(), front_camera(300, 700, yaw=10), lambda uv: np.full((*uv.shape[:-1], 3), 0.2), background=1
    )
    partial = unwrap(observation, fit, 256, Run())
    seen = partial.confidence > 0
    np.testing.assert_allclose(partial.rgb_linear[seen], 0.2, atol=1e-4)


def two_balls() -> ParametricHead:
    """A skin ball behind a smaller, nearer one of another part that hides its middle."""
    skin, nose = sphere(), sphere(17, 32, radius=0.03)
    count, uv_count = len(skin.mean_vertices), len(skin.uvs)
    return head_from_mesh(
        "two balls",
        np.concatenate([skin.mean_vertices, nose.mean_vertices + np.float32([0.02, 0.01, 0.2])]),
        np.concatenate([skin.triangles, nose.triangles + count]),
        np.concatenate([skin.uvs, nose.uvs]),
        np.concatenate([skin.triangle_uvs, nose.triangle_uvs + uv_count]),
        part=np.repeat([0, 1], [len(skin.triangles), len(nose.triangles)]),
        part_names=("skin", "nose"),
    )


def visible_by_rays(head: ParametricHead, points: np.ndarray, camera: Camera) -> np.ndarray:
    """Whether embree finds nothing between the camera and each point but the last 2 mm."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    hiding = head.opaque_triangles[head.opaque_triangles.any(1)]
    mesh = trimesh.Trimesh(head.mean_vertices, hiding, process=False)
    toward = camera.centre_head - points
    direction = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    return ~RayMeshIntersector(mesh).intersects_any(points + 0.002 * direction, direction)


def assert_confident_texels_are_visible(
    head: ParametricHead, camera: Camera, size: int
) -> tuple[PartialUV, np.ndarray]:
    observation, fit, _ = photograph(head, camera, uv_ramp)
    partial = unwrap(observation, fit, size, Run())
    seen = partial.confidence > 0.02
    visible = np.zeros_like(seen)
    inside = partial.chart.inside
    visible[inside] = visible_by_rays(head, partial.chart.position_head[inside].astype(float), camera)
    assert (visible[seen]).mean() > 0.9999
    # And what faces the camera squarely and is visible is found, but for the margins at edges.
    view = camera.centre_head - partial.chart.position_head
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    frontal = visible & ((view * partial.chart.normal_head).sum(-1) > 0.6)
    assert seen[frontal].mean() > 0.8
    return partial, visible


def test_other_parts_hide_the_skin_behind_them() -> None:
    partial, visible = assert_confident_texels_are_visible(two_balls(), front_camera(400, 1000), 256)
    hidden = partial.chart.inside & ~visible
    middle = partial.chart.position_head[..., 2] > 0.05
    assert (hidden & middle).sum() > 500
    assert (partial.confidence[hidden & middle] == 0).mean() > 0.999


@pytest.fixture(params=["open", pytest.param("ict", marks=pytest.mark.slow)])
def real_head(request: pytest.FixtureRequest) -> ParametricHead:
    if request.param == "open":
        return load_head("open")
    data: Path = request.getfixturevalue("shared_data")
    return load_ict(data / "ict-facekit" / "ict_facekit.npz")


def test_visibility_on_a_real_head(real_head: ParametricHead) -> None:
    assert_confident_texels_are_visible(real_head, front_camera(600, 1300, 0.9, yaw=30), 512)


@pytest.mark.parametrize(
    ("camera", "size"),
    [(front_camera(800, 2000, 0.9, yaw=-20), 512), (front_camera(600, 1300, 0.9, 30), 1024)],
)
def test_position_as_colour_on_a_real_head(real_head: ParametricHead, camera: Camera, size: int) -> None:
    """Head-space position, which has no jump at seams, comes back within half a texel's width."""
    observation, fit, _ = photograph(real_head, camera, uv_ramp)
    ids, weights = cast(real_head.mean_vertices, real_head.opaque_triangles, camera)
    corners = real_head.mean_vertices[real_head.triangles[np.maximum(ids, 0)]].astype(float)
    position = np.einsum("hwk,hwkc->hwc", weights, corners)
    encoded = np.where((ids >= 0)[..., None], position + 0.35, 0)  # heads reach 0.35 m from their origin
    assert encoded.min() >= 0
    assert encoded.max() <= 1
    photo = dataclasses.replace(observation.photo, rgb_srgb=linear_to_srgb(encoded))
    partial = unwrap(dataclasses.replace(observation, photo=photo), fit, size, Run())
    error_m = np.linalg.norm(partial.rgb_linear - 0.35 - partial.chart.position_head, axis=-1)
    texel_m = np.linalg.norm(np.diff(partial.chart.position_head, axis=1), axis=-1)
    error_texel = error_m / float(np.median(texel_m[partial.confidence[:, 1:] > 0.7]))
    # Every texel that is believed at all, also in the corners of closed lips and the nostrils' creases.
    believed = partial.confidence > 0
    assert believed.mean() > 0.28
    assert error_texel[believed].mean() <= 0.1
    assert error_texel[believed].max() <= 0.5


def test_minified_detail_is_averaged_not_aliased() -> None:
    """A one-pixel checkerboard of black and white has mean 0.5 in linear light (0.735 in sRGB)."""
    observation, fit, _ = photograph(cylinder(), front_camera(800, 2200), uv_ramp)
    y, x = np.mgrid[:800, :800]
    board = np.repeat(((x + y) % 2).astype(np.float32)[..., None], 3, 2)
    photo = dataclasses.replace(observation.photo, rgb_srgb=board)
    partial = unwrap(dataclasses.replace(observation, photo=photo), fit, 96, Run())
    confident = partial.confidence > 0.5
    assert partial.texels_per_pixel < 0.3
    np.testing.assert_allclose(partial.rgb_linear[confident], 0.5, atol=0.05)


def test_texels_per_pixel_is_the_linear_density() -> None:
    """A tube of radius r: u runs over 0.9·S texels around 2πr, v over 0.9·S texels on its height."""
    observation, fit, _ = photograph(cylinder(9, 96), front_camera(400, 1000, 2.0), uv_ramp)
    partial = unwrap(observation, fit, 512, Run())
    pixels_per_metre = 1000 / (2.0 - 0.08)
    front = 0.9 * 512 / np.sqrt(2 * np.pi * 0.08 * 0.2) / pixels_per_metre
    # The median looks at the tube from some way off its middle, where pixels cover more of it.
    assert front * 0.98 < partial.texels_per_pixel < front * 1.3


def test_skin_mask_and_frame_limit_what_is_used() -> None:
    observation, fit, _ = photograph(sphere(), front_camera(300, 1100), uv_ramp)  # wider than the frame
    mask = observation.skin_mask.copy()
    mask[:, 150:] = 0
    partial = unwrap(dataclasses.replace(observation, skin_mask=mask), fit, 256, Run())
    seen = partial.confidence > 0
    pixels, _ = fit.camera.project(partial.chart.position_head[seen])
    assert pixels[:, 0].max() < 150
    assert pixels.min() >= 1


def observed(head: ParametricHead) -> tuple[Observation, HeadFit]:
    observation, fit, _ = photograph(head, front_camera(200, 500), uv_ramp)
    return observation, fit


def test_errors_are_one_line() -> None:
    observation, fit = observed(sphere())
    nothing = dataclasses.replace(observation, skin_mask=np.zeros_like(observation.skin_mask))
    with pytest.raises(BadInput, match="no skin is visible"):
        unwrap(nothing, fit, 64, Run())
    elsewhere = dataclasses.replace(fit, camera=dataclasses.replace(fit.camera, principal_px=(9e3, 9e3)))
    with pytest.raises(BadInput, match="outside the photo"):
        unwrap(observation, elsewhere, 64, Run())
    other = dataclasses.replace(fit, camera=dataclasses.replace(fit.camera, width_px=100))
    with pytest.raises(BadInput, match="another size"):
        unwrap(observation, other, 64, Run())
    with pytest.raises(BadInput, match="vertices"):
        chart_maps(fit.head, fit.vertices_head[:-1], 64)
    with pytest.raises(Cancelled):
        unwrap(observation, fit, 64, Run(is_cancelled=lambda: True))


def test_same_input_same_bytes() -> None:
    observation, fit = observed(sphere())
    first, second = (unwrap(observation, fit, 128, Run()) for _ in range(2))
    assert first.rgb_linear.tobytes() == second.rgb_linear.tobytes()
    assert first.confidence.tobytes() == second.confidence.tobytes()
