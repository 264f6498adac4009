"""What tests measure on open lids."""

from __future__ import annotations

import numpy as np

from backend.head.base import ParametricHead
from backend.head.contact import sampled
from backend.head.lid_motion import MIRROR_X
from backend.head.lids import CLEARANCE_M, LidLayout, Lids


def cut_m(head: ParametricHead, neutral: np.ndarray, side: str) -> float:
    """How far the eyeball stands beyond the open lids of the ``side`` ``left`` or ``right``, metres."""
    even = neutral if side == "left" else neutral[head.mirror_vertex] * MIRROR_X
    layout = LidLayout(head)
    below, _ = Lids(layout, even).missing(np.eye(3))(sampled(even.astype(np.float64), layout.surface))
    return float(below.max()) - CLEARANCE_M
