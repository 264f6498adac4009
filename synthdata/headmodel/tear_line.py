"""The left eye's tear line: the wet strip in the corner between lower lid and eyeball."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from synthdata.headmodel.lid_edge import LidEdge, gaze_of, over_eyeball, shown_skin
from synthdata.headmodel.parts import PartHalf, same_chart_mirrored

F64 = NDArray[np.float64]

ON_LID, ON_EYE = 0.00050, 0.00055  # how far the film climbs from where lid and eyeball touch, metres
SAG = 0.55  # share of the chord's height that the film's middle keeps
FILM_M = 0.00003  # over what it lies on
BURIED_M = 0.00010  # rims and ends lie below lid and eyeball, so that no border shows


def build_tear_line(ict: ParametricHead, skin: PartHalf, edge: LidEdge) -> PartHalf:
    """Three rows from the lid to the eyeball; it follows the lid, and stays on the eyeball."""
    columns = edge.lower
    count = len(columns)
    fade = np.minimum(np.arange(count), np.arange(count)[::-1]) / 3.0
    size = np.clip(fade, 0.0, 1.0)[:, None]

    def strip(points: F64, gaze: F64) -> F64:
        contact, margin = edge.contact.on(points)[columns], edge.margin.on(points)[columns]
        normal = contact - edge.eyeball.centre
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        off = margin - contact
        off /= np.maximum(np.linalg.norm(off, axis=1, keepdims=True), 1e-9)
        lid = contact + ON_LID * size * off
        # On the eyeball, away from the lid.
        away = -(off - (off * normal).sum(1, keepdims=True) * normal)
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        eye = contact + ON_EYE * size * away
        eye -= over_eyeball(eye, edge.eyeball, gaze)[:, None] * normal
        middle = contact + SAG * 0.5 * (lid + eye - 2 * contact)
        rise = FILM_M - (1 - size) * 3 * BURIED_M
        return np.concatenate(
            [lid - BURIED_M * normal, middle + rise * normal, eye - BURIED_M * normal], axis=0
        )

    rest = strip(skin.vertices, np.eye(3))
    arm = rest[2 * count :] - edge.eyeball.centre
    outward = arm / np.linalg.norm(arm, axis=1, keepdims=True)
    with_eyeball = edge.eyeball.carry(arm)

    def carry(offsets: NDArray[np.floating[Any]]) -> F64:
        lid = edge.contact.on(skin.carry(offsets))[..., columns, :]
        # Along the eyeball the film follows the lid, off it the eyeball.
        gap = ((with_eyeball(offsets) - lid) * outward).sum(-1, keepdims=True)
        return np.concatenate([lid, lid + 0.5 * gap * outward, lid + gap * outward], axis=-2)

    first = (np.arange(2)[:, None] * count + np.arange(count - 1)).ravel()
    quads = np.stack([first, first + 1, first + count + 1, first + count], 1).astype(np.int32)
    u, v = np.meshgrid(np.linspace(0, 1, count), np.linspace(0, 1, 3))
    return PartHalf(
        name="tear_line",
        mirror_name="tear_line",
        vertices=rest,
        quads=quads,
        uvs=np.stack([u.ravel(), v.ravel()], 1),
        quad_uvs=quads,
        carry=carry,
        own_expressions={
            name: strip(shown_skin(ict, skin, name), gaze_of(name)) - rest for name in ARKIT_NAMES
        },
        mirror_uv=same_chart_mirrored,
    )
