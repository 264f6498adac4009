"""ResNet-50 and MSSF: published layouts, sizes, and references of other people's code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers

from backend.errors import BadWeights, Missing
from backend.marcus.geometry.coefficients import WIDTHS, split
from backend.marcus.geometry.mssf import MssfConfig, MssfRegressor, load_mssf
from backend.marcus.geometry.resnet import ResNetConfig, ResNetRegressor, load_resnet

HERE = Path("epoch_latest.pth")
TINY_RESNET = ResNetConfig(blocks=(1, 1, 2, 1), base=4)
TINY_MSSF = MssfConfig(
    trunk_dims=(8, 8, 16, 16),
    trunk_depths=(1, 1, 2, 1),
    dino_dims=(4, 8, 8, 12),
    dino_depths=(1, 1, 1, 1),
    hidden=16,
)


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                spread = torch.rand(tensor.shape, generator=g)
                tensor.copy_(0.5 + spread if name.endswith("running_var") else (spread - 0.5) * 0.4)
    return model.eval()


def test_the_backbone_is_transformers_resnet(rgb):
    ours = randomised(ResNetRegressor(TINY_RESNET))
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 2, 1], layer_type="bottleneck"
    )
    theirs = transformers.ResNetModel(config).eval()
    state = {}
    for key, tensor in ours.backbone.state_dict().items():
        key = re.sub(r"^conv1\.", "embedder.embedder.convolution.", key)
        key = re.sub(r"^bn1\.", "embedder.embedder.normalization.", key)
        key = re.sub(r"^layer(\d)\.(\d)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", key)
        key = re.sub(r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.", key)
        key = re.sub(r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.", key)
        key = key.replace("downsample.0", "shortcut.convolution").replace(
            "downsample.1", "shortcut.normalization"
        )
        state[key] = tensor
    theirs.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(ours.backbone(rgb), theirs(rgb).pooler_output, atol=1e-5, rtol=1e-4)


def test_resnet_has_the_published_keys_and_size():
    with torch.device("meta"):
        model = ResNetRegressor()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert shapes["final_layers.0.weight"] == (532, 2048, 1, 1)
    assert shapes["final_layers.1.0.bias"] == (45,)
    assert "final_layers.6.bias" in shapes
    assert shapes["backbone.layer4.2.bn3.running_var"] == (2048,)
    assert shapes["backbone.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    backbone = sum(p.numel() for p in model.backbone.parameters())
    assert backbone == 25_557_032 - 2048 * 1000 - 1000  # torchvision's ResNet-50 without its classifier


def test_resnet_expression_is_never_negative(rgb):
    model = randomised(ResNetRegressor(TINY_RESNET))
    with torch.no_grad():
        found = split(model(rgb))
    assert found.expression.min() == 0
    assert found.expression.max() > 0
    assert found.identity.min() < 0


def test_coefficients_are_named_in_order():
    vector = torch.arange(sum(WIDTHS), dtype=torch.float32)[None]
    vector[0, 1017] = torch.nan
    c = split(vector)
    assert c.identity[0, 0] == 0
    assert c.expression[0, 0] == 532
    assert c.texture[0, 0] == 577
    assert c.angles.tolist() == [[1016, 0, 1018]]
    assert c.gamma[0, 0, 0] == pytest.approx(1019.8)
    assert c.gamma[0, 1, 1] == 1019 + 9 + 1
    assert c.translation.tolist() == [[1046, 1047, 1048]]


def test_loaders_are_strict():
    state = randomised(ResNetRegressor(TINY_RESNET)).state_dict()
    load_resnet(state, HERE, TINY_RESNET)
    with pytest.raises(BadWeights, match=r"lacks 1 .*final_layers\.2\.bias"):
        load_resnet({k: v for k, v in state.items() if k != "final_layers.2.bias"}, HERE, TINY_RESNET)
    with pytest.raises(BadWeights, match=r"unknown 1 .*backbone\.fc\.weight"):
        load_resnet({**state, "backbone.fc.weight": torch.zeros(1)}, HERE, TINY_RESNET)
    with pytest.raises(BadWeights, match="another model"):
        load_resnet(state, HERE)


def published_keys(state) -> set[str]:
    """Forms of keys, numbers left out, without DINOv3's."""
    return {re.sub(r"\d+", "#", k) for k in state if not k.startswith("dinov3.")}


def test_mssf_has_the_published_keys_and_takes_them_back(rgb):
    model = randomised(MssfRegressor(TINY_MSSF))
    state = model.published_state()
    blocks = [f"stages.#.blocks.#.{n}" for n in ("conv_dw", "norm", "mlp.fc#", "mlp.grn")]
    named = ["stem.#", "stages.#.downsample.#", *blocks, "final_layers.#.#"]
    expected = {f"{n}.{kind}" for n in named for kind in ("weight", "bias")} | {"sa#.conv#.weight"}
    adapters = {k for k in published_keys(state) if k.startswith("adapter")}
    assert published_keys(state) - adapters == expected
    assert state["sa2.conv1.weight"].shape == (1, 2, 7, 7)
    assert {k.split(".")[1] for k in state if k.startswith("adapter0.")} == {"0", "1", "3"}
    assert "adapter0.0.bias" not in state
    assert state["stages.0.blocks.0.mlp.grn.weight"].shape == (32,)
    with torch.no_grad():
        torch.testing.assert_close(load_mssf(state, HERE, config=TINY_MSSF)(rgb), model(rgb))


def test_mssf_takes_dino_from_its_own_folder(rgb, tmp_path: Path):
    model = randomised(MssfRegressor(TINY_MSSF))
    without = {k: v for k, v in model.published_state().items() if not k.startswith("dinov3.")}
    with pytest.raises(Missing, match="accept its licence"):
        load_mssf(without, HERE, None, TINY_MSSF)
    model.dinov3.save_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(load_mssf(without, HERE, tmp_path, TINY_MSSF)(rgb), model(rgb))
    with pytest.raises(BadWeights, match="lacks"):
        load_mssf({k: v for k, v in without.items() if "sa1" not in k}, HERE, tmp_path, TINY_MSSF)


def test_mssf_fuses_dino_and_leaves_it_frozen(rgb):
    model = MssfRegressor(TINY_MSSF).train()
    assert not model.dinov3.training
    model(rgb).square().sum().backward()
    assert all(p.grad is None for p in model.dinov3.parameters())
    assert model.adapter0[3].weight.grad.abs().max() > 0
    assert model.trunk.embeddings.patch_embeddings.weight.grad.abs().max() > 0
    model = randomised(model)
    with torch.no_grad():
        before = model(rgb)
        model.dinov3.model.stages[0].layers[0].gamma.add_(1)
        assert (model(rgb) - before).abs().max() > 1e-5  # reaches the heads through the adapters


def test_mssf_size_is_convnext_v2_base_plus_dino_small():
    with torch.device("meta"):
        model = MssfRegressor()
    trunk = sum(p.numel() for p in model.trunk.parameters())
    assert (
        trunk == 88_717_800 - 1000 * 1024 - 1000 - 2 * 1024
    )  # timm's ConvNeXt V2 Base less norm and classifier
    dino = sum(p.numel() for p in model.dinov3.parameters())
    assert dino == 50_223_688 - 1000 * 768 - 1000 - 2 * 768  # ConvNeXt Small less norm and classifier
    assert sum(model.final_layers[k][4].out_features for k in range(7)) == 1049


def test_a_regressor_trained_here_comes_before_the_published_one(tmp_path: Path):
    from safetensors.torch import save_file

    from backend.marcus.geometry.fit import load_regressor
    from backend.marcus.release import Release

    release = Release(tmp_path)
    assert release.resnet().name == "epoch_latest.pth"
    release.resnet().parent.mkdir(parents=True)
    state = ResNetRegressor(TINY_RESNET).state_dict()
    save_file(state, release.resnet().parent / "net_recon.safetensors")
    model, name = load_regressor(release, TINY_RESNET)
    assert name == "ResNet-50 regressor"
    assert torch.equal(model.state_dict()["final_layers.0.weight"], state["final_layers.0.weight"])
