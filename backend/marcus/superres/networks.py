"""Real-ESRGAN's two generators under the names of their published checkpoints, and reading those.

RRDBNet (Wang et al. 2018, ESRGAN) is ``RealESRGAN_x4plus``; SRVGGNetCompact is ``realesr-general-x4v3``.
Both take and give RGB in [0, 1], ``(B, 3, H, W)`` to ``(B, 3, 4H, 4W)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.errors import BadWeights
from backend.weights.components import refuse_differences
from backend.weights.reading import read_pickled, read_safetensors

_RESIDUAL = 0.2  # share of a dense block's output that is added
_SLOPE = 0.2  # of the leaky ReLUs


class _DenseBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for k in range(1, 6):
            out = features if k == 5 else growth
            setattr(self, f"conv{k}", nn.Conv2d(features + (k - 1) * growth, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for k in range(1, 5):
            y = F.leaky_relu(self.get_submodule(f"conv{k}")(seen), _SLOPE)
            seen = torch.cat([seen, y], dim=1)
        last: Tensor = self.get_submodule("conv5")(seen)
        return x + _RESIDUAL * last


class _ResidualInResidual(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_DenseBlock(features, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + _RESIDUAL * inner


class RRDBNet(nn.Module):
    """Residual-in-residual dense blocks, then twice a doubling by nearest neighbours and a convolution."""

    scale = 4

    def __init__(self, features: int = 64, blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualInResidual(features, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (
            nn.Conv2d(features, features, 3, padding=1) for _ in range(4)
        )
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, rgb: Tensor) -> Tensor:
        first = self.conv_first(rgb)
        x = first + self.conv_body(self.body(first))
        for convolution in (self.conv_up1, self.conv_up2):
            x = F.leaky_relu(convolution(F.interpolate(x, scale_factor=2, mode="nearest")), _SLOPE)
        out: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(x), _SLOPE))
        return out


class SRVGGNetCompact(nn.Module):
    """A plain stack of convolutions at the small size, whose output is added to the repeated pixels."""

    scale = 4

    def __init__(self, features: int = 64, convolutions: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * self.scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, rgb: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.body(rgb), self.scale)
        return detail + F.interpolate(rgb, scale_factor=self.scale, mode="nearest")


def load_checkpoint(path: Path) -> RRDBNet | SRVGGNetCompact:
    """The network of a published ``.pth`` (``params_ema`` before ``params``) or of bare safetensors.

    Which one, and its sizes, are read from the tensors. Raises: Missing, BadWeights, naming what differs.
    """
    if path.suffix == ".safetensors":
        state: Mapping[str, Any] = read_safetensors(path)
    else:
        content = read_pickled(path)
        state = content if isinstance(content, Mapping) else {}
        for key in ("params_ema", "params"):
            if isinstance(state.get(key), Mapping):
                state = state[key]
                break
    with torch.device("meta"):
        model = _shaped_like(state, path)
    refuse_differences(path, {k: tuple(v.shape) for k, v in model.state_dict().items()}, dict(state))
    model.load_state_dict({k: t.float() for k, t in state.items()}, assign=True)
    return model.eval().requires_grad_(False)


def _shaped_like(state: Mapping[str, Any], path: Path) -> RRDBNet | SRVGGNetCompact:
    first, growing = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
    if isinstance(first, Tensor) and isinstance(growing, Tensor):
        if first.shape[1] != 3:
            raise BadWeights(f"'{path}' is a Real-ESRGAN of another scale; fetch RealESRGAN_x4plus.pth")
        return RRDBNet(len(first), _highest(state, r"body\.(\d+)\.rdb1\.conv1\.weight") + 1, len(growing))
    compact, last = state.get("body.0.weight"), _highest(state, r"body\.(\d+)\.weight")
    if isinstance(compact, Tensor) and compact.ndim == 4 and last >= 2:
        if len(state[f"body.{last}.weight"]) != 3 * SRVGGNetCompact.scale**2:
            raise BadWeights(f"'{path}' is a Real-ESRGAN of another scale; fetch realesr-general-x4v3.pth")
        return SRVGGNetCompact(len(compact), (last - 2) // 2)
    raise BadWeights(f"'{path}' holds no Real-ESRGAN (RRDBNet or SRVGGNetCompact); fetch it again")


def _highest(state: Mapping[str, Any], pattern: str) -> int:
    found = [int(m[1]) for m in (re.fullmatch(pattern, key) for key in state) if m]
    return max(found, default=-1)
