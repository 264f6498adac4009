"""Super-resolution: published layouts, tiles without seams, every map as what it is."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from backend.errors import BadWeights, Missing
from backend.marcus.superres.enlarge import enlarge, enlarge_chart, enlarge_grey, enlarge_normals
from backend.marcus.superres.networks import RRDBNet, SRVGGNetCompact, load_checkpoint
from backend.marcus.superres.package import is_importable, packaged
from backend.uvspace.seams import SeamPairs


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def test_published_sizes_and_names():
    with torch.device("meta"):
        large, small = RRDBNet(), SRVGGNetCompact()
    assert sum(p.numel() for p in large.parameters()) == 16_697_987
    assert sum(p.numel() for p in small.parameters()) == 1_213_296
    names = large.state_dict().keys()
    assert {"conv_first.weight", "body.22.rdb3.conv5.bias", "conv_body.bias", "conv_up2.weight"} <= names
    assert small.state_dict()["body.66.weight"].shape == (48, 64, 3, 3)
    assert "body.1.weight" in small.state_dict()  # the first PReLU


def reference_rrdb(s: dict[str, torch.Tensor], x: torch.Tensor, blocks: int) -> torch.Tensor:
    """RRDBNet written down a second time, without modules."""

    def conv(name: str, y: torch.Tensor) -> torch.Tensor:
        return F.conv2d(y, s[f"{name}.weight"], s[f"{name}.bias"], padding=1)

    def dense(name: str, y: torch.Tensor) -> torch.Tensor:
        a = F.leaky_relu(conv(f"{name}.conv1", y), 0.2)
        b = F.leaky_relu(conv(f"{name}.conv2", torch.cat([y, a], 1)), 0.2)
        c = F.leaky_relu(conv(f"{name}.conv3", torch.cat([y, a, b], 1)), 0.2)
        d = F.leaky_relu(conv(f"{name}.conv4", torch.cat([y, a, b, c], 1)), 0.2)
        return conv(f"{name}.conv5", torch.cat([y, a, b, c, d], 1)) * 0.2 + y

    first = conv("conv_first", x)
    y = first
    for i in range(blocks):
        inner = dense(f"body.{i}.rdb3", dense(f"body.{i}.rdb2", dense(f"body.{i}.rdb1", y)))
        y = inner * 0.2 + y
    y = first + conv("conv_body", y)
    for name in ("conv_up1", "conv_up2"):
        y = F.leaky_relu(conv(name, y.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
    return conv("conv_last", F.leaky_relu(conv("conv_hr", y), 0.2))


def test_rrdb_is_its_definition(rgb):
    network = RRDBNet(features=8, blocks=2, growth=4)
    with torch.no_grad():
        torch.testing.assert_close(
            network(rgb), reference_rrdb(network.state_dict(), rgb, 2), atol=1e-5, rtol=1e-4
        )


def test_compact_is_its_definition(rgb):
    network = SRVGGNetCompact(features=8, convolutions=2)
    s, y = network.state_dict(), rgb
    for i in (0, 2, 4):
        y = F.conv2d(y, s[f"body.{i}.weight"], s[f"body.{i}.bias"], padding=1)
        y = F.prelu(y, s[f"body.{i + 1}.weight"])
    y = F.conv2d(y, s["body.6.weight"], s["body.6.bias"], padding=1)
    expected = F.pixel_shuffle(y, 4) + rgb.repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(rgb), expected)


@pytest.mark.parametrize("make", [lambda: RRDBNet(8, 2, 4), lambda: SRVGGNetCompact(8, 3)])
def test_checkpoints_come_back(make, rgb, tmp_path: Path):
    network = make()
    torch.save({"params_ema": network.state_dict(), "params": {"x": torch.zeros(1)}}, tmp_path / "a.pth")
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    with torch.no_grad():
        for name in ("a.pth", "a.safetensors"):
            torch.testing.assert_close(load_checkpoint(tmp_path / name)(rgb), network(rgb))


class Planted:
    """Pickled code, were it run."""

    def __reduce__(self):
        return (Path.write_text, (Path("planted"), "run"))


def test_unusable_checkpoints_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Missing, match="no weights at"):
        load_checkpoint(tmp_path / "none.pth")
    state = RRDBNet(8, 2, 4).state_dict()
    cases = {
        "lacks 1 .*conv_hr.bias": {k: v for k, v in state.items() if k != "conv_hr.bias"},
        r"has unknown 1 .*extra": {**state, "extra": torch.zeros(1)},
        "no Real-ESRGAN": {"weight": torch.zeros(1)},
        "another scale": {**state, "conv_first.weight": torch.zeros(8, 12, 3, 3)},
        "objects other than tensors": {"params_ema": state, "planted": Planted()},
    }
    for number, (words, content) in enumerate(cases.items()):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(BadWeights, match=words):
            load_checkpoint(path)
    assert not (tmp_path / "planted").exists()
    torch.save(state, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:3000])
    (tmp_path / "text.pth").write_text("not found")
    for name in ("half.pth", "text.pth"):
        with pytest.raises(BadWeights, match="damaged"):
            load_checkpoint(tmp_path / name)


class TheirRRDBNet(torch.nn.Module):
    """With the signature, names and result of basicsr's, by the reference above."""

    def __init__(self, num_in_ch, num_out_ch, scale=4, num_feat=64, num_block=23, num_grow_ch=32):
        super().__init__()
        self.inner, self.blocks = RRDBNet(num_feat, num_block, num_grow_ch), num_block
        assert (num_in_ch, num_out_ch, scale) == (3, 3, 4)

    def load_state_dict(self, state, strict=True, assign=False):
        assert strict
        return self.inner.load_state_dict(state, strict=True, assign=assign)

    def forward(self, x):
        return reference_rrdb(self.inner.state_dict(), x, self.blocks)


class TheirCompact(torch.nn.Module):
    """Likewise of realesrgan's."""

    def __init__(self, num_in_ch, num_out_ch, num_feat=64, num_conv=16, upscale=4, act_type="prelu"):
        super().__init__()
        assert (num_in_ch, num_out_ch, upscale, act_type) == (3, 3, 4, "prelu")
        layers = [torch.nn.Conv2d(3, num_feat, 3, 1, 1), torch.nn.PReLU(num_feat)]
        for _ in range(num_conv):
            layers += [torch.nn.Conv2d(num_feat, num_feat, 3, 1, 1), torch.nn.PReLU(num_feat)]
        layers.append(torch.nn.Conv2d(num_feat, 48, 3, 1, 1))
        self.body = torch.nn.ModuleList(layers)

    def forward(self, x):
        y = x
        for layer in self.body:
            y = layer(y)
        return F.pixel_shuffle(y, 4) + F.interpolate(x, scale_factor=4, mode="nearest")


@pytest.mark.parametrize("own", [RRDBNet(8, 2, 4), SRVGGNetCompact(8, 3)])
def test_the_package_is_used_where_it_imports(own, rgb, monkeypatch):
    """With stand-ins of its interface: the package itself does not install beside this PyTorch."""
    monkeypatch.setitem(sys.modules, "realesrgan", None)
    monkeypatch.setitem(sys.modules, "realesrgan.archs.srvgg_arch", None)
    assert packaged(own) is None
    assert not is_importable()
    names = ("basicsr", "basicsr.archs", "realesrgan", "realesrgan.archs")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    rrdb, compact = ModuleType("basicsr.archs.rrdbnet_arch"), ModuleType("realesrgan.archs.srvgg_arch")
    rrdb.RRDBNet, compact.SRVGGNetCompact = TheirRRDBNet, TheirCompact
    monkeypatch.setitem(sys.modules, rrdb.__name__, rrdb)
    monkeypatch.setitem(sys.modules, compact.__name__, compact)
    theirs = packaged(own)
    assert isinstance(theirs.network, TheirRRDBNet | TheirCompact)
    with torch.no_grad():
        torch.testing.assert_close(theirs.to(torch.device("cpu"))(rgb), own(rgb), atol=1e-5, rtol=1e-4)
        image = rgb[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(enlarge(theirs, image, tile=6), enlarge(own, image, tile=6), atol=1e-5)


def test_the_installed_package_gives_what_ours_gives(rgb):
    if not is_importable():
        pytest.skip("the package realesrgan is not installed, or does not import")
    for own in (RRDBNet(8, 2, 4), SRVGGNetCompact(8, 3)):
        with torch.no_grad():
            torch.testing.assert_close(packaged(own)(rgb), own(rgb), atol=1e-5, rtol=1e-4)


class Nearest:
    scale = 4

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_tiles_leave_no_trace():
    rng = np.random.default_rng(0)
    image = rng.random((50, 70, 3)).astype(np.float32)
    network = SRVGGNetCompact(4, 2).eval()  # sees 4 texels far
    whole, tiled = (enlarge(network, image, tile=t) for t in (128, 24))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    np.testing.assert_array_equal(enlarge(Nearest(), image, tile=24), image.repeat(4, 0).repeat(4, 1))


def test_seams_meet_and_the_border_is_padded():
    inside = np.zeros((16, 16), bool)
    inside[2:14, 1:15] = True
    large_inside = inside.repeat(4, 0).repeat(4, 1)
    v = (np.arange(24) + 0.5) / 24 * 0.75 + 0.125
    left, right = np.full_like(v, 1 / 16), np.full_like(v, 15 / 16)
    seams = SeamPairs(
        uv=np.r_[np.c_[left, v], np.c_[right, v]],
        uv_across=np.r_[np.c_[right, v], np.c_[left, v]],
        inward=np.r_[np.tile([1.0, 0], (24, 1)), np.tile([-1.0, 0], (24, 1))],
        inward_across=np.r_[np.tile([-1.0, 0], (24, 1)), np.tile([1.0, 0], (24, 1))],
    )
    image = np.zeros((16, 16, 3), np.float32)
    image[:, :8] = 0.2
    image[:, 8:] = 0.6
    image[~inside] = 0  # black outside, as a chart comes
    found = enlarge_chart(image, inside, large_inside, seams, lambda x: enlarge(Nearest(), x))
    assert np.abs(found[32, 4] - found[32, 59]).max() < 0.02
    assert found[32, 20, 0] == pytest.approx(0.2, abs=0.15)
    assert found.min() > 0.15  # no black rim


def test_normals_stay_unit_and_displacement_keeps_its_range():
    rng = np.random.default_rng(0)
    normals = rng.normal(0, 0.3, (8, 8, 3)).astype(np.float32)
    normals[..., 2] = 1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    large = enlarge_normals(normals, lambda x: enlarge(Nearest(), x) * 0.9)
    np.testing.assert_allclose(np.linalg.norm(large, axis=-1), 1, atol=1e-6)
    height = rng.uniform(-3e-4, 5e-4, (8, 8)).astype(np.float32)
    bigger = enlarge_grey(height, lambda x: enlarge(Nearest(), x))
    np.testing.assert_allclose(bigger, height.repeat(4, 0).repeat(4, 1), atol=1e-9)
