"""What `likeness weights inspect` and `verify` find out of files in the published layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backend import cli
from backend.errors import Missing
from backend.marcus.adapters import CONFIG, WEIGHTS, adapter_parameters, add_adapter, save_adapter
from backend.marcus.inspection import green_is_up, green_sign, inspect, structure_problems
from backend.marcus.longcat import TINY, build_transformer
from backend.marcus.lora_bank import BRANCHES, target_names
from backend.marcus.release import Release


@pytest.fixture
def root(weights: Path, tmp_path: Path) -> Path:
    """A copy of the tiny weights that a test may change."""
    shutil.copytree(
        weights, tmp_path / "weights", ignore=shutil.ignore_patterns("text_encoder", "*.pth", "*.mat")
    )
    return tmp_path / "weights"


def bank(root: Path) -> Path:
    return Release(root).materials()


def test_the_answers_are_found_and_kept(root: Path):
    answers = inspect(root)
    assert answers["MSSF encoder published"].startswith("no")
    assert answers["material LoRA files"] == "33000.safetensors"
    assert "r 4, lora_alpha 1, scale 0.25, 18 layers" in answers["inpaint adapter"]
    assert "no prefix, 108 LoRA tensors, 0 extra keys" in answers["material LoRA"]
    assert "1 + 2 blocks, VAE scaling 0.3611 shift 0.1159, dynamic shifting True" in answers["LongCat"]
    assert answers["normal green"].startswith("open")
    assert json.loads((root / "marcus" / "inspection.json").read_text()) == answers


def test_prefix_and_extra_keys_are_seen(root: Path):
    state = {f"transformer.{k}": v for k, v in load_file(bank(root)).items()}
    state["transformer.transformer_blocks.0.attn.to_q.0.linear.weight"] = torch.zeros(2)
    save_file(state, bank(root))
    assert "prefix 'transformer.', 108 LoRA tensors, 1 extra keys" in inspect(root)["material LoRA"]


def test_the_branch_order_is_read_off_the_sequential_adapters(root: Path):
    state = load_file(bank(root))
    for branch, folder in ((0, "lora_albedo"), (2, "lora_normal"), (1, "lora_rsd")):  # normal and rsd swapped
        transformer = build_transformer(TINY)
        add_adapter(transformer, "default", rank=4)
        g = torch.Generator().manual_seed(branch)
        with torch.no_grad():
            for name in target_names(transformer):
                layer = transformer.get_submodule(name)
                for side, letter in (("down", "lora_A"), ("up", "lora_B")):
                    weight = getattr(layer, letter)["default"].weight
                    own = state[f"{name}.{branch}.lora_{side}.weight"]
                    weight.copy_(own + 0.2 * own.std() * torch.randn(own.shape, generator=g))
        assert len(adapter_parameters(transformer, "default")) == 36
        save_adapter(transformer, "default", root / "marcus/ckpts" / folder / "transformer")
    answer = inspect(root)["branch order"]
    assert answer.startswith("albedo, rsd, normal (NOT as expected")
    assert BRANCHES == ("albedo", "normal", "rsd")


def relief() -> tuple[np.ndarray, np.ndarray]:
    """A displacement and its OpenGL normal map: n ∝ (−dh/d(right), −dh/d(up), 1)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    h = sum(
        rng.normal() * np.sin(2 * np.pi * (a * x + b * y) + rng.uniform(0, 6))
        for a, b in rng.integers(1, 6, (9, 2))
    )
    down, right = np.gradient(h)
    n = np.stack([-right, down, np.ones_like(h)], -1)
    return (n / np.linalg.norm(n, axis=-1, keepdims=True)).astype(np.float32), h.astype(np.float32)


def test_greens_sign_is_the_reliefs():
    normal, height = relief()
    assert min(green_sign(normal, height)) > 0.9
    green, red = green_sign(normal * [1, -1, 1], height)
    assert green < -0.9
    assert red > 0.9
    assert green_sign(normal, np.zeros((64, 64), np.float32)) == (0, 0)


def test_greens_sign_of_an_avatar_is_kept_for_the_engine(root: Path, tmp_path: Path):
    from PIL import Image

    normal, height = relief()
    maps = tmp_path / "avatar" / "maps"
    maps.mkdir(parents=True)
    Image.fromarray(np.rint((normal * [1, -1, 1] * 0.5 + 0.5) * 255).astype(np.uint8)).save(
        maps / "normal.png"
    )
    sixteen = np.rint((height - height.min()) / np.ptp(height) * 65535).astype(np.uint16)
    Image.fromarray(sixteen).save(maps / "displacement.png")
    assert green_is_up(Release(root))
    assert inspect(root, tmp_path / "avatar")["normal green"].startswith("down (DirectX)")
    assert inspect(root)["normal green"].startswith("down")
    assert not green_is_up(Release(root))
    assert cli.main(["weights", "inspect", "marcus", "--folder", str(root), "--avatar", str(tmp_path)]) == 2


def test_a_whole_set_fits_together(root: Path):
    assert structure_problems(root) == []


def test_what_does_not_fit_is_named(root: Path):
    state = load_file(bank(root))
    save_file(
        {k: v for k, v in state.items() if not k.startswith("single_transformer_blocks.1.")}, bank(root)
    )
    config = Release(root).inpaint() / CONFIG
    (Release(root).homogenise() / WEIGHTS).write_bytes(b"cut")
    config.write_text(config.read_text().replace('"LORA"', '"LOHA"'))
    problems = structure_problems(root)
    assert len(problems) == 3
    assert "another kind" in problems[0]
    assert "damaged" in problems[1]
    assert "lacks 18 of 108 tensors" in problems[2]


def test_nothing_there_is_told(tmp_path: Path):
    with pytest.raises(Missing, match="weights fetch marcus"):
        inspect(tmp_path)
