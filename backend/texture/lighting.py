"""The light on the photographed face: SH radiance with self-shadowing, re-estimated on the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32, F64, HeadFit
from backend.head.base import ParametricHead
from backend.shading import sh
from backend.texture.visibility import shadowed_transfer

_FLOOR = 0.12  # of the mean shading: what bounces into the darkest place
_SKIN_ALBEDO = 0.5  # for light bouncing inside creases
_PRIOR = 0.02  # pull of the fit's light, relative to the data
_OUTLIER = 0.15  # relative error beyond which a vertex (beard, shadow edge, highlight) counts less
_NOT_PLAIN_SKIN = ("lips", "brows", "eyes", "lashes", "nostrils", "scalp")


@dataclass(frozen=True)
class Illumination:
    """What a white diffuse surface would show at each vertex, and how open the vertex is."""

    shading: F32  # (V, 3) radiance of a white Lambertian surface, linear, > 0
    openness: F32  # (V,) ambient visibility in [0, 1]
    radiance_sh: F32  # (9, 3)


def illumination(fit: HeadFit, colour: F32, weight: F32) -> Illumination:
    """Light that explains vertex ``colour`` ``(V, 3)`` seen with ``weight`` ``(V,)`` by the fitted albedo.

    Starts at ``fit.radiance_sh``, takes self-shadowing into account, and moves only as far as the
    skin that was seen supports.
    """
    transfer, openness = shadowed_transfer(fit.head, fit.vertices_head)
    transfer = _with_bounces(transfer, openness)
    light = _refit(transfer, fit, colour, weight)
    return Illumination(_shading(transfer, light), openness.astype(np.float32), light.astype(np.float32))


def plain_skin(head: ParametricHead) -> F32:
    """Per-vertex weight ``(V,)`` in [0, 1] of skin without features of another colour."""
    weight = np.ones(len(head.mean_vertices), np.float32)
    for name in _NOT_PLAIN_SKIN:
        if name in head.regions:
            weight *= 1 - np.clip(head.regions[name], 0, 1)
    return weight


def _with_bounces(transfer: F64, openness: F64) -> F64:
    """Light that a crease loses comes back in part from its own walls (one grey geometric series)."""
    gain = 1 / np.maximum(1 - _SKIN_ALBEDO * (1 - openness), 0.5)
    return transfer * gain[:, None]


def _shading(transfer: F64, light: F64) -> F32:
    value = transfer @ light / np.pi
    positive = np.maximum(value, 0)
    floor = _FLOOR * np.maximum(positive.mean(0), 1e-3)
    # A soft maximum: a hard one would print the terminator's edge into the albedo.
    soft: F64 = 0.5 * (value + floor + np.sqrt((value - floor) ** 2 + (0.5 * floor) ** 2))
    return soft.astype(np.float32)


def _refit(transfer: F64, fit: HeadFit, colour: F32, weight: F32) -> F64:
    start = np.asarray(fit.radiance_sh, np.float64)
    albedo = fit.head.albedo(fit.albedo_coefficients).astype(np.float64)
    trust = weight.astype(np.float64) * plain_skin(fit.head)
    use = trust > 1e-3
    if use.sum() < 200:
        return start
    t, a, seen, trust = transfer[use], albedo[use], colour[use].astype(np.float64), trust[use]
    trust = trust / trust.sum()
    light = start.copy()
    scale = max(float(np.abs(start[0]).mean()), 1e-6)
    # Higher bands are less certain: the prior holds them more strongly.
    prior = _PRIOR * np.array([0.25] + [1.0] * 3 + [3.0] * 5)
    for channel in range(3):
        rows = t * (a[:, channel] / np.pi)[:, None]
        typical = max(float(np.average(seen[:, channel], weights=trust)), 1e-4)
        # Relative errors, or bright skin alone would decide; floored, or the darkest would.
        relative = 1 / np.maximum(rows @ start[:, channel], 0.3 * typical)
        for _ in range(4):
            error = (rows @ light[:, channel] - seen[:, channel]) * relative
            robust = 1 / (1 + (error / _OUTLIER) ** 2)
            w = trust * robust * relative**2
            strength = prior * float(np.sum(w * (rows[:, 0] ** 2)))
            left = rows.T @ (rows * w[:, None]) + np.diag(strength)
            right = rows.T @ (w * seen[:, channel]) + strength * start[:, channel]
            light[:, channel] = np.linalg.solve(left, right)
    return np.where(np.isfinite(light), light, start) if np.abs(light).max() < 50 * scale else start


def unshadowed(radiance_sh: F32, normals: F32) -> F32:
    """Radiance of a white Lambertian surface at ``normals`` ``(..., 3)``, without shadows, ≥ 0."""
    out: F32 = (np.maximum(sh.irradiance(radiance_sh, normals), 0) / np.pi).astype(np.float32)
    return out
