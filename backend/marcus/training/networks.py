"""Encoders to train: the paper's or the release's, at full or tiny size, starting at the mean face."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from backend.errors import BadWeights, Missing
from backend.marcus.geometry.mssf import MssfConfig, MssfRegressor, dino_state
from backend.marcus.geometry.resnet import ResNetConfig, ResNetRegressor
from backend.marcus.release import CONVNEXT, DINO
from backend.training.recipe import MssfNetwork, ResNetNetwork
from backend.weights.components import refuse_differences
from backend.weights.places import weights_folder
from backend.weights.reading import read_pickled, read_safetensors

_AWAKE = 0.02  # expression weights of the first answer


def build_regressor(
    network: MssfNetwork | ResNetNetwork, widths: tuple[int, ...], seed: int, start: Path | None
) -> nn.Module:
    """The encoder with random weights, or with those of ``start`` (safetensors) under its own names.

    MSSF at full size stands on the published ConvNeXt V2 and DINOv3 that were fetched: DINOv3 is never
    trained, so random weights there would say nothing.
    Without ``start`` the last layers begin at zero: the first answer is the mean face before the camera,
    with a trace of every expression where they end in a ReLU.
    Raises: Missing (ConvNeXt V2 or DINOv3 not fetched), BadWeights (of another network).
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
    if isinstance(model, MssfRegressor) and network.kind == "mssf" and network.size == "full":
        root = weights_folder()
        load_backbones(model, root / CONVNEXT, root / DINO)
    for head in model.final_layers:
        last = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:  # a ReLU that begins at zero would never wake
            nn.init.constant_(last.bias, _AWAKE if isinstance(list(head.modules())[-1], nn.ReLU) else 0.0)
    return model


def load_backbones(model: MssfRegressor, trunk: Path, dino: Path) -> None:
    """Put the published ConvNeXt V2 of the folder ``trunk`` and DINOv3 of ``dino`` into ``model``.

    Raises: Missing, BadWeights.
    """
    for part, folder, state in (("trunk.", trunk, _trunk_state(trunk)), ("dinov3.", dino, dino_state(dino))):
        module = model.get_submodule(part.removesuffix("."))
        wanted = {key: tuple(t.shape) for key, t in module.state_dict().items()}
        refuse_differences(folder, wanted, dict(state))
        module.load_state_dict(state)


def _trunk_state(folder: Path) -> dict[str, torch.Tensor]:
    """Stem and stages of a published ConvNeXt V2, in safetensors or pickled, without its classifier."""
    whole, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if not whole.is_file() and not pickled.is_file():
        raise Missing(
            f"no ConvNeXt V2 in '{folder}', on which the MSSF encoder stands; run `likeness weights fetch "
            "convnextv2`, or give a trained encoder as --start"
        )
    state = read_safetensors(whole) if whole.is_file() else read_pickled(pickled)
    prefix = "convnextv2."
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in state.items()
        if key.startswith((prefix, "embeddings.", "encoder."))
        and not key.startswith((f"{prefix}layernorm.", "layernorm."))
    }


def _load(model: nn.Module, start: Path) -> None:
    try:
        missing, unknown = model.load_state_dict(read_safetensors(start), strict=False)
    except RuntimeError as error:
        raise BadWeights(f"'{start}' is of another network ({' '.join(str(error).split())[:200]})") from error
    if unknown or any(not key.startswith("dinov3.") for key in missing):
        first = (*unknown, *missing)[0]
        raise BadWeights(f"'{start}' is of another network, first difference {first}")
