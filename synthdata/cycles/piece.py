"""One thing that is worn, as a mesh."""

from __future__ import annotations

from dataclasses import dataclass

from synthdata.cycles.ground import F32, I32


@dataclass(frozen=True)
class Piece:
    """A mesh of quads with what it is made of."""

    vertices: F32  # (V, 3) head space, metres
    quads: I32  # (Q, 4)
    stuff: str  # "main", "under", "scarf" …: which of the outfit's cloths
    thickness_m: float = 0.0  # a sheet is made this thick
