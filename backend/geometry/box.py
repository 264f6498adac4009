"""Quadratic programs inside a box: the step of every bounded Gauss–Newton solve here.

Projected Newton with an active set (Bertsekas 1982; the box-QP form of Tassa et al. 2014, algorithm 1).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from backend.artifacts import F64


def minimise_quadratic_in_box(
    hessian: F64, gradient: F64, lower: F64, upper: F64, start: F64 | None = None, iterations: int = 100
) -> F64:
    """Minimise ``½ xᵀHx + gᵀx`` with ``lower ≤ x ≤ upper``.

    ``hessian`` ``(N, N)`` must be symmetric positive definite; bounds may be infinite. ``start`` is
    clipped into the box. Returns ``x`` ``(N,)``, inside the box exactly.
    Raises: numpy.linalg.LinAlgError where the Hessian is not positive definite.
    """
    x = np.clip(np.zeros_like(gradient) if start is None else start, lower, upper)
    scale = 1.0 + float(np.abs(gradient).max())
    for _ in range(iterations):
        slope = hessian @ x + gradient
        held = ((x <= lower) & (slope > 0)) | ((x >= upper) & (slope < 0))
        free = ~held
        if not free.any() or float(np.abs(slope[free]).max()) < 1e-12 * scale:
            break
        factor = cho_factor(hessian[np.ix_(free, free)])
        step = np.zeros_like(x)
        step[free] = -cho_solve(factor, slope[free])
        length = 1.0
        while True:  # Armijo along the projected arc
            trial = np.clip(x + length * step, lower, upper)
            d = trial - x
            expected = float(slope @ d)
            if expected + 0.5 * float(d @ (hessian @ d)) <= 0.1 * expected or length < 1e-10:
                break
            length *= 0.5
        moved = float(np.abs(trial - x).max())
        x = trial
        if moved == 0.0:
            break
    return x
