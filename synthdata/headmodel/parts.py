"""Half parts: what the builder mirrors into one head. Every vertex moves linearly with ICT's offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]
# Offsets at ICT's 26719 vertices (…, 26719, 3) to offsets at the part's vertices (…, N, 3).
Carry = Callable[[NDArray[np.floating[Any]]], F64]

MIRROR_X = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class PartHalf:
    """The x ≥ 0 half of a part (or the left one of a pair).

    ``borrowed`` vertices of ``quads`` belong to the skin: index i ≥ 0 is the part's own vertex, a
    negative one −1 − s is the skin half's vertex s.
    """

    name: str  # of the left half's quads
    mirror_name: str  # of the right half's quads; the same for parts on the midline
    vertices: F64  # (N, 3) mean, metres
    quads: I32  # (Q, 4) anticlockwise from outside
    uvs: F64  # (U, 2) of the left half
    quad_uvs: I32  # (Q, 4) rows of uvs
    carry: Carry
    own_expressions: dict[str, F64]  # replaces what carry would give, (N, 3) metres at weight 1
    mirror_uv: Callable[[F64], F64]  # the right half's UVs from the left's


def same_chart_mirrored(uv: F64) -> F64:
    """u ↦ 1 − u: the right half is the chart's other side, or the pair's chart seen in a mirror."""
    return np.stack([1.0 - uv[:, 0], uv[:, 1]], 1)


def affine_carry(source_ids: NDArray[np.intp], source: F64, target: F64) -> Carry:
    """Moves ``target`` by the affine map that fits the offsets at ``source_ids`` best."""
    design = np.c_[source, np.ones(len(source))]
    operator = np.c_[target, np.ones(len(target))] @ np.linalg.pinv(design)  # (N, S)

    def carry(offsets: NDArray[np.floating[Any]]) -> F64:
        return np.asarray(operator @ np.asarray(offsets, np.float64)[..., source_ids, :])

    return carry
