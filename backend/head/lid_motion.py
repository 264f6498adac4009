"""A head whose blink, looks and their correctives are made for one person's eyes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.eyeball import GAZES_DEG
from backend.head.lids import BETWEEN, BLINK, LidLayout, Lids, closed_lids, gaze_correctives, lid_correctives
from blender_addon.correctives import MOST_FACTORS, Correctives

F64 = NDArray[np.float64]
Shapes = dict[tuple[str, ...], F64]  # offsets (V, 3) by the expressions that they belong to

MIRROR_X = np.array([-1.0, 1.0, 1.0])
SMALLEST_M = 1e-5  # corrective offsets below this are not kept
NEEDED = ("eye_left", "eye_right", "cornea_left", "cornea_right")


def has_lids(head: ParametricHead) -> bool:
    """Whether the head has the parts and the blink that closed lids are made from."""
    return set(NEEDED) <= set(head.part_names) and BLINK in head.expression_names


def fitted_lids(head: ParametricHead, neutral: NDArray[np.floating[Any]]) -> ParametricHead:
    """``head`` whose lids close on the eyes of the person with the ``neutral`` vertices ``(V, 3)``.

    On other people the mean head's blink leaves a gap or sinks into the eyeball. Heads without such parts
    come back as they are.
    """
    if not has_lids(head):
        return head
    layout = LidLayout(head)
    rest = np.asarray(neutral, np.float64)
    shapes: Shapes = {}
    for side, mirrored in ((rest, False), (rest[head.mirror_vertex] * MIRROR_X, True)):
        lids = Lids(layout, side)
        blink = closed_lids(lids)
        made = {(BLINK,): blink, **_looks(lids), **gaze_correctives(lids), **lid_correctives(lids, blink)}
        shapes |= mirror_images(made, head) if mirrored else made
    return with_motion(head, shapes)


def with_motion(head: ParametricHead, shapes: Shapes) -> ParametricHead:
    """``head`` with these ``shapes`` for single expressions and for combinations, beside its others."""
    expressions = head.expression_basis.copy()
    rows: dict[tuple[int, ...], F64] = {}
    for c, row in enumerate(head.correctives.factors):
        vertex, offset = head.correctives.offsets.rows(c)
        dense = np.zeros(head.mean_vertices.shape)
        dense[vertex] = offset
        rows[tuple(int(f) for f in row)] = dense
    for names, offsets in shapes.items():
        if len(names) == 1:
            expressions[head.expression_names.index(names[0])] = offsets
        else:
            factors = [_factor(head, name) for name in names]
            rows[(*factors, *[-1] * (MOST_FACTORS - len(factors)))] = offsets
    return dataclasses.replace(
        head, expression_basis=expressions, correctives=Correctives.of(rows, SMALLEST_M)
    )


def mirror_images(shapes: Shapes, head: ParametricHead) -> Shapes:
    """The mirror images of one side's shapes, under the other side's names."""
    return {_other_names(n): offsets[head.mirror_vertex] * MIRROR_X for n, offsets in shapes.items()}


def _looks(lids: Lids) -> Shapes:
    """Looks that turn the person's own eyeball, cornea with it, about its own middle."""
    layout = lids.layout
    out: Shapes = {}
    for name in GAZES_DEG:
        if name in layout.head.expression_names:
            offsets = layout.offsets(name)
            offsets[~layout.moving] *= lids.growth
            out[(name,)] = offsets
    return out


def _factor(head: ParametricHead, name: str) -> int:
    row = head.expression_names.index(name.removeprefix(BETWEEN))
    return -2 - row if name.startswith(BETWEEN) else row


def _other_names(names: Iterable[str]) -> tuple[str, ...]:
    swap = {"Left": "Right", "Right": "Left"}
    return tuple(
        next((name.removesuffix(a) + b for a, b in swap.items() if name.endswith(a)), name) for name in names
    )
