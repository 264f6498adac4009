"""LPIPS (Zhang et al. 2018, version 0.1, AlexNet) from its published files, and from nothing else.

Two files make it: torchvision's AlexNet and the ``lpips`` package's linear layer. Neither is shipped or
fetched. ``find_published`` looks where those projects put them; without both there is no LPIPS.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput

if TYPE_CHECKING:
    import torch

    Parameters = dict[str, torch.Tensor]

# The published file's name carries the head of its SHA-256.
_TRUNK_HASHES = ("7be5be79", "4df8aa71")
_CONVOLUTIONS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))  # row of features, stride, padding
_POOLED_BEFORE = (1, 2)
_CHANNELS = (64, 192, 384, 256, 256)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips:
    """The distance made of a trunk (``features.N.weight``, ``.bias``) and linear layers (``linN…``)."""

    def __init__(self, trunk: Parameters, linear: Parameters) -> None:
        """Raises: BadInput when parameters are missing or of another network."""
        self._trunk, self._linear = [], []
        for k, (row, _, _) in enumerate(_CONVOLUTIONS):
            weight, bias = trunk.get(f"features.{row}.weight"), trunk.get(f"features.{row}.bias")
            mix = linear.get(f"lin{k}.model.1.weight")
            if weight is None or bias is None or len(weight) != _CHANNELS[k]:
                raise BadInput("these are not AlexNet's parameters; LPIPS needs torchvision's file")
            if mix is None or mix.shape != (1, _CHANNELS[k], 1, 1) or bool((mix < 0).any()):
                raise BadInput("these are not LPIPS' linear layers; it needs weights/v0.1/alex.pth")
            self._trunk.append((weight.float(), bias.float()))
            self._linear.append(mix.float())

    def distance(
        self, picture: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]], mask: NDArray[Any]
    ) -> float | None:
        """LPIPS of two sRGB pictures ``(H, W, 3)`` in [0, 1], cropped to the mask, grey outside it.

        None where the mask's box is smaller than 32 pixels, which the network cannot see.
        """
        import torch

        inside = np.asarray(mask) > 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if len(rows) == 0 or min(np.ptp(rows), np.ptp(columns)) < 31:
            return None
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        pair = [
            np.where(inside[..., None], np.asarray(p, np.float32), np.float32(0.5))[box]
            for p in (picture, truth)
        ]
        a, b = (torch.from_numpy(p).permute(2, 0, 1)[None] for p in pair)
        with torch.no_grad():
            return float(self.of_pictures(a, b))

    def of_pictures(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """LPIPS ``(B,)`` of sRGB pictures ``(B, 3, H, W)`` in [0, 1], at least 32 pixels; differentiable."""
        total = a.new_zeros(len(a))
        for fa, fb, mix in zip(self._features(a), self._features(b), self._linear, strict=True):
            total = total + ((fa - fb) ** 2 * mix.to(a)).sum(1).mean((1, 2))
        return total

    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        import torch.nn.functional as nn

        shift, scale = (image.new_tensor(values)[:, None, None] for values in (_SHIFT, _SCALE))
        x = (image * 2 - 1 - shift) / scale
        found = []
        for k, ((_, stride, padding), (weight, bias)) in enumerate(
            zip(_CONVOLUTIONS, self._trunk, strict=True)
        ):
            if k in _POOLED_BEFORE:
                x = nn.max_pool2d(x, 3, 2)
            x = nn.relu(nn.conv2d(x, weight.to(x), bias.to(x), stride, padding))
            found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found


def load_lpips(trunk: Path, linear: Path) -> Lpips:
    """The published network from its two files. Raises: BadInput when they are others."""
    import torch

    try:
        with trunk.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(_TRUNK_HASHES):
            raise BadInput(f"'{trunk}' is not the published AlexNet; LPIPS cannot be made of other weights")
        return Lpips(
            torch.load(trunk, map_location="cpu", weights_only=True),
            torch.load(linear, map_location="cpu", weights_only=True),
        )
    except OSError as error:
        raise BadInput(f"'{error.filename}' cannot be read ({error.strerror})") from error


def find_published() -> tuple[Path, Path] | None:
    """Trunk and linear layer where torch's hub and the ``lpips`` package keep them; None without both."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "torch"
    hub = Path(os.environ.get("TORCH_HOME", default)) / "hub" / "checkpoints"
    trunks = [hub / f"alexnet-owt-{head}.pth" for head in _TRUNK_HASHES]
    package = importlib.util.find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        return None
    linear = Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / "alex.pth"
    present = [trunk for trunk in trunks if trunk.is_file()]
    return (present[0], linear) if present and linear.is_file() else None
