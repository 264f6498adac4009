"""Corrective shapes: what an expression needs where it meets another one, times the product of their weights.

Read by the backend's heads and by the bundle alike; no Blender, no backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import SparseOffsets

MOST_FACTORS = 3


@dataclass(frozen=True)
class Correctives:
    """Sparse offsets that are added times the product of two or three factors.

    A factor is an expression's weight w or, for shapes between rest and an expression, 1 − w.
    """

    factors: NDArray[np.int32]  # (C, MOST_FACTORS) row e of the expression; −2 − e for 1 − w; −1 behind all
    offsets: SparseOffsets  # C rows, metres where all the weights are 1

    def __len__(self) -> int:
        return len(self.factors)

    @classmethod
    def none(cls) -> Correctives:
        """No correctives: expressions add up."""
        return cls(np.zeros((0, MOST_FACTORS), np.int32), SparseOffsets.from_dense(np.zeros((0, 0, 3))))

    @classmethod
    def of(cls, shapes: dict[tuple[int, ...], NDArray[np.floating[Any]]], smallest_m: float) -> Correctives:
        """From dense offsets ``(V, 3)`` by their expressions; less than ``smallest_m`` is left out."""
        if not shapes:
            return cls.none()
        rows = [(*factors, *[-1] * (MOST_FACTORS - len(factors))) for factors in shapes]
        return cls(
            np.array(rows, np.int32), SparseOffsets.from_dense(np.stack(list(shapes.values())), smallest_m)
        )

    def names(self, expression_names: tuple[str, ...]) -> tuple[str, ...]:
        """``eyeBlinkLeft_eyeLookUpLeft``: the expressions' names, joined; ``between`` for a factor 1 − w."""
        return tuple(
            "_".join(expression_names[f] if f >= 0 else "between" for f in row if f != -1)
            for row in self.factors
        )

    def weights(self, expression: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Products ``(…, C)`` of expression weights ``(…, E)``."""
        known = np.asarray(expression, np.float64)
        return np.asarray(_values(known, self.factors).prod(axis=-1))

    def slopes(self, expression: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Derivatives ``(C, E)`` of ``weights`` by the expression weights ``(E,)``."""
        known = np.asarray(expression, np.float64)
        out = np.zeros((len(self), len(known)))
        for k in range(MOST_FACTORS):
            own = self.factors[:, k]
            others = _values(known, np.delete(self.factors, k, axis=1)).prod(axis=1)
            rows = np.flatnonzero(own != -1)
            column = np.where(own >= 0, own, -2 - own)[rows]
            out[rows, column] += np.where(own >= 0, others, -others)[rows]
        return out

    def moved(self, expression: NDArray[np.floating[Any]], vertices: int) -> NDArray[np.float64]:
        """Offsets ``(V, 3)`` in metres at the expression weights ``(E,)``."""
        out = np.zeros((vertices, 3))
        for c, weight in enumerate(self.weights(expression)):
            if weight != 0.0:
                rows, offset = self.offsets.rows(c)
                out[rows] += weight * offset
        return out

    def inconsistency(self, expressions: int, vertices: int) -> str | None:
        """What does not fit a mesh of so many expressions and vertices, None when all is sound."""
        factors, offsets = self.factors, self.offsets
        if factors.shape != (len(offsets), MOST_FACTORS):
            return "correctives and their expressions differ in number"
        if factors.size and (factors.min() < -1 - expressions or factors.max() >= expressions):
            return "correctives name expressions that there are not"
        if offsets.offset.shape != (len(offsets.vertex), 3) or int(offsets.start[-1]) != len(offsets.vertex):
            return "corrective offsets are cut short"
        if offsets.start[0] != 0 or (np.diff(offsets.start) < 0).any():
            return "corrective rows are out of order"
        if len(offsets.vertex) and (offsets.vertex.min() < 0 or offsets.vertex.max() >= vertices):
            return "correctives move vertices that there are not"
        return None


def _values(expression: NDArray[np.float64], factors: NDArray[np.int32]) -> NDArray[np.float64]:
    """The ``factors`` ``(C, F)`` as numbers ``(…, C, F)`` at expression weights ``(…, E)``."""
    ones = np.ones((*expression.shape[:-1], 1))
    known = np.concatenate([expression, ones, 1.0 - expression], axis=-1)
    count = expression.shape[-1]
    return np.asarray(known[..., np.where(factors >= 0, factors, count - 1 - factors)])
