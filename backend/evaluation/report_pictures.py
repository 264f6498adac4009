"""In which order a case's pictures are shown."""

from __future__ import annotations

from pathlib import Path

TURNED = ("left45", "right45")
_KINDS = ("geometry", "albedo", "relit")


def picture_order(path: str) -> tuple[bool, int, str]:
    """A key: what the photo shows before the turned views; geometry, albedo, relit, others; then by name."""
    stem = Path(path).stem
    kind = next((i for i, word in enumerate(_KINDS) if stem.startswith(word)), len(_KINDS))
    return stem.endswith(TURNED), kind, stem
