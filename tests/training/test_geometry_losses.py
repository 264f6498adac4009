"""Terms of the encoder's loss against numpy, and the portraits that they compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_set import make_here

from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.head.registry import load_head
from backend.marcus.geometry.alignment import Alignment, frame_to_photo
from backend.marcus.geometry.coefficients import Coefficients
from backend.marcus.training import geometry_losses as losses
from backend.marcus.training.geometry import as_srgb, to_pixels
from backend.marcus.training.landmarked import standard_five
from backend.marcus.training.networks import build_regressor
from backend.marcus.training.portraits import Sitters, photo_to_crop
from backend.training.recipe import MssfNetwork, ResNetNetwork


def random(*shape: int) -> tuple[np.ndarray, torch.Tensor]:  # type: ignore[type-arg]
    values = np.random.default_rng(sum(shape)).random(shape).astype(np.float32)
    return values, torch.from_numpy(values)


def test_photometric_is_the_attended_mean_distance() -> None:
    (a, ta), (b, tb), (w, tw) = random(2, 3, 5, 4), random(2, 3, 4, 5), random(2, 1, 5, 4)
    b, tb = b.transpose(0, 1, 3, 2), tb.transpose(2, 3)
    wanted = (w[:, 0] * np.linalg.norm(a - b, axis=1)).sum((1, 2)) / w.sum((1, 2, 3))
    np.testing.assert_allclose(losses.photometric(ta, tb, tw), wanted, rtol=1e-5)
    assert float(losses.photometric(ta, tb, 0 * tw).max()) == 0
    equal = ta.clone().requires_grad_()
    losses.photometric(ta, equal, tw).sum().backward()
    assert torch.isfinite(equal.grad).all()  # type: ignore[arg-type]


def test_landmark_is_the_weighted_mean_square() -> None:
    (a, ta), (b, tb), (w, tw) = random(2, 88, 2), random(2, 2, 88), random(2, 88)
    b, tb = b.transpose(0, 2, 1), tb.transpose(1, 2)
    wanted = (w * ((a - b) ** 2).sum(-1)).sum(1) / 88
    np.testing.assert_allclose(losses.landmark(ta, tb, tw), wanted, rtol=1e-5)


def test_perceptual_is_one_minus_the_cosine() -> None:
    (a, ta), (b, tb) = random(2, 3, 8, 8), random(2, 3, 8, 8)
    tb = 1 - tb
    made = losses.perceptual(ta, tb, lambda p: p.flatten(1))
    x, y = a.reshape(2, -1), (1 - b).reshape(2, -1)
    wanted = 1 - (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(made, wanted, rtol=1e-4)
    assert float(losses.perceptual(ta, ta, losses.pyramid_embedder).abs().max()) < 1e-6


def test_squares_keep_coefficients_and_coloured_light_small() -> None:
    gamma = torch.zeros(1, 3, 9)
    gamma[..., 0] = 0.8
    grey = gamma + 0.3
    zero = Coefficients(
        torch.tensor([[1.0, -2.0]]),
        torch.tensor([[0.5]]),
        torch.tensor([[3.0]]),
        torch.zeros(1, 3),
        grey,
        grey[0],
    )
    found = losses.squares(zero)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"identity": 5.0, "expression": 0.25, "texture": 9.0, "light": 0.0}, abs=1e-12
    )
    red = gamma.clone()
    red[0, 0, 3] += 0.9  # (0.6, −0.3, −0.3) about the mean, one band of nine
    coloured = Coefficients(
        *(getattr(zero, n) for n in ("identity", "expression", "texture", "angles")), red, red[0]
    )
    assert float(losses.squares(coloured)["light"]) == pytest.approx((0.36 + 0.09 + 0.09) / 27, rel=1e-5)


def test_embedders_are_found_or_refused() -> None:
    assert losses.find_embedder("pyramid") is losses.pyramid_embedder
    for name in ("face-network", "no.such.module:net", "backend.colour:nothing"):
        with pytest.raises(BadInput, match="embedder"):
            losses.find_embedder(name)
    assert losses.find_embedder("collections:OrderedDict") == {}


def test_srgb_is_the_standards_curve() -> None:
    values = np.linspace(1e-4, 1, 500, dtype=np.float32)
    np.testing.assert_allclose(as_srgb(torch.from_numpy(values)), linear_to_srgb(values), atol=1e-6)


def test_the_crop_and_the_frame_agree() -> None:
    """``photo_to_crop`` undoes the release's formula but for its rounding to whole pixels."""
    frame = Alignment(640, 480, 0.53, (300.0, 260.0))
    frame_uv = np.array([[10.0, 20.0], [112.0, 112.0], [200.0, 150.0]])
    wanted = np.stack([frame_uv[:, 0] + 0.5, 223.5 - frame_uv[:, 1]], 1)
    assert np.abs(photo_to_crop(frame_to_photo(frame_uv, frame), frame) - wanted).max() < 1.6


def test_posed_points_land_where_the_release_puts_them() -> None:
    posed = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.2, 1.0]])
    places, depth = to_pixels(posed, 224)
    np.testing.assert_allclose(depth, [10.0, 9.0])
    u, v = 1015 * 0.5 / 9 + 112, 1015 * 0.2 / 9 + 112
    np.testing.assert_allclose(places, [[112.5, 111.5], [u + 0.5, 223.5 - v]], rtol=1e-6)
    half, _ = to_pixels(posed, 112)
    np.testing.assert_allclose(half, places / 2)


@pytest.mark.parametrize("kind", ["resnet", "mssf"])
def test_encoders_begin_at_the_mean_face_and_every_output_learns(kind: str) -> None:
    network = (
        ResNetNetwork(kind="resnet", width=4, blocks=(1, 1, 1, 1))
        if kind == "resnet"
        else MssfNetwork(kind="mssf", size="tiny")
    )
    widths = (5, 4, 3, 3, 27, 2, 1)
    model = build_regressor(network, widths, seed=0, start=None).train()
    chance = torch.Generator().manual_seed(0)
    said = model(torch.rand(2, 3, 64, 64, generator=chance))
    assert said.shape == (2, sum(widths))
    assert float(said.detach().abs().max()) <= 0.02
    parts = torch.split(said, list(widths), dim=1)
    for k, part in enumerate(parts):
        slopes = torch.autograd.grad(part.sum(), list(model.final_layers[k].parameters()), retain_graph=True)  # type: ignore[index, union-attr]
        assert max(float(s.abs().max()) for s in slopes) > 0


@pytest.mark.slow
def test_a_portraits_points_lie_on_its_face(tmp_path: Path) -> None:
    from backend.training.loader import Reading, instances, open_set

    make_here(tmp_path / "set")
    one = next(instances(open_set(tmp_path / "set"), Reading(split="train")))
    head = load_head("open")
    portrait = Sitters(head, 64, standard_five(head, "open")).portrait(one)
    assert portrait.landmarks.shape == (88, 2)
    seen = portrait.landmarks[portrait.weight > 0]
    assert len(seen) > 60
    assert float(seen.min()) > 0
    assert float(seen.max()) < 64
    columns, rows = seen.floor().long().unbind(-1)
    assert float((portrait.attention[0, rows, columns] > 0).float().mean()) > 0.7
    assert 0.05 < float(portrait.attention.mean()) < 0.6
