"""What each photograph tells of the identity, how far it is believed, and whether one person is behind all.

A single fit's Hessian says how sure a photograph is of the identity if errors are as was measured. Those of
one face repeat from photograph to photograph, so several together would be surer than they are right: what
each tells is divided by ``DOUBT``, found on rendered heads whose shape is known.

The test compares two explanations in the fits' own (Laplace) approximation: one identity behind both
photographs, or two drawn from a population whose mean is uncertain too, as what errs alike in all photographs
shifts them together. Skin tone counts beside shape. Either cue may be wrong once in a while, so none decides
beyond its ``_FAILS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from backend.artifacts import F64
from backend.colour import LUMINANCE_REC709
from backend.geometry.levenberg import Solution
from backend.geometry.state import SHAPE, FitState
from backend.geometry.tone import ToneBelief

DOUBT = 1.5  # by which a photograph's information is divided beside others of one person
_IDENTITY_SIGMA = 0.5  # of people, in single fits' coefficients: the prior draws these to the mean
_SHARED = 0.5  # share of that variance that is the population's own uncertain mean
_TONE_MEAN, _TONE_SIGMA = -1.8, 0.8  # of people's log albedo luminance
_SHAPE_FAILS, _TONE_FAILS = 0.005, 0.02  # how often a cue is worthless


@dataclass(frozen=True)
class Told:
    """What one photograph tells of the identity, without the prior: Gaussian information."""

    information: F64  # (K, K)
    vector: F64  # (K,) information times the identity that is most likely by this photograph alone


def told_by(alone: Solution[FitState], prior_sigma: float, doubt: float) -> Told:
    """What the single fit ``alone`` tells, over ``doubt``; its prior on the identity had ``prior_sigma``."""
    identity = alone.state.identity
    k = len(identity)
    own = np.zeros(alone.state.size, bool)
    own[SHAPE : SHAPE + k] = True
    h = alone.hessian + 1e-9 * np.eye(len(alone.hessian))
    coupling = h[np.ix_(~own, own)]
    posterior = h[np.ix_(own, own)] - coupling.T @ cho_solve(cho_factor(h[np.ix_(~own, ~own)]), coupling)
    vector = posterior @ identity
    value, direction = np.linalg.eigh(0.5 * (posterior + posterior.T) - prior_sigma**-2 * np.eye(k))
    seen = value > 1e-6  # elsewhere the prior alone has spoken
    direction = direction[:, seen]
    return Told((direction * value[seen]) @ direction.T / doubt, direction @ (direction.T @ vector) / doubt)


def agreed(told: Sequence[Told], prior_sigma: float) -> F64:
    """The most likely identity ``(K,)`` if all photographs show one person."""
    prior = prior_sigma**-2 * np.eye(len(told[0].vector))
    both = sum((one.information for one in told), prior)
    return np.asarray(np.linalg.solve(both, sum(one.vector for one in told)))


def log_odds_same(
    a: Told, b: Told, tone_a: ToneBelief | None = None, tone_b: ToneBelief | None = None
) -> float:
    """Logarithm of how much more likely one person is behind both photographs than two."""
    odds = _bounded(_shape_odds(a, b), _SHAPE_FAILS)
    if tone_a is not None and tone_b is not None:
        odds += _bounded(_tone_odds(tone_a, tone_b), _TONE_FAILS)
    return odds


def _shape_odds(a: Told, b: Told) -> float:
    k = len(a.vector)
    same = _log_evidence(a.information + b.information, a.vector + b.vector, _IDENTITY_SIGMA**-2 * np.eye(k))
    people = _IDENTITY_SIGMA**2 * np.array([[1.0, _SHARED], [_SHARED, 1.0]])
    each = np.zeros((2 * k, 2 * k))
    each[:k, :k], each[k:, k:] = a.information, b.information
    prior = np.kron(np.linalg.inv(people), np.eye(k))
    return same - _log_evidence(each, np.concatenate([a.vector, b.vector]), prior)


def _log_evidence(information: F64, vector: F64, prior: F64) -> float:
    """Logarithm of ∫ exp(vᵀx − ½ xᵀΛx) N(x; 0, P⁻¹) dx."""
    posterior = information + prior
    return 0.5 * float(
        vector @ np.linalg.solve(posterior, vector)
        - np.linalg.slogdet(posterior)[1]
        + np.linalg.slogdet(prior)[1]
    )


def _tone_odds(a: ToneBelief, b: ToneBelief) -> float:
    off = np.array([np.log(tone.colour_linear @ LUMINANCE_REC709) - _TONE_MEAN for tone in (a, b)])
    two = np.diag([tone.sigma_log**2 + _TONE_SIGMA**2 for tone in (a, b)])
    one = two + _TONE_SIGMA**2 * np.array([[0.0, 1.0], [1.0, 0.0]])
    return _log_density(off, one) - _log_density(off, two)


def _log_density(x: F64, covariance: F64) -> float:
    return -0.5 * float(x @ np.linalg.solve(covariance, x) + np.linalg.slogdet(covariance)[1])


def _bounded(odds: float, fails: float) -> float:
    """Log odds of a cue that is worthless with probability ``fails``."""
    return float(np.logaddexp(np.log1p(-fails) + odds, np.log(fails)))
