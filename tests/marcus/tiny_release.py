"""MARCUS' own files in miniature, random, as the release lays them out."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from backend.marcus.adapters import adapter_parameters, add_adapter, save_adapter
from backend.marcus.longcat import TINY, build_transformer
from backend.marcus.lora_bank import target_names

RANK = 4


def write_adapters(folder: Path) -> None:
    """``ckpts/lora_*`` under ``folder``: two PEFT adapters and a three-branch file."""
    for name, seed in (("lora_inpainting/transformer_caption", 1), ("lora_delight/transformer", 2)):
        transformer = build_transformer(TINY)
        add_adapter(transformer, "default", rank=RANK, alpha=1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter_parameters(transformer, "default"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        save_adapter(transformer, "default", folder / "ckpts" / name)
    (folder / "ckpts/lora_align").mkdir(parents=True)
    save_file(three_branches(), folder / "ckpts/lora_align/33000.safetensors")


def three_branches(rank: int = RANK) -> dict[str, torch.Tensor]:
    """A three-branch LoRA file's tensors for TINY."""
    transformer = build_transformer(TINY)
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name in target_names(transformer):
        out, into = transformer.get_submodule(name).weight.shape
        for branch in range(3):
            state[f"{name}.{branch}.lora_down.weight"] = torch.randn(rank, into, generator=generator) * 0.2
            state[f"{name}.{branch}.lora_up.weight"] = torch.randn(out, rank, generator=generator) * 0.2
    return state
