"""Corrective shapes of a built head: computed from its expressions, mirrored, and written into its file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from blender_addon.correctives import Correctives
from synthdata.headmodel.lid_correctives import BETWEEN, BLINK, Lids, closed_lids, lid_correctives
from synthdata.headmodel.lip_correctives import lip_correctives
from synthdata.headmodel.parts import MIRROR_X
from synthdata.headmodel.store import NEGLIGIBLE_M, rewrite_motion

F64 = NDArray[np.float64]
SMALLEST_M = 2 * NEGLIGIBLE_M


def add_correctives(source: Path, output: Path) -> ParametricHead:
    """Write the built head ``source`` with closed lids over its corneas and with correctives; read it back.

    Deterministic. Raises: Missing, BadInput (not an open head), OSError.
    """
    head = load_open_head(source)
    lids = Lids(head)
    blink = closed_lids(lids)
    expressions = head.expression_basis.copy()
    for name, offsets in both_sides({(BLINK,): blink}, head).items():
        expressions[head.expression_names.index(name[0])] = offsets
    shapes = both_sides(lid_correctives(lids, blink) | lip_correctives(head), head)
    rows = {tuple(_factor(head, n) for n in names): offsets for names, offsets in shapes.items()}
    rewrite_motion(source, output, expressions, Correctives.of(rows, SMALLEST_M))
    return load_open_head(output)


def both_sides(left: dict[tuple[str, ...], F64], head: ParametricHead) -> dict[tuple[str, ...], F64]:
    """The shapes of the subject's left side, each followed by its mirror image under the right's names."""
    out: dict[tuple[str, ...], F64] = {}
    for names, offsets in left.items():
        mirrored = offsets[head.mirror_vertex] * MIRROR_X
        other = _other_names(names)
        if other == names:
            out[names] = 0.5 * (offsets + mirrored)
        else:
            out[names], out[other] = offsets, mirrored
    return out


def _factor(head: ParametricHead, name: str) -> int:
    row = head.expression_names.index(name.removeprefix(BETWEEN))
    return -2 - row if name.startswith(BETWEEN) else row


def _other_names(names: Iterable[str]) -> tuple[str, ...]:
    swap = {"Left": "Right", "Right": "Left"}
    return tuple(
        next((name.removesuffix(a) + b for a, b in swap.items() if name.endswith(a)), name) for name in names
    )
