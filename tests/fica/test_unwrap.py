"""Unwrapping: what a picture shows of each texel comes back in its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.artifacts import Camera
from backend.fica.atlas import Atlas
from backend.fica.dense import TINY_DENSE, DensePredictor, dense_losses
from backend.fica.maps import MASK, NORMAL, RGB, VERTEX, Frame, frame_of, unsigned
from backend.fica.training.people import look
from backend.fica.unwrap import DenseMaps, unwrap
from backend.head.base import ParametricHead


@pytest.fixture
def seen(atlas: Atlas, head: ParametricHead) -> tuple[torch.Tensor, DenseMaps, Frame]:
    """The mean head from the front, its picture a colour code of head-space positions."""
    pose = np.column_stack([np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0]])
    camera = Camera(500.0, (96.0, 96.0), 192, 192, pose)
    blank = np.zeros((192, 192, 3), np.uint8)
    sight = look(atlas, head.mean_vertices, blank, np.ones((192, 192), bool), camera, 192)
    picture = (0.5 + 2 * sight.vertex).clamp(0, 1)
    dense = DenseMaps(*(t[None] for t in (sight.uv, sight.vertex, sight.normal, sight.known)))
    return picture[None], dense, frame_of(atlas)


def test_positions_painted_on_a_picture_come_back_on_their_texels(
    seen: tuple[torch.Tensor, DenseMaps, Frame], atlas: Atlas
) -> None:
    picture, dense, frame = seen
    partial = unwrap(picture, dense, frame)[0]
    mask = (partial[MASK] > 0)[0]
    assert 0.4 < mask.float().mean() < 0.85  # the front has most texels
    skin = mask & torch.from_numpy(atlas.part == 0)
    truth = 0.5 + 2 * frame.mean[0]
    off = (unsigned(partial[RGB]) - truth)[:, skin].abs() / 2  # metres
    assert off.median() < 0.001
    assert (off < 0.006).float().mean() > 0.95
    # The mean head itself: its vertices are coded as 0, its normals are unit.
    assert partial[VERTEX][:, skin].abs().median() < 0.05
    torch.testing.assert_close(partial[NORMAL].norm(dim=0)[skin], torch.ones(int(skin.sum())))
    assert partial[:, ~mask].abs().max() == 0


def test_what_is_not_known_is_not_unwrapped(seen: tuple[torch.Tensor, DenseMaps, Frame]) -> None:
    picture, dense, frame = seen
    half = dense.known.clone()
    half[..., 96:] = 0.4
    some = unwrap(picture, DenseMaps(dense.uv, dense.vertex, dense.normal, half), frame)
    every = unwrap(picture, dense, frame)
    assert 0.35 < float(some[:, MASK].sum() / every[:, MASK].sum()) < 0.65
    none = unwrap(picture, DenseMaps(dense.uv, dense.vertex, dense.normal, 0 * half), frame)
    assert none.abs().max() == 0


def test_the_dense_losses_are_zero_at_the_truth_and_count_known_pixels_alone(
    seen: tuple[torch.Tensor, DenseMaps, Frame],
) -> None:
    _, truth, _ = seen
    logits = torch.where(truth.known > 0, 20.0, -20.0)
    made = {"uv": truth.uv, "vertex": truth.vertex, "normal": truth.normal, "known": logits}
    assert all(float(v) < 1e-5 for v in dense_losses(made, truth).values())
    beside = {**made, "uv": truth.uv + (1 - truth.known)}
    assert float(dense_losses(beside, truth)["uv"]) < 1e-6
    moved = {**made, "uv": truth.uv + 0.25, "normal": -truth.normal}
    found = dense_losses(moved, truth)
    assert float(found["uv"]) == pytest.approx(0.25, abs=1e-5)
    assert float(found["normal"]) == pytest.approx(2.0, abs=1e-4)


def test_the_predictor_gives_maps_of_the_pictures_size() -> None:
    made = DensePredictor(TINY_DENSE)(torch.rand(2, 3, 64, 64))
    assert made.uv.shape == (2, 2, 64, 64)
    assert made.vertex.shape == made.normal.shape == (2, 3, 64, 64)
    assert made.known.min() >= 0
    torch.testing.assert_close(made.normal.norm(dim=1), torch.ones(2, 64, 64))


def test_sapiens_is_built_at_any_size_and_used_as_the_convolutions_are() -> None:
    from backend.fica.dense import DenseConfig
    from backend.fica.features import SapiensConfig

    small = SapiensConfig(width=32, hidden=48, layers=2, heads=2, key_value_heads=1)
    made = DensePredictor(DenseConfig(small, (16, 16, 8, 8)))(torch.rand(1, 3, 64, 64))
    assert made.uv.shape == (1, 2, 64, 64)
