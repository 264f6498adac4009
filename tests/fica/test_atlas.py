"""The atlas: every part in its place, texels and triangles agreeing, pictures pointing into it."""

from __future__ import annotations

import numpy as np
import pytest

from backend.artifacts import Camera
from backend.errors import BadInput
from backend.fica.atlas import PARTS, SKIN_SHARE, Atlas, build_atlas
from backend.fica.maps import SPAN_M, frame_of
from backend.head.base import ParametricHead
from backend.uvspace.rasterise import rasterise_camera


def test_a_texel_lies_where_its_triangle_says(atlas: Atlas) -> None:
    corners = atlas.corner_uvs[np.maximum(atlas.raster.triangle, 0)]
    uv = np.einsum("hwk,hwkc->hwc", atlas.raster.barycentric, corners)[atlas.inside]
    row, column = np.nonzero(atlas.inside)
    wanted = np.stack([(column + 0.5) / atlas.size, 1 - (row + 0.5) / atlas.size], 1)
    # The rasteriser snaps corners to 1/2048 texel.
    np.testing.assert_allclose(uv, wanted, atol=1e-3 / atlas.size)


def test_parts_lie_in_the_row_below_the_skin_and_none_is_lost(atlas: Atlas, head: ParametricHead) -> None:
    names = [head.part_names[k] for k in np.unique(atlas.part[atlas.inside])]
    assert names[0] == "skin"
    assert set(names[1:]) == set(PARTS)
    row, _ = np.nonzero(atlas.part == 0)
    assert row.max() < SKIN_SHARE * atlas.size
    row, _ = np.nonzero(atlas.part > 0)
    assert row.min() >= SKIN_SHARE * atlas.size
    assert (atlas.part == 0).sum() > 0.8 * SKIN_SHARE * atlas.size**2


def test_a_picture_points_at_the_texel_that_it_shows(atlas: Atlas, head: ParametricHead) -> None:
    """Positions looked up in the atlas are those of the pixels, to within a texel of the surface."""
    vertices = head.mean_vertices
    pose = np.column_stack([np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0]])
    camera = Camera(200.0, (32.0, 32.0), 64, 64, pose)
    drawn = rasterise_camera(vertices, head.opaque_triangles, camera)
    uv = atlas.in_picture(drawn)
    skin = drawn.covered & (head.triangle_part[np.maximum(drawn.triangle, 0)] == 0)
    place = drawn.interpolate(vertices, head.triangles)[skin]
    row = np.clip((1 - uv[skin][:, 1]) * atlas.size, 0, atlas.size - 1).astype(int)
    column = np.clip(uv[skin][:, 0] * atlas.size, 0, atlas.size - 1).astype(int)
    found = atlas.on_texels(vertices)[row, column]
    near = np.linalg.norm(found - place, axis=1)
    assert np.median(near) < 0.004
    assert (near[atlas.inside[row, column]] < 0.03).mean() > 0.99
    assert (uv[~drawn.covered] == -1).all()


def test_coded_geometry_comes_back(atlas: Atlas, head: ParametricHead) -> None:
    import torch

    frame = frame_of(atlas)
    other = torch.from_numpy(atlas.on_texels(head.shape(np.full(5, 1.0))).transpose(2, 0, 1).copy())[None]
    coded = frame.coded(other)
    assert coded.abs().max() < 2
    assert (coded * (1 - frame.inside)).abs().max() == 0
    torch.testing.assert_close(frame.metres(coded) * frame.inside, other * frame.inside, atol=1e-6, rtol=0)
    moved = frame.metres(torch.ones_like(coded)) - frame.mean
    assert float(moved.max()) == pytest.approx(SPAN_M)


def test_sizes_that_cannot_be_are_refused(head: ParametricHead) -> None:
    for size in (30, 16):
        with pytest.raises(BadInput, match="texels"):
            build_atlas(head, size)
