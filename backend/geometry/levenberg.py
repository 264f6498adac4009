"""Bounded Levenberg–Marquardt on a sum of terms: one deterministic solver for every stage of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.geometry.box import minimise_quadratic_in_box
from backend.geometry.terms import Quadratic


class Unknowns(Protocol):
    """A point in a parameter space of ``size`` P, some of whose unknowns lie between bounds."""

    @property
    def size(self) -> int: ...

    def moved(self, step: F64) -> Self: ...

    def step_bounds(self) -> tuple[F64, F64]:
        """Least and greatest step ``(P,)`` that stays inside the bounds."""
        ...

    def inside(self) -> Self:
        """The same point with rounding errors at the bounds removed."""
        ...


S = TypeVar("S", bound=Unknowns)
S_contra = TypeVar("S_contra", bound=Unknowns, contravariant=True)


class TermOf(Protocol[S_contra]):
    """A cost of such a point."""

    def cost(self, state: S_contra) -> float: ...

    def model(self, state: S_contra) -> Quadratic: ...


@dataclass(frozen=True)
class Solution(Generic[S]):
    state: S
    cost: float
    iterations: int
    hessian: F64  # (P, P) Gauss–Newton Hessian at the solution


def total(terms: Sequence[TermOf[S]], state: S) -> Quadratic:
    """The terms' local models, summed."""
    models = [term.model(state) for term in terms]
    return Quadratic(
        sum(m.cost for m in models),
        np.sum([m.gradient for m in models], axis=0),
        np.sum([m.hessian for m in models], axis=0),
    )


def minimise(
    terms: Sequence[TermOf[S]],
    start: S,
    free: NDArray[np.bool_] | None = None,
    iterations: int = 20,
    tolerance: float = 1e-7,
) -> Solution[S]:
    """Minimise the terms' sum from ``start``, inside its bounds.

    ``free`` ``(P,)`` names the unknowns that may move (all by default). Stops when an accepted step
    lowers the cost by less than ``tolerance`` of it, or when no damping helps.
    """
    moving = np.ones(start.size, bool) if free is None else free
    rows = np.flatnonzero(moving)
    state = start
    here = total(terms, state)
    damping = 1e-4
    done = 0
    while done < iterations:
        done += 1
        lower, upper = state.step_bounds()
        diagonal = np.diag(here.hessian)[rows]
        h = here.hessian[np.ix_(rows, rows)].copy()
        accepted = False
        while damping < 1e8:
            h[np.diag_indices_from(h)] = diagonal * (1 + damping) + 1e-12
            step = np.zeros(state.size)
            step[rows] = minimise_quadratic_in_box(h, here.gradient[rows], lower[rows], upper[rows])
            trial = state.moved(step).inside()
            cost = sum(term.cost(trial) for term in terms)
            if np.isfinite(cost) and cost < here.cost:
                accepted = True
                break
            damping = max(damping, 1e-6) * 8
        if not accepted:
            break
        gain = here.cost - cost
        state = trial
        damping = max(damping / 6, 1e-9)
        here = total(terms, state)
        if gain < tolerance * max(here.cost, 1e-12):
            break
    return Solution(state, here.cost, done, here.hessian)
