"""Encoders to train: the paper's or the release's, at full or tiny size, starting at the mean face."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from backend.errors import BadWeights
from backend.marcus.geometry.mssf import MssfConfig, MssfRegressor
from backend.marcus.geometry.resnet import ResNetConfig, ResNetRegressor
from backend.training.recipe import MssfNetwork, ResNetNetwork

_AWAKE = 0.02  # expression weights of the first answer


def build_regressor(
    network: MssfNetwork | ResNetNetwork, widths: tuple[int, ...], seed: int, start: Path | None
) -> nn.Module:
    """The encoder with random weights, or with those of ``start`` (safetensors) under its own names.

    From random weights the last layers begin at zero: the first answer is the mean face before the camera,
    with a trace of every expression where they end in a ReLU.
    Raises: BadWeights when ``start`` belongs to another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: MssfRegressor | ResNetRegressor
        if isinstance(network, ResNetNetwork):
            model = ResNetRegressor(ResNetConfig(widths=widths, blocks=network.blocks, base=network.width))
        elif network.size == "tiny":
            model = MssfRegressor(
                MssfConfig(widths, (16, 32, 64, 128), (1, 1, 2, 1), (16, 32, 64, 128), (1, 1, 1, 1), 64)
            )
        else:
            model = MssfRegressor(MssfConfig(widths=widths))
    if start is not None:
        _load(model, start)
        return model
    for head in model.final_layers:
        last = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:  # a ReLU that begins at zero would never wake
            nn.init.constant_(last.bias, _AWAKE if isinstance(list(head.modules())[-1], nn.ReLU) else 0.0)
    return model


def _load(model: nn.Module, start: Path) -> None:
    from backend.weights.reading import read_safetensors

    try:
        missing, unknown = model.load_state_dict(read_safetensors(start), strict=False)
    except RuntimeError as error:
        raise BadWeights(f"'{start}' is of another network ({' '.join(str(error).split())[:200]})") from error
    if unknown or any(not key.startswith("dinov3.") for key in missing):
        first = (*unknown, *missing)[0]
        raise BadWeights(f"'{start}' is of another network, first difference {first}")
