"""Correctives: products of weights, their derivative, and heads and bundles that carry them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_avatar import make_head, make_reconstruction

from backend.export.bundle_writer import write_bundle
from backend.geometry.state import FitState
from backend.geometry.surface import between, gather
from backend.head.open_head import load_open_head
from backend.head.registry import load_head
from backend.server.drive import drive
from blender_addon import bundle
from blender_addon.correctives import Correctives
from synthdata.headmodel.heldout import SHIPPED
from synthdata.headmodel.store import read_stored, rewrite_motion, write_stored

JAW, SMILE, LOOK = range(3)


@pytest.fixture(scope="module")
def head():
    """The egg with a lift of its front where jaw and smile meet, and a shift where all three do."""
    plain = make_head()
    front = (plain.mean_vertices[:, 2:] > 0.05).astype(np.float64)
    shapes = {
        (JAW, SMILE): front * [0, 0.004, 0],
        (JAW, SMILE, LOOK): front * [0.002, 0, 0],
        (JAW, -2 - JAW): front * [0, 0, 0.008],
    }
    return dataclasses.replace(plain, correctives=Correctives.of(shapes, 1e-6))


def test_shape_adds_the_product_of_the_weights(head):
    linear = dataclasses.replace(head, correctives=Correctives.none())
    front = head.mean_vertices[:, 2] > 0.05
    for weights, lift, shift, bulge in (
        ((0, 0, 0), 0, 0, 0),
        ((1, 0, 1), 0, 0, 0),
        ((0.5, 1, 0), 0.5, 0, 0.25),
        ((0.5, 0.5, 1), 0.25, 0.25, 0.25),
        ((1, 1, 1), 1, 1, 0),
    ):
        moved = head.shape(np.zeros(0), np.array(weights)) - linear.shape(np.zeros(0), np.array(weights))
        np.testing.assert_allclose(
            moved[front], np.tile([0.002 * shift, 0.004 * lift, 0.008 * bulge], (front.sum(), 1)), atol=1e-8
        )
        assert not moved[~front].any()


def test_slopes_are_the_derivative_of_the_weights(head):
    at, step = np.array([0.3, 0.8, 0.45]), 1e-6
    found = head.correctives.slopes(at)
    for e in range(3):
        away = step * np.eye(3)[e]
        difference = head.correctives.weights(at + away) - head.correctives.weights(at - away)
        np.testing.assert_allclose(found[:, e], difference / (2 * step), atol=1e-9)


def test_points_of_the_fit_move_as_the_shape_does(head):
    rng = np.random.default_rng(1)
    triangle = rng.integers(0, len(head.triangles), 60)
    at = rng.dirichlet(np.ones(3), 60)
    whole = gather(head, triangle, at)
    corners = [gather(head, triangle, np.tile(np.eye(3)[k], (60, 1))) for k in range(3)]
    state = FitState(np.eye(3), np.zeros(3), 7.0, np.zeros(0), np.array([0.6, 0.7, 0.2]), np.zeros(3))
    shown = head.shape(np.zeros(0), state.expression).astype(np.float64)
    expected = np.einsum("nk,nkc->nc", at, shown[head.triangles[triangle]])
    for points in (whole, between(corners, at), whole.take(np.arange(60))):
        np.testing.assert_allclose(points.positions(state), expected, atol=1e-7)
        for e in range(3):
            ahead, behind = (
                points.positions(dataclasses.replace(state, expression=state.expression + s * np.eye(3)[e]))
                for s in (1e-5, -1e-5)
            )
            np.testing.assert_allclose(points.slopes(state)[:, :, e], (ahead - behind) / 2e-5, atol=1e-8)


def test_bundle_and_its_drive_show_the_same_vertices(head, tmp_path):
    folder = write_bundle(make_reconstruction(head), tmp_path / "portrait")
    mesh = bundle.read_mesh(folder)
    assert mesh.correctives.names(mesh.expression_names) == (
        "jawOpen_mouthSmileLeft",
        "jawOpen_mouthSmileLeft_eyeLookInLeft",
        "jawOpen_between",
    )
    frames = np.array([[1, 1, 0], [0.5, 0.2, 0.9]], np.float32)
    shown = drive(folder, frames)
    for weights, vertices in zip(frames, shown, strict=True):
        np.testing.assert_allclose(vertices, head.shape(np.zeros(0), weights), atol=3e-6)
        again = dataclasses.replace(mesh, expression_weights=weights).expressed()
        np.testing.assert_allclose(again, vertices, atol=3e-6)


def test_bundle_without_correctives_is_read(tmp_path):
    folder = write_bundle(make_reconstruction(), tmp_path / "portrait")
    with np.load(folder / "mesh.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if not name.startswith("corrective")}
    np.savez(folder / "mesh.npz", **arrays)
    assert len(bundle.read_mesh(folder).correctives) == 0


def test_damaged_correctives_are_refused(head, tmp_path):
    folder = write_bundle(make_reconstruction(head), tmp_path / "portrait")
    with np.load(folder / "mesh.npz") as archive:
        arrays = dict(archive)
    arrays["corrective_factors"] = arrays["corrective_factors"] + 2
    np.savez(folder / "mesh.npz", **arrays)
    with pytest.raises(bundle.BundleError, match="expressions that there are not"):
        bundle.read_mesh(folder)


def test_head_file_keeps_correctives_and_does_without(tmp_path):
    shipped = load_head("open")
    bare, full = (tmp_path / f"{name}.safetensors" for name in ("bare", "full"))
    arrays, metadata = read_stored(SHIPPED)
    write_stored(bare, {k: v for k, v in arrays.items() if not k.startswith("corrective")}, metadata)
    assert len(load_open_head(bare).correctives) == 0
    dense = np.zeros((len(shipped.mean_vertices), 3))
    dense[[3, 70, 900]] = 0.25, 0.5, -0.125  # which half floats hold exactly
    made = Correctives.of({(0, 4): dense, (1, 2, 3): 2 * dense}, 1e-6)
    rewrite_motion(bare, full, shipped.expression_basis, made)
    found = load_open_head(full)
    np.testing.assert_array_equal(found.correctives.factors, [[0, 4, -1], [1, 2, 3]])
    for c, scale in ((0, 1), (1, 2)):
        rows, offset = found.correctives.offsets.rows(c)
        np.testing.assert_array_equal(rows, [3, 70, 900])
        np.testing.assert_array_equal(offset, scale * dense[rows])
    np.testing.assert_array_equal(found.expression_basis, shipped.expression_basis)
