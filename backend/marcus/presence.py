"""Whether the MARCUS engine can run here, found out without importing its networks."""

from __future__ import annotations

import importlib.util

from backend.errors import LikenessError
from backend.marcus.options import MarcusOptions

LIBRARIES = ("diffusers", "transformers", "peft")


def why_not_marcus(options: MarcusOptions) -> str | None:
    """What is missing, in one line; None where nothing is."""
    from backend.marcus.release import Release, require
    from backend.weights.licences import require_accepted
    from backend.weights.places import weights_folder

    absent = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    root = options.weights or weights_folder()
    try:
        require(Release(root))
        require_accepted(root, "marcus")
    except LikenessError as error:
        return str(error)
    import torch

    if not torch.cuda.is_available():
        return "no CUDA GPU"
    from backend.marcus.placement import place

    try:
        place(options.device, 0.0, options.fp8)
    except LikenessError as error:
        return str(error)
    return None
