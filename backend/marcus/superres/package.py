"""Real-ESRGAN's networks out of the package ``realesrgan``, where it is installed and imports.

Weights are read and checked by our own loader in any case: the package's reader would run what a pickle holds
under an older PyTorch, and takes files that do not fit. Tiles, seams and maps are ours as well, since its
``enhance`` rounds to 8 or 16 bits.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from backend.marcus.superres.networks import RRDBNet, SRVGGNetCompact


class Packaged:
    """A network of the package with the weights of one of ours; the same interface (``Enlarger``)."""

    def __init__(self, network: nn.Module, scale: int) -> None:
        self.network, self.scale = network, scale

    def __call__(self, rgb: Tensor) -> Tensor:
        out: Tensor = self.network(rgb)
        return out

    def to(self, device: torch.device) -> Packaged:
        return Packaged(self.network.to(device), self.scale)


def packaged(own: RRDBNet | SRVGGNetCompact) -> Packaged | None:
    """The package's network with the weights of ``own``; None where the package does not import.

    Its dependency basicsr fails on torchvision from 0.17 on, so that is common.
    """
    found = _classes()
    if found is None:
        return None
    rrdb, compact = found
    with torch.device("meta"):
        network: nn.Module
        if isinstance(own, RRDBNet):
            features, growth = own.conv_first.out_channels, own.body[0].rdb1.conv1.out_channels  # type: ignore[union-attr]
            network = rrdb(3, 3, own.scale, num_feat=features, num_block=len(own.body), num_grow_ch=growth)
        else:
            first: Any = own.body[0]
            sizes = {"num_feat": first.out_channels, "num_conv": len(own.body) // 2 - 1}
            network = compact(3, 3, **sizes, upscale=own.scale, act_type="prelu")
    network.load_state_dict(own.state_dict(), strict=True, assign=True)
    return Packaged(network.eval().requires_grad_(False), own.scale)


def is_importable() -> bool:
    """Whether the package is there and imports."""
    return _classes() is not None


def _classes() -> tuple[Any, Any] | None:
    try:
        rrdb = importlib.import_module("basicsr.archs.rrdbnet_arch")
        compact = importlib.import_module("realesrgan.archs.srvgg_arch")
    except ImportError:
        return None
    return rrdb.RRDBNet, compact.SRVGGNetCompact
