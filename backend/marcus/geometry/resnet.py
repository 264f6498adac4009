"""The regressor that the release runs: a ResNet-50 with seven 1×1 heads (facts sheet, 3.1).

torchvision's v1.5 layout (the stride is on the 3×3), whose keys the published file has; torchvision
itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.marcus.geometry.coefficients import WIDTHS
from backend.weights.components import refuse_differences

EXPRESSION = 1  # the one head that ends in a ReLU


@dataclass(frozen=True)
class ResNetConfig:
    """The defaults are the published network's."""

    widths: tuple[int, ...] = WIDTHS
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    base: int = 64  # channels of the first stage's bottlenecks


class _Bottleneck(nn.Module):
    def __init__(self, into: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(into, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or into != out:
            self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Backbone(nn.Module):
    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, config.base, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.base)
        into = config.base
        for number, count in enumerate(config.blocks, start=1):
            width = config.base * 2 ** (number - 1)
            stage = []
            for block in range(count):
                stage.append(_Bottleneck(into, width, 2 if block == 0 and number > 1 else 1))
                into = 4 * width
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.channels = into

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean(dim=(2, 3), keepdim=True)


class ResNetRegressor(nn.Module):
    """RGB ``(B, 3, H, W)`` in [0, 1], 224² in the published network, to coefficients ``(B, sum(widths))``."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        config = config or ResNetConfig()
        self.widths = config.widths
        self.backbone = _Backbone(config)
        heads: list[nn.Module] = [nn.Conv2d(self.backbone.channels, n, 1) for n in config.widths]
        heads[EXPRESSION] = nn.Sequential(heads[EXPRESSION], nn.ReLU())
        self.final_layers = nn.ModuleList(heads)

    def forward(self, rgb: Tensor) -> Tensor:
        features = self.backbone(rgb)
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)


def load_resnet(
    state: Mapping[str, Tensor], where: Path, config: ResNetConfig | None = None
) -> ResNetRegressor:
    """The regressor with the weights ``state``, for inference. Raises: BadWeights, naming what differs."""
    with torch.device("meta"):
        model = ResNetRegressor(config)
    counters = {
        k for k in model.state_dict() if k.endswith("num_batches_tracked")
    }  # old savers leave them out
    full = {**{k: torch.zeros((), dtype=torch.int64) for k in counters}, **state}
    refuse_differences(where, {k: tuple(v.shape) for k, v in model.state_dict().items()}, full)
    model.load_state_dict(full, assign=True)
    return model.eval().requires_grad_(False)
