"""The paper's regressor: Multi-Scale Space Fusion of ConvNeXt V2 and a frozen DINOv3 (facts sheet, 3.2).

After every stage of the trunk DINOv3's map of that stage is added through an adapter, spatial attention
weighs the places, and the mean over them goes to the heads. Both branches see the same RGB in [0, 1].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextV2Config, ConvNextV2Model, DINOv3ConvNextConfig, DINOv3ConvNextModel

from backend.errors import BadWeights, Missing
from backend.marcus.geometry.coefficients import WIDTHS
from backend.weights.components import refuse_differences

STAGES = 4
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class MssfConfig:
    """The defaults are ConvNeXt V2 Base and DINOv3 ConvNeXt Small, as MARCUS has them."""

    widths: tuple[int, ...] = WIDTHS
    trunk_dims: Four = (128, 256, 512, 1024)
    trunk_depths: Four = (3, 3, 27, 3)
    dino_dims: Four = (96, 192, 384, 768)
    dino_depths: Four = (3, 3, 27, 3)
    hidden: int = 1024  # of the heads


class _SpatialAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv1(summary))


class MssfRegressor(nn.Module):
    """RGB ``(B, 3, H, W)`` in [0, 1], 224² in MARCUS, to coefficients ``(B, sum(widths))``."""

    def __init__(self, config: MssfConfig | None = None) -> None:
        super().__init__()
        config = config or MssfConfig()
        self.widths = config.widths
        trunk: Any = ConvNextV2Model(
            ConvNextV2Config(hidden_sizes=list(config.trunk_dims), depths=list(config.trunk_depths))
        )
        trunk.layernorm = nn.Identity()  # stage maps are used as they are
        self.trunk = trunk
        dino: Any = DINOv3ConvNextModel(
            DINOv3ConvNextConfig(hidden_sizes=list(config.dino_dims), depths=list(config.dino_depths))
        )
        dino.layer_norm = nn.Identity()
        self.dinov3 = dino.requires_grad_(False)
        for s, (side, into) in enumerate(zip(config.dino_dims, config.trunk_dims, strict=True)):
            adapter = nn.Sequential(
                nn.Conv2d(side, side // 2, 1, bias=False),
                nn.BatchNorm2d(side // 2),
                nn.ReLU(),
                nn.Conv2d(side // 2, into, 1),
            )
            setattr(self, f"adapter{s}", adapter)
            setattr(self, f"sa{s}", _SpatialAttention())
        pooled, hidden = sum(config.trunk_dims), config.hidden
        self.final_layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(pooled, hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, n),
            )
            for n in config.widths
        )

    def train(self, mode: bool = True) -> MssfRegressor:
        """DINOv3 stays as it is for inference."""
        super().train(mode)
        self.dinov3.eval()
        return self

    def forward(self, rgb: Tensor) -> Tensor:
        x, pooled = self.trunk.embeddings(rgb), []
        d = rgb
        for s in range(STAGES):
            x = self.trunk.encoder.stages[s](x)
            with torch.no_grad():
                d = self.dinov3.model.stages[s](d)
            seen = F.instance_norm(d)
            if seen.shape[2:] != x.shape[2:]:
                seen = F.interpolate(seen, x.shape[2:], mode="bilinear", align_corners=False)
            x = x + self.get_submodule(f"adapter{s}")(seen)
            x = self.get_submodule(f"sa{s}")(x)
            pooled.append(x.mean(dim=(2, 3)))
        features = torch.cat(pooled, dim=1)
        return torch.cat([head(features) for head in self.final_layers], dim=1)

    def published_state(self) -> dict[str, Tensor]:
        """The weights under the release's (timm's) names."""
        return {_to_published(k): _flat_grn(k, v) for k, v in self.state_dict().items()}


def load_mssf(
    state: Mapping[str, Tensor], where: Path, dino: Path | None = None, config: MssfConfig | None = None
) -> MssfRegressor:
    """The regressor with the weights ``state``, for inference.

    A file may leave DINOv3 out (it is frozen); it is then read from the folder ``dino``.
    Raises: Missing (no DINOv3 anywhere), BadWeights, naming what differs.
    """
    with torch.device("meta"):
        model = MssfRegressor(config)
    full = {_to_own(key): tensor for key, tensor in state.items()}
    if not any(key.startswith("dinov3.") for key in full):
        full |= {f"dinov3.{key}": tensor for key, tensor in dino_state(dino).items()}
    own = model.state_dict()
    for key, tensor in full.items():
        if key in own and ".grn." in key and tensor.ndim == 1:
            full[key] = tensor.reshape(1, 1, 1, -1)
    full = {k: torch.zeros((), dtype=torch.int64) for k in own if k.endswith("num_batches_tracked")} | full
    refuse_differences(where, {key: tuple(t.shape) for key, t in own.items()}, full)
    model.load_state_dict(full, assign=True)
    return model.eval().requires_grad_(False)


def dino_state(folder: Path | None) -> dict[str, Tensor]:
    """DINOv3's stages as published, named as in ``MssfRegressor.dinov3``. Raises: Missing, BadWeights."""
    from backend.weights.components import weight_files
    from backend.weights.reading import read_safetensors

    if folder is None or not folder.is_dir():
        raise Missing(
            "MARCUS' MSSF encoder needs DINOv3 ConvNeXt Small beside it; accept its licence at its publisher "
            "and run `likeness weights fetch dinov3`, or use the ResNet"
        )
    state = {k: t for file in weight_files(folder) for k, t in read_safetensors(file).items()}
    stages = {_dino_key(k): t for k, t in state.items() if "stages." in k}
    if not stages:
        raise BadWeights(f"'{folder}' holds no DINOv3 ConvNeXt; fetch it again")
    return stages


def _dino_key(key: str) -> str:
    return re.sub(r"^(model\.)?stages\.", "model.stages.", key)


# Ours (transformers' ConvNextV2) and timm's names of the trunk's parts, in this order of replacement.
_STEM = (("trunk.embeddings.patch_embeddings.", "stem.0."), ("trunk.embeddings.layernorm.", "stem.1."))
_BLOCK = (
    (".dwconv.", ".conv_dw."),
    (".layernorm.", ".norm."),
    (".pwconv1.", ".mlp.fc1."),
    (".grn.", ".mlp.grn."),
    (".pwconv2.", ".mlp.fc2."),
)


def _to_published(key: str) -> str:
    for ours, theirs in _STEM:
        key = key.replace(ours, theirs)
    if key.startswith("trunk.encoder.stages."):
        key = key.removeprefix("trunk.encoder.")
        key = key.replace(".downsampling_layer.", ".downsample.").replace(".layers.", ".blocks.")
        for ours, theirs in _BLOCK:
            key = key.replace(ours, theirs)
    return key


def _to_own(key: str) -> str:
    for ours, theirs in _STEM:
        if key.startswith(theirs):
            return key.replace(theirs, ours, 1)
    if key.startswith("dinov3."):
        return "dinov3." + _dino_key(key.removeprefix("dinov3."))
    if key.startswith("stages."):
        key = "trunk.encoder." + key
        key = key.replace(".downsample.", ".downsampling_layer.").replace(".blocks.", ".layers.")
        for ours, theirs in _BLOCK:
            key = key.replace(theirs, ours)
    return key


def _flat_grn(key: str, tensor: Tensor) -> Tensor:
    return tensor.flatten() if ".grn." in key else tensor
