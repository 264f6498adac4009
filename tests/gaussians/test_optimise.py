"""The match with the photo: its gradients and its Adam against torch's, and the half-sized goal."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from made_gaussians import camera, made

from backend.artifacts import F32
from backend.gaussians import optimise
from backend.gaussians.adam import Adam
from backend.gaussians.optimise import Wanted, gradients
from backend.gaussians.plain_renderer import PlainRenderer
from backend.gaussians.renderer import Gaussians, over
from backend.gaussians.tile_renderer import GaussianArrays, draw

COUNT = 150


def arrays(gaussians: Gaussians) -> GaussianArrays:
    return GaussianArrays(*(getattr(gaussians, f.name).numpy() for f in fields(Gaussians)))


def goal(width: int = 40, height: int = 33) -> Wanted:
    random = np.random.default_rng(7)

    def some(share: float) -> F32:
        return (random.random((height, width)) < share).astype(np.float32)

    rgb = random.random((height, width, 3), np.float32)
    return Wanted(
        camera(width, height), rgb, some(0.7), random.random((height, width), np.float32), some(0.8)
    )


def moves(seed: int) -> dict[str, F32]:
    random = np.random.default_rng(seed)
    shapes = {"colour": (COUNT, 3), "logit": (COUNT,), "scale": (COUNT, 3)}
    return {name: random.normal(scale=0.1, size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_gradients_are_autograds_of_the_plain_renderer() -> None:
    """The objective once more, in torch and through the twin."""
    gaussians, wanted, moved = made(COUNT, 3), goal(), moves(1)
    trust, share = np.random.default_rng(2).random(COUNT, np.float32), 0.4
    got = gradients(arrays(gaussians), moved, trust, wanted, share)

    tracked = {name: torch.from_numpy(a).requires_grad_(True) for name, a in moved.items()}
    t = torch.from_numpy(trust)
    seen = Gaussians(
        gaussians.positions,
        gaussians.log_scales + t[:, None] * tracked["scale"],
        gaussians.rotations,
        gaussians.opacity_logits + t * tracked["logit"],
        (gaussians.colours_srgb + t[:, None] * tracked["colour"]).clamp_min(0),
    )
    picture = PlainRenderer().render(seen, wanted.camera)
    rgb, inside, cover, known = (
        torch.from_numpy(a) for a in (wanted.rgb_srgb, wanted.inside, wanted.cover, wanted.cover_known)
    )
    off = (over(picture, 0.5) - rgb)[inside > 0]
    error = (picture[..., 3] - cover)[known > 0]
    loss = (off.abs() + 2 * off**2).sum(1).mean() + optimise._COVER * (error**2).mean()
    for name, weight in optimise._HOLD.items():
        loss = loss + weight * share * (tracked[name] ** 2).mean()
    loss.backward()
    for name, values in tracked.items():
        assert values.grad is not None
        assert np.linalg.norm(got[name] - values.grad.numpy()) < 2e-3 * float(values.grad.norm()), name


def test_adam_is_torchs() -> None:
    ours, rates = moves(5), {"colour": 0.02, "logit": 0.04, "scale": 0.012}
    theirs = {name: torch.from_numpy(a.copy()).requires_grad_(True) for name, a in ours.items()}
    adam = Adam(ours, rates)
    reference = torch.optim.Adam([{"params": [theirs[name]], "lr": rate} for name, rate in rates.items()])
    for seed in range(12):
        given = moves(20 + seed)
        adam.step(given)
        for name, values in theirs.items():
            values.grad = torch.from_numpy(given[name])
        reference.step()
        adam.slow(0.9)
        for group in reference.param_groups:
            group["lr"] *= 0.9
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize(("width", "height"), [(40, 32), (41, 33)])
def test_half_the_size_is_every_second_pixels_mean(width: int, height: int) -> None:
    """Large soft Gaussians drawn at half the size are what the whole picture shows in blocks of four."""
    gaussians = arrays(made(60, 4, size_m=0.03))
    whole = goal(width, height)
    small = whole.halved()
    h, w = height // 2, width // 2
    assert small.rgb_srgb.shape == (h, w, 3)
    blocks = whole.rgb_srgb[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean((1, 3))
    np.testing.assert_allclose(small.rgb_srgb, blocks, atol=1e-6)
    inside = whole.inside[: 2 * h, : 2 * w].reshape(h, 2, w, 2).min((1, 3))
    np.testing.assert_array_equal(small.inside, inside)
    large = draw(gaussians, whole.camera).picture[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 4).mean((1, 3))
    assert np.abs(draw(gaussians, small.camera).picture - large).max() < 0.01


def test_splats_are_made_without_torch() -> None:
    """It takes three seconds to load, a sixth of what a photo's splats take."""
    said = "import sys, backend.gaussians.embedded; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", said], capture_output=True, text=True).stdout.strip() == "False"
    )
