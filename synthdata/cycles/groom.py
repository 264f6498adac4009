"""Strands from guides: a few grow and slide over the head, many follow in clumps, with waves and frizz."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from synthdata.cycles.ground import F32, F64, Ground, Roots, unit

DOWN = np.array([0.0, -1.0, 0.0])
_KEEP_ROOT_M = 0.001  # below the skin


@dataclass(frozen=True)
class Growth:
    """How guides grow."""

    points: int  # of a strand
    comb: float  # share of the combed direction that each step adds
    gravity: float  # and of down
    clearance_m: tuple[float, float]  # from the skin: layers of hair lie on each other
    hold: float = 0.0  # share of what stands off further that each step takes back


@dataclass(frozen=True)
class Texture:
    """What tells strands from their guides."""

    clump: float  # how far tips draw together, in [0, 1]
    clump_strands: int
    wave_m: float = 0.0  # radius of waves or curls
    wave_length_m: float = 0.03
    frizz_m: float = 0.0006
    uneven: float = 0.12  # of the lengths


def grow_guides(
    roots: Roots,
    first: F64,
    comb: Callable[[F64], F64],
    length_m: F64,
    growth: Growth,
    ground: Ground,
    keep_off: Callable[[F64], F64],
    rng: np.random.Generator,
) -> F64:
    """Guides ``(G, points, 3)``.

    ``first`` ``(G, 3)``: the direction at the root; ``comb`` gives the combed direction at places ``(G, 3)``;
    ``keep_off`` moves places out of where no hair shall hang.
    """
    count = growth.points
    step = (length_m / (count - 1))[:, None]
    clearance = rng.uniform(*growth.clearance_m, len(roots))
    place, direction = roots.place.copy(), unit(first)
    line = [roots.place - _KEEP_ROOT_M * roots.normal]
    # Forces are stated for a step of a centimetre.
    share = np.clip(step / 0.01, 0.02, 3.0)
    out = roots.normal
    for k in range(count - 1):
        combed = comb(place)
        combed = combed - growth.hold * np.maximum((combed * out).sum(1, keepdims=True), 0) * out
        direction = unit(direction + share * (growth.gravity * DOWN + growth.comb * combed))
        ease = min(1.0, (k + 1) / 3)
        wanted = ground.drawn(place + step * direction, ease * clearance, growth.hold)
        wanted, out, moved = ground.lifted(keep_off(wanted), ease * clearance)
        travelled = wanted - place
        # Neither pushes may stretch a strand.
        place = place + step * unit(
            np.where(np.linalg.norm(travelled, axis=1, keepdims=True) > 1e-9, travelled, direction)
        )
        inward = np.minimum((direction * out).sum(1), 0.0) * moved
        direction = unit(0.5 * unit(travelled) + 0.5 * direction - inward[:, None] * out)
        line.append(place)
    return np.stack(line, 1)


def follow(
    roots: Roots,
    side: NDArray[np.int_],
    guides: F64,
    guide_side: NDArray[np.int_],
    share: F64,
    texture: Texture,
    ground: Ground,
    clearance_m: float,
    rng: np.random.Generator,
) -> F32:
    """Strands ``(N, points, 3)`` on ``roots`` that take after the guides of their own ``side``.

    ``share`` ``(N,)`` of the guides' length.
    """
    t = np.linspace(0, 1, guides.shape[1])
    out = np.empty((len(roots), len(t), 3))
    for which in np.unique(side):
        mine, theirs = np.flatnonzero(side == which), np.flatnonzero(guide_side == which)
        if len(theirs) == 0:
            theirs = np.arange(len(guides))
        gap, near = cKDTree(guides[theirs, 0]).query(roots.place[mine], k=min(3, len(theirs)))
        gap, near = gap.reshape(len(mine), -1), near.reshape(len(mine), -1)
        weight = 1 / (gap + 0.002)
        weight /= weight.sum(1, keepdims=True)
        shape = guides[theirs] - guides[theirs, :1]
        long = share[mine] * (1 + texture.uneven * rng.uniform(-1, 1, len(mine)))
        moved = np.einsum("nk,nkpc->npc", weight, shape[near]) * long[:, None, None]
        out[mine] = (roots.place[mine] - _KEEP_ROOT_M * roots.normal[mine])[:, None] + moved
        out[mine] = _clumped(out[mine], t, texture, rng)
    out = _frizzed(out, t, texture, rng)
    lifted, _, _ = ground.lifted(out[:, 2:], clearance_m)
    out[:, 2:] = lifted
    return np.asarray(out, np.float32)


def _clumped(strands: F64, t: F64, texture: Texture, rng: np.random.Generator) -> F64:
    """Strands drawn to the middle of their clump towards the tip; a clump waves as one."""
    count = max(len(strands) // texture.clump_strands, 1)
    middle = rng.choice(len(strands), count, replace=False)
    _, of = cKDTree(strands[middle, 0]).query(strands[:, 0])
    pull = (texture.clump * rng.uniform(0.5, 1.0, count))[of, None, None] * (t**0.8)[None, :, None]
    drawn = strands + pull * (strands[middle][of] - strands)
    if texture.wave_m <= 0:
        return np.asarray(drawn)
    length = np.linalg.norm(np.diff(strands[middle], axis=1), axis=2).sum(1)
    wave = texture.wave_length_m * rng.uniform(0.8, 1.25, count)
    phase = rng.uniform(0, 2 * np.pi, count)
    angle = phase[:, None] + 2 * np.pi * (length / wave)[:, None] * t
    # Neighbours within a clump are nearly, not quite, in step.
    turn = angle[of] + rng.normal(0, 0.25, len(strands))[:, None]
    radius = texture.wave_m * rng.uniform(0.7, 1.2, count)[of, None] * np.clip(t / 0.25, 0, 1)
    first, second = _across(drawn)
    return np.asarray(
        drawn
        + (radius * (np.cos(turn) - np.cos(turn[:, :1])))[..., None] * first
        + (0.7 * radius * (np.sin(turn) - np.sin(turn[:, :1])))[..., None] * second
    )


def _frizzed(strands: F64, t: F64, texture: Texture, rng: np.random.Generator) -> F64:
    """Every strand a little its own way, a few of them much."""
    if texture.frizz_m <= 0:
        return strands
    count = len(strands)
    amount = texture.frizz_m * rng.gamma(1.2, 0.8, count)
    amount *= np.where(rng.random(count) < 0.03, 3.0, 1.0)
    first, second = _across(strands)
    shift = np.zeros_like(strands)
    for axis in (first, second):
        for waves in (1.0, 2.7):
            phase = rng.uniform(0, 2 * np.pi, count)[:, None]
            shift += (np.sin(phase + 2 * np.pi * waves * t) - np.sin(phase))[..., None] * axis / waves
    return np.asarray(strands + (amount[:, None] * t)[..., None] * shift)


def _across(strands: F64) -> tuple[F64, F64]:
    """Two unit vectors across each strand at each point."""
    along = unit(np.gradient(strands, axis=1))
    first = unit(np.cross(along, np.array([0.31, 0.17, 0.94])))
    return first, np.cross(along, first)
