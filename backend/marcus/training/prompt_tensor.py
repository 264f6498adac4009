"""Prompts as tensors of bytes, so that they travel in batches."""

from __future__ import annotations

import torch
from torch import Tensor

_BYTES = 4096


def as_tensor(prompt: str) -> Tensor:
    """UTF-8 bytes, cut and filled to a fixed length with zeros."""
    data = prompt.encode()[:_BYTES]
    return torch.frombuffer(bytearray(data.ljust(_BYTES, b"\0")), dtype=torch.uint8)


def as_prompts(rows: Tensor) -> list[str]:
    """The prompts of ``(…, bytes)``, row by row; a character cut in two at the end is dropped."""
    flat = rows.reshape(-1, rows.shape[-1]).cpu().numpy()
    return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in flat]
