"""Likeness backend: one photograph becomes a relightable head. See ``backend.pipeline``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.pipeline import reconstruct

__version__ = "0.1.0"
__all__ = ["__version__", "reconstruct"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `likeness --help` never pays for numpy, numba or torch.
    if name == "reconstruct":
        from backend.pipeline import reconstruct

        return reconstruct
    raise AttributeError(f"module 'backend' has no attribute {name!r}")
