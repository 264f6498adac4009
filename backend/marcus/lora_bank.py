"""Three LoRA branches in one transformer: albedo, normal, and roughness/specular/displacement.

The published file holds, for every target Linear ``L`` and branch ``b``, ``L.b.lora_down.weight``
``(rank, in)`` and ``L.b.lora_up.weight`` ``(out, rank)``; branch b adds up_b(down_b x_b), without an alpha.
Here the branches of a Linear are stacked, so that a batch of them is two batched products.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backend.errors import BadWeights
from backend.marcus.attention import CrossIntrinsicProcessor

Branch = Literal["albedo", "normal", "rsd"]
BRANCHES: tuple[Branch, ...] = ("albedo", "normal", "rsd")
PREFIX = "transformer."  # some savers put it before every key

_ATTENTION = ("to_q", "to_k", "to_v")
_DOUBLE_ATTENTION = (*_ATTENTION, "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_DOUBLE_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
_KEY = re.compile(r"^(?P<linear>.+)\.(?P<branch>\d+)\.lora_(?P<side>down|up)\.weight$")


def target_names(transformer: Any) -> tuple[str, ...]:
    """The Linears that LoRA touches: 12 in every double-stream block, 3 in every single-stream one."""
    double = [
        f"transformer_blocks.{i}.{name}"
        for i in range(len(transformer.transformer_blocks))
        for name in (*(f"attn.{a}" for a in _DOUBLE_ATTENTION), *_DOUBLE_FEED_FORWARD)
    ]
    single = [
        f"single_transformer_blocks.{i}.attn.{name}"
        for i in range(len(transformer.single_transformer_blocks))
        for name in _ATTENTION
    ]
    return (*double, *single)


class BankedLinear(nn.Module):
    """A frozen Linear plus one low-rank branch for each of ``branches`` consecutive rows of a batch."""

    def __init__(self, linear: nn.Linear, branches: int, rank: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = linear
        zeros = partial(torch.zeros, device=linear.weight.device, dtype=dtype)
        self.down = nn.Parameter(zeros(branches, rank, linear.in_features))
        self.up = nn.Parameter(zeros(branches, linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """``(samples·branches, S, in)`` to ``(…, out)``: y_b = W x_b + bias + up_b(down_b x_b)."""
        branches = len(self.down)
        if len(x) % branches:
            raise ValueError(f"a batch of {len(x)} is not a whole number of {branches} branches")
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        grouped = x.reshape(-1, branches, *x.shape[1:])  # (samples, branches, S, in)
        low = torch.matmul(grouped, down.transpose(1, 2))
        out: Tensor = self.linear(x) + torch.matmul(low, up.transpose(1, 2)).flatten(0, 1)
        return out


class LoraBank:
    """The branches installed in one transformer. ``cross`` switches cross-intrinsic attention."""

    def __init__(self, transformer: Any, layers: dict[str, BankedLinear], processors: dict[str, Any]) -> None:
        self._transformer = transformer
        self._layers = layers
        self._replaced = processors
        self._cross = True

    @property
    def cross(self) -> bool:
        return self._cross

    @cross.setter
    def cross(self, on: bool) -> None:
        self._cross = on
        for processor in self._transformer.attn_processors.values():
            processor.cross = on

    def parameters(self) -> Iterator[nn.Parameter]:
        """The stacked ``down`` and ``up`` of every Linear; all that is trained."""
        for layer in self._layers.values():
            yield layer.down
            yield layer.up

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same, named ``<L>.down`` and ``<L>.up``."""
        for name, layer in self._layers.items():
            yield f"{name}.down", layer.down
            yield f"{name}.up", layer.up

    def published_state(self) -> dict[str, Tensor]:
        """A copy of the weights under the published keys, six tensors for every Linear."""
        return {
            f"{name}.{branch}.lora_{side}.weight": stack[branch].detach().clone()
            for name, layer in self._layers.items()
            for branch in range(len(BRANCHES))
            for side, stack in (("down", layer.down), ("up", layer.up))
        }

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights in the published layout. Raises: BadWeights, naming what differs."""
        parts = parse_published(state)
        expected = {
            (name, branch, side)
            for name in self._layers
            for branch in range(len(BRANCHES))
            for side in _SIDES
        }
        _refuse_differences(expected, set(parts))
        for (name, branch, side), tensor in parts.items():
            stack = getattr(self._layers[name], side)
            if tensor.shape != stack[branch].shape:
                raise BadWeights(
                    f"LoRA tensor {name}.{branch}.lora_{side}.weight has shape {tuple(tensor.shape)}, "
                    f"expected {tuple(stack[branch].shape)}; the file belongs to another model or rank"
                )
        with torch.no_grad():
            for (name, branch, side), tensor in parts.items():
                getattr(self._layers[name], side)[branch].copy_(tensor)

    def remove(self) -> None:
        """Take the branches out again; the transformer is then as it was before."""
        for name, layer in self._layers.items():
            replace_module(self._transformer, name, layer.linear)
        self._transformer.set_attn_processor(self._replaced)


_SIDES = ("down", "up")


def install_bank(
    transformer: Any, *, rank: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32
) -> LoraBank:
    """Put the three branches into ``transformer``, in place; its own weights are frozen.

    ``down`` is drawn from N(0, 1/rank²) by ``seed`` and ``up`` is zero, so nothing changes at first.
    """
    transformer.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name in target_names(transformer):
        layer = BankedLinear(transformer.get_submodule(name), len(BRANCHES), rank, dtype)
        if layer.down.device.type != "meta":
            with torch.no_grad():
                layer.down.copy_(torch.randn(layer.down.shape, generator=generator) / rank)
        replace_module(transformer, name, layer)
        layers[name] = layer
    processors = dict(transformer.attn_processors)
    transformer.set_attn_processor({name: CrossIntrinsicProcessor(len(BRANCHES)) for name in processors})
    return LoraBank(transformer, layers, processors)


def parse_published(state: Mapping[str, Tensor]) -> dict[tuple[str, int, str], Tensor]:
    """Published keys as (Linear, branch, "down" or "up"); the prefix ``transformer.`` may stand before all.

    Copies of the base model's own weights (``L.b.linear.weight`` and ``.bias``) are left out: saving the
    whole module writes them. Raises: BadWeights for any other key.
    """
    prefixed = bool(state) and all(key.startswith(PREFIX) for key in state)
    parts = {}
    for key, tensor in state.items():
        bare = key.removeprefix(PREFIX) if prefixed else key
        if re.search(r"\.\d+\.linear\.(weight|bias)$", bare):
            continue
        found = _KEY.match(bare)
        if found is None:
            raise BadWeights(
                f"'{key}' is no key of a three-branch LoRA file; this is another kind of weights"
            )
        parts[found["linear"], int(found["branch"]), found["side"]] = tensor
    return parts


def published_rank(state: Mapping[str, Tensor]) -> int:
    """The rank of the branches in ``state``. Raises: BadWeights (no such tensors, several ranks)."""
    ranks = {len(t) if side == "down" else t.shape[1] for (_, _, side), t in parse_published(state).items()}
    if len(ranks) != 1:
        raise BadWeights(f"the three-branch LoRA file has ranks {sorted(ranks)}, not one")
    return ranks.pop()


def _refuse_differences(expected: set[tuple[str, int, str]], found: set[tuple[str, int, str]]) -> None:
    for words, keys in (("lacks", expected - found), ("has unknown", found - expected)):
        if keys:
            name, branch, side = min(keys)
            raise BadWeights(
                f"the three-branch LoRA file {words} {len(keys)} of {len(expected)} tensors, first "
                f"{name}.{branch}.lora_{side}.weight; fetch it again, or name the one made for this model"
            )


def replace_module(transformer: Any, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(transformer.get_submodule(parent), child, module)
