"""Which things a pixel shows: names, and how they ride on three colour outputs. No Blender."""

from __future__ import annotations

# Three outputs of three channels each.
OUTPUTS: tuple[tuple[str, tuple[str, str, str]], ...] = (
    ("cover0", ("skin", "hair", "cloth")),
    ("cover1", ("frame", "lens", "hat")),
    ("cover2", ("hand", "eyes", "mouth")),
)
KINDS: tuple[str, ...] = tuple(kind for _, kinds in OUTPUTS for kind in kinds)


def output_of(kind: str) -> tuple[str, tuple[float, float, float]]:
    """The output that ``kind`` rides on, and its colour there."""
    for name, kinds in OUTPUTS:
        if kind in kinds:
            at = kinds.index(kind)
            return name, (float(at == 0), float(at == 1), float(at == 2))
    raise ValueError(f"'{kind}' is not one of {', '.join(KINDS)}")
