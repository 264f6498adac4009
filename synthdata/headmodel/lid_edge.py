"""The edge of the left eye's lids: curves round the opening that tear line and lashes hold on to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from backend.head.eyeball import GAZES_DEG, turn
from synthdata.headmodel.eyes import Eyeball
from synthdata.headmodel.layout import HalfMesh
from synthdata.headmodel.parts import MIRROR_X, PartHalf

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]
Columns = NDArray[np.intp]
CONTACT_M = 0.00003  # height over the eyeball at which the lid counts as touching it
MARGIN_M = 0.00065  # height of the lid margin's front edge, where lashes grow


@dataclass(frozen=True)
class LidCurve:
    """A closed curve on the skin half, one point per column of the eye's rings, anticlockwise."""

    first: Columns  # (n,) skin vertices
    second: Columns  # (n,)
    share: F64  # (n,) of the second

    def on(self, points: NDArray[np.floating[Any]]) -> F64:
        """``(…, n, 3)`` for values ``(…, N, 3)`` at the skin half's vertices."""
        values = np.asarray(points, np.float64)
        share = self.share[:, None]
        return np.asarray((1 - share) * values[..., self.first, :] + share * values[..., self.second, :])


@dataclass(frozen=True)
class LidEdge:
    """Where the left lids touch the eyeball, and the front edge of their margins."""

    eyeball: Eyeball
    points: F64  # (N, 3) the skin half at rest
    contact: LidCurve
    margin: LidCurve
    lower: Columns  # columns from the inner to the outer corner
    upper: Columns  # the same corners, over the upper lid

    @staticmethod
    def of(mesh: HalfMesh, points: F64, eyeball: Eyeball) -> LidEdge:
        """Read it off the skin half's ``points`` ``(N, 3)``."""
        contact = _curve_at(mesh, points, eyeball, CONTACT_M)
        x = contact.on(points)[:, 0]
        inner, outer, count = int(x.argmin()), int(x.argmax()), len(x)
        lower = (inner + np.arange((outer - inner) % count + 1)) % count
        upper = (inner - np.arange((inner - outer) % count + 1)) % count
        return LidEdge(eyeball, points, contact, _curve_at(mesh, points, eyeball, MARGIN_M), lower, upper)

    def turns(self, points: F64, gain: float = 1.0) -> F64:
        """Rotations ``(n, 3, 3)`` of the margin from rest to the skin half ``points``, column by column.

        A lid slides over the eyeball: its margin turns with the direction from the eyeball's centre,
        ``gain`` times as far.
        """
        before, after = (self.margin.on(p) - self.eyeball.centre for p in (self.points, points))
        axis = np.cross(before, after)
        sine = np.linalg.norm(axis, axis=1)
        angle = gain * np.arctan2(sine, (before * after).sum(1))
        return np.asarray(
            Rotation.from_rotvec(axis / np.maximum(sine, 1e-15)[:, None] * angle[:, None]).as_matrix()
        )


def shown_skin(ict: ParametricHead, skin: PartHalf, name: str) -> F64:
    """The skin half ``(N, 3)`` with the expression ``name`` at weight 1."""
    if name in skin.own_expressions:
        return skin.vertices + skin.own_expressions[name]
    return skin.vertices + skin.carry(_even_offsets(ict, name))


def gaze_of(name: str) -> F64:
    """The left eyeball's rotation ``(3, 3)`` in the expression ``name``."""
    return turn(*GAZES_DEG[name]) if name in GAZES_DEG else np.eye(3)


def over_eyeball(points: F64, eyeball: Eyeball, gaze: F64 | None = None) -> F64:
    """Heights ``(N,)`` of ``points`` above the eyeball with its cornea, metres."""
    arm = points - eyeball.centre
    distance = np.linalg.norm(arm, axis=1)
    axis = np.array([0.0, 0.0, 1.0]) if gaze is None else gaze[:, 2]
    angle = np.arccos(np.clip(arm @ axis / distance, -1, 1))
    profile = eyeball.profile()
    return np.asarray(distance - np.interp(angle, np.linspace(0, np.pi, len(profile)), profile))


def _curve_at(mesh: HalfMesh, points: F64, eyeball: Eyeball, height: float) -> LidCurve:
    """The curve where the lids, followed outwards from within, rise to ``height`` over the eyeball."""
    rings = np.stack(mesh.eye_rings[::-1])  # innermost first
    above = np.stack([over_eyeball(points[ring], eyeball) for ring in rings])
    columns = np.arange(rings.shape[1])
    low = len(rings) - 2 - np.argmax((above[:-1] < height)[::-1], 0)  # the last ring below
    h0, h1 = above[low, columns], above[low + 1, columns]
    share = np.clip((height - h0) / np.maximum(h1 - h0, 1e-9), 0.0, 1.0)
    return LidCurve(rings[low, columns], rings[low + 1, columns], share)


def _even_offsets(ict: ParametricHead, name: str) -> F64:
    """ICT's offsets of ``name``, the mean of its sides, as the whole head has them."""
    other = name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")
    other = other if other in ARKIT_NAMES else name
    if name not in ict.expression_names:
        return np.zeros(ict.mean_vertices.shape)
    here, there = (
        np.asarray(ict.expression_basis[ict.expression_names.index(n)], np.float64) for n in (name, other)
    )
    return np.asarray(0.5 * (here + there[ict.mirror_vertex] * MIRROR_X))
