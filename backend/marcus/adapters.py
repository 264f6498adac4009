"""LoRA adapters of the sequential stages, in PEFT's folders (``adapter_config.json`` + safetensors).

A published adapter's scale is ``lora_alpha / r`` of its own configuration, which may differ between files
(PEFT's default alpha of 8 gives 0.25 at rank 32), so it is always read. At inference an adapter is added
into the weights, W + scale·B·A, and taken out again from a kept copy: no product is left at every step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backend.errors import BadWeights, Missing
from backend.marcus.lora_bank import BankedLinear, replace_module, target_names

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """One adapter as read from its folder."""

    scale: float  # lora_alpha / r, or with rank-stabilised LoRA lora_alpha / √r
    rank: int
    factors: dict[str, tuple[Tensor, Tensor]]  # Linear: A (r, in), B (out, r)


def add_adapter(
    transformer: Any, name: str, *, rank: int = 32, alpha: int | None = None, seed: int = 0
) -> None:
    """Give ``transformer`` a trainable PEFT adapter on LongCat's targets; all else is frozen.

    ``alpha`` is the rank where None, so that the scale is 1. B starts at zero.
    """
    from peft import LoraConfig

    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(
                r=rank,
                lora_alpha=rank if alpha is None else alpha,
                target_modules=list(target_names(transformer)),
                init_lora_weights="gaussian",
            ),
            adapter_name=name,
        )


def adapter_parameters(transformer: Any, name: str) -> list[nn.Parameter]:
    """A and B of every target under the adapter ``name``, in a fixed order."""
    return [
        parameter
        for key, parameter in transformer.named_parameters()
        if key.endswith((f".lora_A.{name}.weight", f".lora_B.{name}.weight"))
    ]


def save_adapter(transformer: Any, name: str, folder: Path) -> None:
    """Write the PEFT adapter ``name`` into ``folder`` (made if need be). Raises: OSError."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(transformer, adapter_name=name)
    tensors = {f"{PREFIX}{key}": tensor.contiguous() for key, tensor in state.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = transformer.peft_config[name]
    content = {
        "peft_type": "LORA",
        "r": config.r,
        "lora_alpha": config.lora_alpha,
        "target_modules": sorted(target_names(transformer)),
        "bias": "none",
        "inference_mode": True,
        "base_model_name_or_path": None,
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_adapter(folder: Path) -> Adapter:
    """The adapter in ``folder``. Raises: Missing (no files), BadWeights (damaged, not plain LoRA)."""
    from backend.weights.reading import read_safetensors

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"no LoRA adapter in '{folder}'; likeness weights fetch marcus") from error
    except (OSError, ValueError) as error:
        raise BadWeights(f"'{folder / CONFIG}' cannot be read ({error}); fetch it again") from error
    unsupported = [
        key for key in ("alpha_pattern", "rank_pattern", "use_dora", "modules_to_save") if config.get(key)
    ]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or unsupported:
        raise BadWeights(f"'{folder}' holds an adapter of another kind than plain LoRA {unsupported or ''}")
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    tensors = read_safetensors(folder / WEIGHTS)
    for key in sorted(tensors):
        linear, _, kind = key.removeprefix(PREFIX).rpartition(".lora_")
        if kind == "A.weight":
            other = f"{key.removesuffix('A.weight')}B.weight"
            if other not in tensors:
                raise BadWeights(f"'{folder / WEIGHTS}' lacks {other}; fetch it again")
            factors[linear] = tensors[key], tensors[other]
        elif kind != "B.weight" or f"{key.removesuffix('B.weight')}A.weight" not in tensors:
            raise BadWeights(f"'{folder / WEIGHTS}' has the unknown tensor {key}; it is no LoRA of LongCat")
    rank = int(config["r"])
    root = rank**0.5 if config.get("use_rslora") else rank
    return Adapter(float(config["lora_alpha"]) / root, rank, factors)


def check_adapter(transformer: Any, adapter: Adapter, folder: Path) -> None:
    """Refuse an adapter that is not made for ``transformer``. Raises: BadWeights, naming what differs."""
    targets = set(target_names(transformer))
    for words, names in (
        ("lacks", targets - adapter.factors.keys()),
        ("has unknown", adapter.factors.keys() - targets),
    ):
        if names:
            raise BadWeights(
                f"the adapter '{folder}' {words} {len(names)} of {len(targets)} layers, first {min(names)}; "
                "it belongs to another model"
            )
    for name, (a, b) in adapter.factors.items():
        out, into = transformer.get_submodule(name).weight.shape
        if a.shape != (adapter.rank, into) or b.shape != (out, adapter.rank):
            raise BadWeights(
                f"the adapter '{folder}' has {name} as {tuple(b.shape)}·{tuple(a.shape)}, expected "
                f"{(out, adapter.rank)}·{(adapter.rank, into)}; it belongs to another model"
            )


def load_adapter(transformer: Any, name: str, folder: Path) -> None:
    """Put the adapter of ``folder`` into ``transformer`` unmerged and trainable, as ``name``.

    Raises: Missing, BadWeights.
    """
    adapter = read_adapter(folder)
    check_adapter(transformer, adapter, folder)
    add_adapter(transformer, name, rank=adapter.rank, alpha=round(adapter.scale * adapter.rank))
    with torch.no_grad():
        for target, (a, b) in adapter.factors.items():
            layer = transformer.get_submodule(target)
            layer.lora_A[name].weight.copy_(a)
            layer.lora_B[name].weight.copy_(b)
            layer.scaling[name] = adapter.scale


@contextmanager
def attached(transformer: Any, folder: Path) -> Iterator[None]:
    """Within, ``transformer``'s Linears have the adapter of ``folder`` beside them, weights untouched.

    For weights kept in 8 bits, into which an adapter's small changes cannot be rounded.
    Raises: Missing, BadWeights.
    """
    adapter = read_adapter(folder)
    check_adapter(transformer, adapter, folder)
    put: dict[str, BankedLinear] = {}
    try:
        for name, (a, b) in adapter.factors.items():
            layer = BankedLinear(transformer.get_submodule(name), 1, adapter.rank, a.dtype)
            with torch.no_grad():
                layer.down[0].copy_(a)
                layer.up[0].copy_(adapter.scale * b.float())
            replace_module(transformer, name, layer)
            put[name] = layer
        yield
    finally:
        for name, layer in put.items():
            replace_module(transformer, name, layer.linear)


@contextmanager
def merged(transformer: Any, folder: Path) -> Iterator[None]:
    """Within, ``transformer``'s weights include the adapter of ``folder``; afterwards they are the old bytes.

    A copy of the touched weights waits on the CPU (they are about half of the model), since taking
    scale·B·A off again would round. Raises: Missing, BadWeights.
    """
    adapter = read_adapter(folder)
    check_adapter(transformer, adapter, folder)
    kept: dict[str, Tensor] = {}
    try:
        with torch.no_grad():
            for name, (a, b) in adapter.factors.items():
                weight = transformer.get_submodule(name).weight
                kept[name] = weight.detach().to("cpu", copy=True)
                change = adapter.scale * (b.to(weight.device).float() @ a.to(weight.device).float())
                weight.copy_(weight.float() + change)
        yield
    finally:
        with torch.no_grad():
            for name, old in kept.items():
                transformer.get_submodule(name).weight.copy_(old)
