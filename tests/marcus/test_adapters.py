"""Sequential adapters: what PEFT computes, merged and not, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("peft")

from safetensors.torch import load_file, save_file

from backend.errors import BadWeights, Missing
from backend.marcus.adapters import (
    CONFIG,
    WEIGHTS,
    adapter_parameters,
    add_adapter,
    load_adapter,
    merged,
    read_adapter,
    save_adapter,
)
from backend.marcus.longcat import TINY, build_transformer, predict


def velocity(transformer) -> torch.Tensor:
    g = torch.Generator().manual_seed(1)
    noisy, condition = (torch.randn(1, 6, TINY.channels, generator=g) for _ in range(2))
    with torch.no_grad():
        return predict(
            transformer, noisy, condition, 0.6, torch.randn(1, 5, TINY.text_dim, generator=g), (2, 3)
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter of rank 4 and alpha 1 (scale 0.25) with nothing zero, and what it makes of the model."""
    transformer = build_transformer(TINY)
    add_adapter(transformer, "inpaint", rank=4, alpha=1)
    with torch.no_grad():
        for parameter in adapter_parameters(transformer, "inpaint"):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    save_adapter(transformer, "inpaint", tmp_path / "adapter")
    torch.save(velocity(transformer), tmp_path / "expected.pt")
    return tmp_path / "adapter"


def expected(folder: Path) -> torch.Tensor:
    return torch.load(folder.parent / "expected.pt")


def test_saved_and_loaded_is_the_same_model(folder: Path):
    transformer = build_transformer(TINY)
    load_adapter(transformer, "again", folder)
    torch.testing.assert_close(velocity(transformer), expected(folder), atol=1e-5, rtol=1e-4)


def test_peft_reads_what_we_write(folder: Path):
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    config = LoraConfig(**json.loads((folder / CONFIG).read_text()))
    transformer = inject_adapter_in_model(config, build_transformer(TINY), "default")
    report = set_peft_model_state_dict(transformer, load_file(folder / WEIGHTS))
    assert not report.unexpected_keys
    torch.testing.assert_close(velocity(transformer), expected(folder), atol=1e-5, rtol=1e-4)


def test_merged_is_the_adapter_and_leaves_no_trace(folder: Path):
    transformer = build_transformer(TINY).to(torch.bfloat16)
    before = {k: v.clone() for k, v in transformer.state_dict().items()}
    with merged(transformer, folder):
        assert not torch.equal(
            transformer.transformer_blocks[0].attn.to_q.weight,
            before["transformer_blocks.0.attn.to_q.weight"],
        )
    assert all(torch.equal(before[k], v) for k, v in transformer.state_dict().items())
    transformer = build_transformer(TINY)
    with merged(transformer, folder):
        torch.testing.assert_close(velocity(transformer), expected(folder), atol=1e-4, rtol=1e-3)


def test_scale_comes_from_the_folder(folder: Path):
    assert read_adapter(folder).scale == 0.25
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"use_rslora": True}))
    assert read_adapter(folder).scale == 0.5


def edit_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


A = "base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight"
B = A.replace("lora_A", "lora_B")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(B), f"lacks {B}"),
        (lambda t: t.pop(A), f"unknown tensor {B}"),
        (lambda t: (t.pop(A), t.pop(B)), r"lacks 1 of 18 layers, first transformer_blocks\.0\.attn\.to_q"),
        (lambda t: t.update({A: t[A][:, :3].contiguous()}), "another model"),
        (lambda t: t.update({"base_model.model.x.magnitude": t[A].clone()}), "unknown tensor"),
    ],
)
def test_wrong_tensors_are_named(folder: Path, change, words: str):
    edit_tensors(folder, change)
    with pytest.raises(BadWeights, match=words), merged(build_transformer(TINY), folder):
        pass


def test_damaged_and_absent_files_are_told_in_one_line(folder: Path):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(BadWeights, match="damaged"):
        read_adapter(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(Missing, match="no weights at"):
        read_adapter(folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(BadWeights, match="cannot be read"):
        read_adapter(folder)
    with pytest.raises(Missing, match="no LoRA adapter"):
        read_adapter(folder / "none")
