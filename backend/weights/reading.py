"""Weight files of other people, read without running anything that they hold."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadWeights, Missing

if TYPE_CHECKING:
    from torch import Tensor


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of ``path``. Raises: Missing (no such file), BadWeights (damaged, truncated)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise Missing(f"no weights at '{path}'; likeness weights fetch says how to get them")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise BadWeights(f"'{path}' is damaged or no safetensors file ({error}); fetch it again") from error


def safetensors_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor in ``path``, without reading them. Raises: Missing, BadWeights."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise Missing(f"no weights at '{path}'; likeness weights fetch says how to get them")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
            return {key: (s.get_dtype(), tuple(s.get_shape())) for key, s in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadWeights(f"'{path}' is damaged or no safetensors file ({error}); fetch it again") from error


def read_pickled(path: Path) -> Any:
    """What a ``.pth`` file holds: tensors and plain containers of them, nothing that would run code.

    Raises: Missing (no such file), BadWeights (damaged, or with objects that only code could make).
    """
    import torch

    if not path.is_file():
        raise Missing(f"no weights at '{path}'; likeness weights fetch says how to get them")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search("Unsupported (global|class)|GLOBAL", str(error)):
            raise BadWeights(
                f"'{path}' holds objects other than tensors and is not opened: it could run code"
            ) from error
        raise BadWeights(f"'{path}' is damaged ({_first_line(error)}); fetch it again") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise BadWeights(f"'{path}' is damaged ({_first_line(error)}); fetch it again") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
