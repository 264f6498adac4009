"""The blocks' matrix products in 8 bits (FP8 E4M3), twice bf16's rate on Hopper and Ada.

Both factors are scaled so that their largest entry is E4M3's: row by row (a token, an output) where the
device multiplies so, else with one scale for all. Weights are rounded once a stage, with a merged adapter in
them; low-rank branches stay beside them in bf16. Attention, norms and modulation are as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.marcus.lora_bank import replace_module

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max  # 448
_LEAST_SCALE = 1e-12
_MULTIPLE = 16  # of both sides of a weight, which the product needs
_BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")


def rounded(rows: Tensor, by_row: bool) -> tuple[Tensor, Tensor]:
    """``rows`` ``(N, K)`` as E4M3 values and float32 scales ``(N, 1)``, or ``()`` not ``by_row``.

    values·scale is ``rows`` to E4M3's three bits of mantissa: 1/16 of each value, at most.
    """
    wide = rows.float()
    top = wide.abs().amax(dim=1, keepdim=True) if by_row else wide.abs().amax()
    scale = (top / LARGEST).clamp_min(_LEAST_SCALE)
    return (wide / scale).to(E4M3), scale


class Float8Linear(nn.Module):
    """A Linear whose product is taken in FP8, summed in float32. Not differentiable."""

    values: Tensor  # (out, in) E4M3
    scale: Tensor  # (out, 1) or ()

    def __init__(self, linear: nn.Linear, by_row: bool) -> None:
        super().__init__()
        self.by_row = by_row
        values, scale = rounded(linear.weight.detach(), by_row)
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` to ``(…, out)``."""
        values, scale = rounded(x.reshape(-1, x.shape[-1]), self.by_row)
        out = torch._scaled_mm(
            values, self.values.t(), scale_a=scale, scale_b=self.scale.t(), out_dtype=x.dtype
        )
        out = out.reshape(*x.shape[:-1], len(self.values))
        return out if self.bias is None else out + self.bias.to(x.dtype)

    def plain(self, x: Tensor) -> Tensor:
        """The same by float32 products of the rounded factors: the twin that tests compare with."""
        values, scale = rounded(x.reshape(-1, x.shape[-1]), self.by_row)
        out = F.linear(values.float() * scale, self.values.float() * self.scale)
        out = out.reshape(*x.shape[:-1], len(self.values))
        return (out if self.bias is None else out + self.bias.float()).to(x.dtype)


@contextmanager
def multiplied_in_eight_bits(transformer: Any, by_row: bool) -> Iterator[None]:
    """Within, the large Linears of all blocks multiply in FP8, with their weights as they are on entry."""
    replaced: dict[str, nn.Linear] = {}
    try:
        for name, module in list(transformer.named_modules()):
            if _is_large(name, module):
                replace_module(transformer, name, Float8Linear(module, by_row))
                replaced[name] = module
        yield
    finally:
        for name, linear in replaced.items():
            replace_module(transformer, name, linear)


def scales_rows(device: torch.device) -> bool:
    """Whether the device multiplies with a scale for each row; else it takes one for all."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= (9, 0)


def _is_large(name: str, module: nn.Module) -> bool:
    if not isinstance(module, nn.Linear) or not name.startswith(_BLOCKS) or ".norm" in name:
        return False
    return module.in_features % _MULTIPLE == 0 and module.out_features % _MULTIPLE == 0
