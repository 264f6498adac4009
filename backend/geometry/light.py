"""Environment light and albedo coefficients from shaded colours: a bounded, robust bilinear solve.

Model (linear light): colour = albedo(β) · E(n; L) / π, with irradiance E of spherical harmonics to
degree 2 (Ramamoorthi & Hanrahan 2001). Albedo and light are known only up to scale, and their hue only
up to a white balance: a belief about the skin's tone decides both (``geometry.tone``), or, without one, an
exposure prior on the light, and β ~ N(0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from backend.artifacts import F64
from backend.colour import LUMINANCE_REC709
from backend.geometry.tone import ToneBelief
from backend.shading import sh

# Share of the light that skin returns by its surface, white and in all directions: the mean of its GGX lobe.
GLOSS = 0.02
DIRECTIONS = 96  # on the sphere, where radiance is kept non-negative
CHANNELS = 3


@dataclass(frozen=True)
class LightOptions:
    """Priors and noise of the bilinear solve."""

    noise: float = 0.2  # relative error of a lit sample (skin's own variation, cast shadow, model)
    dark: float = 0.05  # noise floor, over the brightness of lit skin
    effective_samples: float = 250.0  # neighbouring samples err together
    exposure: float = 1.0  # a white surface facing the camera shows this (photographers expose for faces)
    exposure_sigma: float = 0.2
    white_balance_sigma: float = 0.06  # of a channel's share, over exposure
    tone_sigma: float = 0.05  # of the skin's mean luminance, over the believed one; shading cannot tell it
    tone_exposure_sigma: float = 0.3  # of the light's strength, over what a believed tone asks for
    band_sigma: tuple[float, float] = (0.9, 0.6)  # of degree 1 and 2, over the degree-0 coefficient
    highlight_width: float = 2.0  # robust width of samples brighter than the model (gloss, glasses)
    shadow_width: float = 2.5  # and of darker ones (stubble, brows, cast shadow)


@dataclass(frozen=True)
class LightFit:
    radiance_sh: F64  # (9, 3)
    albedo_coefficients: F64  # (K_tex,)
    weights: F64  # (N, 3) final robust weights in [0, 1]
    gloss: float = 0.0  # that the light was found with, beside the albedo


def fibonacci_directions(count: int) -> F64:
    """``(count, 3)`` unit directions spread evenly over the sphere."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    turn = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), z, r * np.sin(turn)], axis=1)


def fit_light(
    colour: F64,
    normals: F64,
    albedo_mean: F64,
    albedo_basis: F64,
    toward_camera: F64,
    sample_weight: F64 | None = None,
    options: LightOptions | None = None,
    iterations: int = 12,
    tone: ToneBelief | None = None,
) -> LightFit:
    """Light and albedo coefficients that explain linear ``colour`` ``(N, 3)``.

    ``normals`` ``(N, 3)`` unit head-space normals, ``albedo_mean`` ``(N, 3)``, ``albedo_basis``
    ``(K, N, 3)`` at the samples, ``toward_camera`` ``(3,)`` the unit head-space direction that exposure
    speaks of, ``sample_weight`` ``(N,)`` in [0, 1], ``tone`` what is believed of the skin and of the light's
    colour. Gauss–Newton on light and albedo together, since
    alternating crawls along their common scale; each step is a closed-form ridge solve in which the
    radiance is kept ≥ 0 over the sphere (dual non-negative least squares).
    """
    o = options or LightOptions()
    n = len(colour)
    k = len(albedo_basis)
    gloss = GLOSS if tone is not None else 0.0  # what moves the shape knows albedo alone
    scale_prior = _scale_prior(colour, albedo_mean, albedo_basis, sample_weight, o, tone if n else None)
    lobe = sh.basis(normals) * sh.COSINE_LOBE / np.pi  # (N, 9): white surface's radiance per coefficient
    given = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
    share = given * o.effective_samples / max(float(given.sum()), 1e-9)
    light = np.zeros((9, CHANNELS))
    light[0] = scale_prior.exposure / 0.28209479177387814
    beta = np.zeros(k)
    facing = sh.basis(np.asarray(toward_camera)) * sh.COSINE_LOBE / np.pi
    probes = sh.basis(fibonacci_directions(DIRECTIONS))
    constraint = np.zeros((CHANNELS * DIRECTIONS, 9 * CHANNELS + k))
    for c in range(CHANNELS):
        constraint[c * DIRECTIONS : (c + 1) * DIRECTIONS, 9 * c : 9 * c + 9] = probes
    robust = np.ones((n, CHANNELS))
    bright = max(float(np.quantile(colour, 0.8)), 1e-3) if n else 1.0
    for i in range(iterations):
        albedo = np.maximum(albedo_mean + np.tensordot(beta, albedo_basis, 1), 0.005) + gloss
        white = lobe @ light
        # Of the brighter of both: else a dark guess would call every lit sample an outlier, and stay dark.
        spread = np.maximum(albedo * white, colour) if i > 0 else colour
        sigma = o.noise * np.sqrt((spread + o.dark * bright) * bright)  # even steps of √colour
        if i > 1:  # the first two steps place light before anything may count as an outlier
            # One weight per sample: channels that vote apart would tint the light.
            e = ((colour - albedo * white) / sigma).mean(1, keepdims=True)
            width = np.where(e > 0, o.highlight_width, o.shadow_width) * max(1.0, 6.0 - 0.5 * i)
            robust = np.broadcast_to(1.0 / (1.0 + (e / width) ** 2) ** 2, colour.shape)
        hessian, gradient = _priors(light, k, facing, o, scale_prior)
        scale = np.sqrt(robust * share[:, None]) / sigma
        fit_albedo = i > 0
        target = colour + (np.tensordot(beta, albedo_basis, 1) * white if fit_albedo else 0.0)
        for c in range(CHANNELS):
            j = np.zeros((n, 9 + k))
            j[:, :9] = albedo[:, c, None] * lobe
            if fit_albedo:
                j[:, 9:] = (albedo_basis[:, :, c] * white[:, c]).T
            j *= scale[:, c, None]
            rows = np.r_[9 * c : 9 * c + 9, 27 : 27 + k]
            hessian[np.ix_(rows, rows)] += j.T @ j
            gradient[rows] += j.T @ (target[:, c] * scale[:, c])
        solved = minimise_quadratic_with_positive_rows(hessian, gradient, constraint)
        light = solved[:27].reshape(CHANNELS, 9).T
        beta = solved[27:] if fit_albedo else beta
    return LightFit(light, beta, robust * np.minimum(given, 1.0)[:, None], gloss)


@dataclass(frozen=True)
class _ScalePrior:
    """What tells light's scale and colour from the skin's."""

    exposure: float  # radiance of a white surface that faces the camera
    exposure_sigma: float
    tint: F64  # (3,) the channels' shares of it, over their mean, less 1
    tone_row: F64  # (K,) change of the skin's mean luminance per albedo coefficient
    tone_gap: float  # believed luminance less that of the mean albedo
    tone_sigma: float  # infinite without a belief


def _scale_prior(
    colour: F64,
    albedo_mean: F64,
    albedo_basis: F64,
    sample_weight: F64 | None,
    o: LightOptions,
    tone: ToneBelief | None,
) -> _ScalePrior:
    if tone is None:
        exposure = o.exposure
        return _ScalePrior(
            exposure, o.exposure_sigma, np.zeros(CHANNELS), np.zeros(len(albedo_basis)), 0.0, np.inf
        )
    weight = np.ones(len(colour)) if sample_weight is None else np.asarray(sample_weight, np.float64) + 1e-9
    believed = float(tone.colour_linear @ LUMINANCE_REC709)
    luminance = np.average(albedo_mean, axis=0, weights=weight) @ LUMINANCE_REC709
    row = np.einsum("n,knc,c->k", weight / weight.sum(), albedo_basis, LUMINANCE_REC709.astype(np.float64))
    # The light that makes such skin as bright as the face's lit part is.
    exposure = max(float(np.quantile(colour @ LUMINANCE_REC709, 0.7)) / (believed + GLOSS), 1e-3)
    white = np.exp(tone.light_log)
    return _ScalePrior(
        exposure,
        o.tone_exposure_sigma * exposure,
        white / white.mean() - 1,
        row,
        believed - float(luminance),
        o.tone_sigma * believed,
    )


def _priors(light: F64, k: int, facing: F64, o: LightOptions, scale: _ScalePrior) -> tuple[F64, F64]:
    """Hessian and right side of the priors over (light by channel, β)."""
    size = 9 * CHANNELS + k
    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    level = max(float(light[0].mean()), 0.5 * scale.exposure / 0.28209479177387814)
    for c in range(CHANNELS):
        for degree, rows in ((0, range(1, 4)), (1, range(4, 9))):
            for r in rows:
                hessian[9 * c + r, 9 * c + r] += 1 / (o.band_sigma[degree] * level) ** 2
        hessian[9 * c, 9 * c] += 1e-6
    hessian[27:, 27:] += np.eye(k) + np.outer(scale.tone_row, scale.tone_row) / scale.tone_sigma**2
    gradient[27:] += scale.tone_row * scale.tone_gap / scale.tone_sigma**2
    mean_row = np.zeros(size)
    mean_row[:27] = np.tile(facing, CHANNELS) / CHANNELS
    hessian += np.outer(mean_row, mean_row) / scale.exposure_sigma**2
    gradient += mean_row * scale.exposure / scale.exposure_sigma**2
    for c in range(CHANNELS):
        tint = -mean_row
        tint[9 * c : 9 * c + 9] += facing
        weight = 1 / (o.white_balance_sigma * scale.exposure) ** 2
        hessian += np.outer(tint, tint) * weight
        gradient += tint * scale.tint[c] * scale.exposure * weight
    return hessian, gradient


def minimise_quadratic_with_positive_rows(hessian: F64, right: F64, rows: F64) -> F64:
    """Minimise ``½xᵀHx − bᵀx`` with ``rows @ x ≥ 0``, exactly, through its dual.

    The dual is ``min_{λ≥0} ‖U⁻ᵀ(b + Gᵀλ)‖²`` with ``H = UᵀU``: a non-negative least-squares problem
    (Lawson & Hanson 1974). ``H`` ``(P, P)`` must be positive definite; ``rows`` is ``(M, P)``.
    """
    upper = cholesky(hessian)
    b = solve_triangular(upper, right, trans="T")
    if float((rows @ solve_triangular(upper, b)).min()) >= 0.0:
        return np.asarray(solve_triangular(upper, b))
    g = solve_triangular(upper, rows.T, trans="T")
    multiplier, _ = nnls(g, -b, maxiter=30 * len(rows))
    return np.asarray(solve_triangular(upper, b + g @ multiplier))


def basis_gradient(normals: F64) -> F64:
    """Derivatives ``(N, 9, 3)`` of ``sh.basis``' polynomials by the direction's coordinates."""
    x, y, z = normals[:, 0], normals[:, 1], normals[:, 2]
    g = np.zeros((len(normals), 9, 3))
    g[:, 1, 1] = g[:, 2, 2] = g[:, 3, 0] = 0.4886025119029199
    a = 1.0925484305920792
    g[:, 4, 0], g[:, 4, 1] = a * y, a * x
    g[:, 5, 1], g[:, 5, 2] = a * z, a * y
    g[:, 6, 2] = 6 * 0.31539156525252005 * z
    g[:, 7, 0], g[:, 7, 2] = a * z, a * x
    g[:, 8, 0], g[:, 8, 1] = a * x, -a * y
    return g
