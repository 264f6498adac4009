"""LPIPS is made of the published network or not at all, and computes what the paper says."""

import numpy as np
import pytest
import torch

from backend.errors import BadInput
from backend.evaluation.lpips_network import Lpips, find_published, load_lpips

SHAPES = {
    0: (64, 3, 11, 11),
    3: (192, 64, 5, 5),
    6: (384, 192, 3, 3),
    8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}


def _parameters():
    draw = torch.Generator().manual_seed(0)
    trunk = {}
    for row, shape in SHAPES.items():
        trunk[f"features.{row}.weight"] = torch.randn(shape, generator=draw) / np.sqrt(np.prod(shape[1:]))
        trunk[f"features.{row}.bias"] = torch.randn(shape[0], generator=draw) * 0.1
    linear = {
        f"lin{k}.model.1.weight": torch.rand((1, shape[0], 1, 1), generator=draw)
        for k, shape in enumerate(SHAPES.values())
    }
    return trunk, linear


def test_distance_is_the_papers_formula():
    trunk, linear = _parameters()
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 71, 63, 3)).astype(np.float32)
    mask = np.ones((71, 63))
    nn = torch.nn
    layers = []
    for row, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        shape = SHAPES[row]
        convolution = nn.Conv2d(shape[1], shape[0], shape[2], stride, padding)
        convolution.load_state_dict(
            {"weight": trunk[f"features.{row}.weight"], "bias": trunk[f"features.{row}.bias"]}
        )
        layers.append(
            nn.Sequential(nn.MaxPool2d(3, 2) if row in (3, 6) else nn.Identity(), convolution, nn.ReLU())
        )
    mean, std = (
        np.array([0.485, 0.456, 0.406]),
        np.array([0.229, 0.224, 0.225]),
    )  # ImageNet's, which the shift is
    x, y = (torch.tensor(((p - mean) / std).transpose(2, 0, 1)[None]).float() for p in (a, b))
    expected = 0.0
    with torch.no_grad():
        for k, layer in enumerate(layers):
            x, y = layer(x), layer(y)
            difference = nn.functional.normalize(x, dim=1) - nn.functional.normalize(y, dim=1)
            expected += float((difference**2 * linear[f"lin{k}.model.1.weight"]).sum(1).mean())
    assert Lpips(trunk, linear).distance(a, b, mask) == pytest.approx(expected, rel=2e-3)
    assert Lpips(trunk, linear).distance(a, a, mask) == 0.0


def test_only_the_mask_is_looked_at():
    network = Lpips(*_parameters())
    a, b = np.random.default_rng(2).random((2, 90, 90, 3)).astype(np.float32)
    mask = np.zeros((90, 90))
    mask[20:70, 10:80] = 1
    mask[30, 40] = 0
    spoilt = np.where(mask[..., None] > 0, a, 0.0)
    assert network.distance(spoilt, b, mask) == network.distance(a, b, mask) > 0
    assert network.distance(a, b, np.zeros((90, 90))) is None


def test_other_weights_never_bear_the_name(tmp_path):
    trunk, linear = _parameters()
    torch.save(trunk, tmp_path / "alexnet-owt-7be5be79.pth")  # the name alone is no proof
    torch.save(linear, tmp_path / "alex.pth")
    with pytest.raises(BadInput, match="not the published AlexNet"):
        load_lpips(tmp_path / "alexnet-owt-7be5be79.pth", tmp_path / "alex.pth")
    with pytest.raises(BadInput, match="linear layers"):
        Lpips(trunk, {**linear, "lin2.model.1.weight": -linear["lin2.model.1.weight"]})


def test_found_only_where_both_files_lie(tmp_path, monkeypatch):
    package = tmp_path / "lpips"
    (package / "weights" / "v0.1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not imported to look for it')\n")
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (hub / "alexnet-owt-7be5be79.pth").write_bytes(b"x")
    assert find_published() is None
    (package / "weights" / "v0.1" / "alex.pth").write_bytes(b"x")
    assert find_published() == (hub / "alexnet-owt-7be5be79.pth", package / "weights" / "v0.1" / "alex.pth")
