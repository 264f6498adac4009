"""Closed lids that meet: ICT's blink leaves a slit over our eyeball, which this closes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthdata.headmodel.layout import HalfMesh

F64 = NDArray[np.float64]
CLEARANCE_M = 0.0005  # lid skin over the eyeball
LOWER_SHARE = 0.25  # of the slit is closed by the lower lid


def close_lids(
    mesh: HalfMesh, neutral: F64, blink: F64, lash_ring: int, eye_centre: F64, eye_radius: F64
) -> F64:
    """Blink offsets ``(N, 3)`` of the half's skin, corrected: lash lines meet, lids clear the eyeball.

    ``lash_ring`` is the lash line's place in ``mesh.eye_rings``; ``eye_radius`` ``(A,)`` the eyeball's
    radius over equal steps of the angle from its axis, 0 to π.
    """
    out = blink.copy()
    ring = mesh.eye_rings[lash_ring]
    p = neutral[ring] + blink[ring]
    inner, outer = int(neutral[ring, 0].argmin()), int(neutral[ring, 0].argmax())
    count = len(ring)
    lower = np.arange(inner, inner + (outer - inner) % count + 1) % count
    upper = np.arange(outer, outer + (inner - outer) % count + 1) % count
    order = lower, upper[::-1]
    line = [(p[o][np.argsort(p[o][:, 0])]) for o in order]
    shift = np.zeros(count)
    for chosen, other, share in ((lower, line[1], LOWER_SHARE), (upper, line[0], 1 - LOWER_SHARE)):
        target = np.interp(p[chosen, 0], other[:, 0], other[:, 1])
        shift[chosen] = share * (target - p[chosen, 1])
    ends = np.minimum((p[:, 0] - p[:, 0].min()), (p[:, 0].max() - p[:, 0])) / 0.002
    shift *= np.clip(ends, 0, 1)
    for _ in range(2):
        shift = 0.25 * np.roll(shift, 1) + 0.5 * shift + 0.25 * np.roll(shift, -1)
    for k, loop in enumerate(mesh.eye_rings):
        fade = 1.0 if k >= lash_ring else np.exp(-(((lash_ring - k) / 2.5) ** 2))
        out[loop, 1] += fade * shift
    for k, loop in enumerate(mesh.eye_rings):
        arm = neutral[loop] + out[loop] - eye_centre
        distance = np.linalg.norm(arm, axis=1)
        angle = np.arccos(np.clip(arm[:, 2] / distance, -1, 1))
        wanted = np.interp(angle, np.linspace(0, np.pi, len(eye_radius)), eye_radius) + CLEARANCE_M
        push = np.maximum(wanted - distance, 0.0)[:, None] * arm / distance[:, None]
        out[loop] += push if k <= lash_ring else 0.3 * push
    return out
