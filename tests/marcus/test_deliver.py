"""The open head laid over HiFi3D++'s surface, maps carried over, against what is known of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput
from backend.head.correspondences import points68
from backend.head.hifi3dpp import load_hifi3dpp
from backend.head.registry import load_head
from backend.marcus.register import register
from backend.marcus.resample import carry, carry_normals, find_places
from backend.uvspace.chart import chart_maps, tangent_to_head

pytestmark = pytest.mark.slow  # a registration takes four seconds of CPU
SIZE = 128


@pytest.fixture(scope="module")
def hifi(tmp_path_factory: pytest.TempPathFactory):
    """A head in HiFi3D++'s file layout, in the shape of the open head."""
    from tiny_release import write_topology

    folder = tmp_path_factory.mktemp("topology")
    write_topology(folder, grid=96)
    return load_hifi3dpp(Path(folder) / "assets/topo/hifi3dpp_model_info.mat")


@pytest.fixture(scope="module")
def laid(hifi):
    """The open head on a turned and moved copy of it."""
    turn = np.array([[0.98, 0, 0.199], [0, 1, 0], [-0.199, 0, 0.98]])
    moved = (hifi.mean_vertices @ turn.T + [0.02, -0.1, 0.3]).astype(np.float32)
    return moved, register(hifi, moved, moved, load_head("open"))


def test_the_head_finds_its_own_shape_again(hifi, laid):
    moved, found = laid
    head = load_head("open")
    face = head.regions["face"] > 0.5
    off = np.linalg.norm(found.neutral_head - head.mean_vertices, axis=1)
    assert np.median(off[face]) < 0.002  # the grid rounds the face off by about as much
    assert found.residual_m < 0.0005
    back = moved @ found.rotation.T + found.translation
    marks = points68(hifi).positions(back, hifi.triangles)
    own = points68(head).positions(found.neutral_head, head.triangles)
    assert np.median(np.linalg.norm(marks - own, axis=1)) < 0.003
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)
    assert found.expression.max() < 0.05
    np.testing.assert_allclose(found.surface_neutral, back, atol=1e-6)


def test_another_person_is_followed_and_eyes_come_along(hifi):
    head = load_head("open")
    wide = hifi.mean_vertices * np.array([1.08, 1.0, 1.0], np.float32)
    found = register(hifi, wide, wide, head)
    assert found.residual_m < 0.0006
    left = np.unique(head.triangles[head.triangle_part == head.part_names.index("cornea_left")])
    moved = (found.neutral_head - head.shape(found.identity))[left]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)  # its eye stays one


def test_an_opened_mouth_is_an_expression(hifi):
    head = load_head("open")
    # Carry jawOpen's offsets from the open head's skin to the nearest grid vertices.
    from scipy.spatial import cKDTree

    skin = np.unique(head.triangles[head.triangle_part == 0])
    places = hifi.mean_vertices + 0  # centred; register brings it into place
    rest = register(hifi, places, places, head)
    near = cKDTree(rest.neutral_head[skin]).query(rest.surface_neutral)[1]
    jaw = head.expression_names.index("jawOpen")
    moved = head.expression_basis[jaw][skin[near]] @ rest.rotation  # back into the file's space
    found = register(hifi, places, (places + 0.6 * moved).astype(np.float32), head)
    weights = dict(zip(head.expression_names, found.expression, strict=True))
    assert weights["jawOpen"] == pytest.approx(0.6, abs=0.15)
    assert sum(found.expression) - weights["jawOpen"] < 0.6
    lowered = found.vertices_head - found.neutral_head
    chin = head.regions["chin"] > 0.5
    assert lowered[chin, 1].mean() < -0.002


def test_heads_of_another_unit_are_refused(hifi):
    metres = hifi.mean_vertices * 10
    with pytest.raises(BadInput, match="not in decimetres"):
        register(hifi, metres, metres, load_head("open"))


def test_colours_come_over_where_they_belong(hifi, laid):
    _, found = laid
    head = load_head("open")
    chart = chart_maps(head, found.neutral_head, SIZE)
    places = find_places(chart, hifi, found.surface_neutral)
    # Place coded as colour.
    carried = carry(chart_maps(hifi, found.surface_neutral, 512).position_head, places)
    error = np.linalg.norm(carried - chart.position_head, axis=-1)[places.known]
    face = places.known & (chart.position_head[..., 2] > 0.06)
    assert face.sum() > 2000
    assert np.median(error) < 0.002
    assert np.quantile(np.linalg.norm(carried - chart.position_head, axis=-1)[face], 0.95) < 0.006
    assert np.isfinite(carried).all()


def test_large_charts_are_interpolated_to_what_is_exact(hifi, laid, monkeypatch):
    _, found = laid
    chart = chart_maps(load_head("open"), found.neutral_head, 256)
    exact = find_places(chart, hifi, found.surface_neutral)
    monkeypatch.setattr("backend.marcus.resample.EXACT", 64)
    fast = find_places(chart, hifi, found.surface_neutral)
    both = exact.known & fast.known
    assert both.sum() > 0.97 * exact.known.sum()
    gap = np.linalg.norm(exact.uv - fast.uv, axis=-1)[both]
    assert np.quantile(gap, 0.95) < 1 / 256
    assert gap.max() < 0.05  # nothing is mixed across a seam


def test_normals_are_the_same_relief_in_other_frames(hifi, laid):
    _, found = laid
    head = load_head("open")
    source = chart_maps(hifi, found.surface_neutral, 512)
    chart = chart_maps(head, found.neutral_head, SIZE)
    places = find_places(chart, hifi, found.surface_neutral)
    flat = np.zeros((512, 512, 3), np.float32)
    flat[..., 2] = 1
    inner = places.known & (chart.position_head[..., 2] > 0.06)
    np.testing.assert_allclose(carry_normals(flat, source, chart, places)[inner][:, 2], 1, atol=1e-3)
    # A tilt towards one direction in head space, whatever the frames: written in the source's frames.
    tilted = source.normal_head + 0.4 * np.array([1.0, 0, 0], np.float32)
    tilted /= np.linalg.norm(tilted, axis=-1, keepdims=True)
    t, n = source.tangent_head[..., :3], source.normal_head
    b = np.cross(n, t) * source.tangent_head[..., 3:]
    frames = np.stack([t, b, n], -1)[source.inside]
    written = flat.copy()
    written[source.inside] = np.linalg.solve(frames, tilted[source.inside][..., None])[..., 0]
    written /= np.linalg.norm(written, axis=-1, keepdims=True)
    from backend.uvspace.seams import dilate

    carried = carry_normals(dilate(written, source.inside), source, chart, places)
    relief = tangent_to_head(chart.normal_head, chart.tangent_head, carried)
    expected = chart.normal_head + 0.4 * np.array([1.0, 0, 0], np.float32)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    cosine = np.einsum("rck,rck->rc", relief, expected)[inner]
    assert np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))) < 3
