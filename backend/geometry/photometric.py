"""Photometric refinement: skin of the photo against albedo × spherical-harmonic light, moving the shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F64
from backend.colour import LUMINANCE_REC709, linear_to_srgb
from backend.geometry.light import LightFit, basis_gradient
from backend.geometry.options import FitOptions
from backend.geometry.skin_samples import FACE_PX, FaceCrop, SkinSamples, corner_points
from backend.geometry.state import SHAPE, FitState
from backend.geometry.surface import LinearPoints, between, project, project_only
from backend.geometry.terms import Quadratic, robust
from backend.head.base import ParametricHead
from backend.shading import sh

MAX_SAMPLES = 700  # that move the shape; neighbours say the same
FLOOR = 0.002  # linear luminance added before the square root, whose slope is infinite at 0
ROUNDS = 4  # of reweighting, per evaluation
# Standard deviations of light's coefficients of degree 0, 1, 2 about the estimate, over that of degree 0.
LIGHT_SIGMA = (0.3, 0.9, 0.6)


def predicted_linear(samples: SkinSamples, light: LightFit) -> F64:
    """The model's linear colours ``(N, 3)`` at the samples."""
    albedo = samples.albedo_mean + np.tensordot(light.albedo_coefficients, samples.albedo_basis, 1)
    irradiance = sh.irradiance(light.radiance_sh, samples.normals)
    return np.asarray((np.clip(albedo, 0, 1) + light.gloss) * np.maximum(irradiance, 0) / np.pi)


def psnr_db(samples: SkinSamples, light: LightFit) -> float:
    """PSNR in sRGB of the model against the photo over visible skin samples; 0 dB without samples."""
    if len(samples.colour) == 0:
        return 0.0
    a = np.minimum(linear_to_srgb(predicted_linear(samples, light)), 1.0)
    error = a - np.minimum(linear_to_srgb(samples.colour), 1.0)
    return float(-10 * np.log10(max(float((error**2).mean()), 1e-10)))


@dataclass(frozen=True)
class PhotometricTerm:
    """Square-root-encoded luminance at N surface points: the photo where they land against their shading.

    Residual: ``√(Y_photo(u(x)) + ε) − √(Y_albedo · E(n(x)) / π + ε)`` over ``sigma``. Moving a point
    changes where it reads the photo; bending the surface changes its shading (shape from shading). The
    normal is the sample's smooth one plus the change of its triangle's since the samples were taken.

    Light and albedo go with the shape: to first order their best change is eliminated, as other light
    explains much of what another shape would (the bas-relief ambiguity of Belhumeur et al. 1999).
    """

    points: LinearPoints  # (N) the samples
    corners: tuple[LinearPoints, ...]  # 3 × (N) their triangles' corners
    smooth_minus_face: F64  # (N, 3) smooth normal − face normal, when sampled
    picture: F64  # (S, S) encoded luminance of the crop
    picture_gradient: F64  # (S, S, 2) per crop pixel, x and y
    crop: FaceCrop
    shading_by_sample: F64  # (N, 9) Σ_c luminance_c · albedo_ic · lobe · L_c / π
    explained: F64  # (N, 9 + K_tex) encoded luminance by light and albedo, per standard deviation of each
    share: F64  # (N,) how many independent samples each counts as
    sigma: float
    principal_px: tuple[float, float]
    width: float

    def cost(self, state: FitState) -> float:
        shown = self._encoded(self._normals(state)[0])[0]
        return self._left(self._read(self.picture, self._pixels(state)) - shown)[0]

    def model(self, state: FitState) -> Quadratic:
        seen = project(self.points, state, self.principal_px)
        at = self.crop.to_crop(seen.pixels)
        normal, raw_length, face, e1, e2 = self._normals(state)
        value, slope = self._encoded(normal)
        cost, left, w = self._left(self._read(self.picture, at) - value)
        gradient = np.stack(
            [self._read(self.picture_gradient[..., k], at) for k in (0, 1)], axis=1
        )  # per crop pixel
        j = np.einsum("nk,nkp->np", gradient * self.crop.scale, seen.jacobian)
        # dn = (I − f fᵀ)(de1 × e2 + e1 × de2) / |e1 × e2|, contracted with the shading's slope.
        s = (slope - (slope * face).sum(1, keepdims=True) * face) / raw_length[:, None]
        c0, c1, c2 = (c.slopes(state) for c in self.corners)
        j[:, SHAPE:] -= np.einsum("nc,nck->nk", np.cross(e2, s), c1 - c0)
        j[:, SHAPE:] -= np.einsum("nc,nck->nk", np.cross(s, e1), c2 - c0)
        j *= w[:, None]
        other = self.explained * w[:, None]
        shared = other.T @ j
        hessian = j.T @ j - shared.T @ np.linalg.solve(np.eye(other.shape[1]) + other.T @ other, shared)
        return Quadratic(cost, j.T @ (w * left), 0.5 * (hessian + hessian.T))

    def _left(self, residual: F64) -> tuple[float, F64, F64]:
        """Cost, ``residual`` ``(N,)`` less what light and albedo explain, and its weights ``(N,)``: roots of
        the robust ones over sigma."""
        w = np.sqrt(self.share) / self.sigma
        for _ in range(ROUNDS):
            used, other = w, self.explained * w[:, None]
            change = np.linalg.solve(np.eye(other.shape[1]) + other.T @ other, other.T @ (w * residual))
            left = residual - self.explained @ change
            rho, weight = robust((left / self.sigma) ** 2, "geman_mcclure", self.width)
            w = np.sqrt(self.share * weight) / self.sigma
        return 0.5 * float(self.share @ rho + change @ change), left, used

    def _pixels(self, state: FitState) -> F64:
        return self.crop.to_crop(project_only(self.points, state, self.principal_px))

    def _normals(self, state: FitState) -> tuple[F64, F64, F64, F64, F64]:
        p0, p1, p2 = (c.positions(state) for c in self.corners)
        e1, e2 = p1 - p0, p2 - p0
        raw = np.cross(e1, e2)
        length = np.maximum(np.linalg.norm(raw, axis=1), 1e-15)
        face = raw / length[:, None]
        return face + self.smooth_minus_face, length, face, e1, e2

    def _encoded(self, normal: F64) -> tuple[F64, F64]:
        """Encoded shaded luminance ``(N,)`` and its derivative by the normal ``(N, 3)``."""
        y = (sh.basis(normal) * self.shading_by_sample).sum(1)
        value = np.sqrt(np.maximum(y, 0.0) + FLOOR)
        slope = np.einsum("nb,nbc->nc", self.shading_by_sample, basis_gradient(normal))
        return value, np.where(y > 0, 0.5 / value, 0.0)[:, None] * slope

    @staticmethod
    def _read(plane: F64, at: F64) -> F64:
        """Bilinear values ``(N,)`` of ``plane`` at crop pixels ``(N, 2)`` (centres at .5, edges repeat)."""
        q = np.clip(at - 0.5, 0.0, FACE_PX - 1.001)
        i = np.floor(q).astype(np.intp)
        f = q - i
        x, y = i[:, 0], i[:, 1]
        top = plane[y, x] * (1 - f[:, 0]) + plane[y, x + 1] * f[:, 0]
        low = plane[y + 1, x] * (1 - f[:, 0]) + plane[y + 1, x + 1] * f[:, 0]
        return np.asarray(top * (1 - f[:, 1]) + low * f[:, 1])


def photometric_term(
    samples: SkinSamples,
    light: LightFit,
    head: ParametricHead,
    state: FitState,
    principal_px: tuple[float, float],
    options: FitOptions,
) -> PhotometricTerm:
    """The term at ``samples`` with the light and albedo held as estimated."""
    chosen = np.arange(0, len(samples.triangle), max(1, len(samples.triangle) // MAX_SAMPLES))
    triangle, barycentric = samples.triangle[chosen], samples.barycentric[chosen]
    corners = corner_points(head, triangle)
    p0, p1, p2 = (c.positions(state) for c in corners)
    face = np.cross(p1 - p0, p2 - p0)
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-15)
    albedo = samples.albedo_mean[chosen] + np.tensordot(
        light.albedo_coefficients, samples.albedo_basis[:, chosen], 1
    )
    cell = samples.cell[chosen]
    inner = ((cell > 0) & (cell < FACE_PX - 1)).all(1)  # at the crop's border the photo has no slope
    weight = samples.weight[chosen] * light.weights[chosen].mean(1) * inner
    luminance = np.sqrt(samples.crop.rgb_linear.astype(np.float64) @ LUMINANCE_REC709 + FLOOR)
    dy, dx = np.gradient(luminance)
    lobe = sh.COSINE_LOBE[:, None] * light.radiance_sh / np.pi  # (9, 3)
    shading_by_sample = (albedo * LUMINANCE_REC709) @ lobe.T
    at_samples = sh.basis(samples.normals[chosen])
    shown = np.sqrt(np.maximum((at_samples * shading_by_sample).sum(1), 0) + FLOOR)
    by_light = (albedo @ LUMINANCE_REC709)[:, None] * at_samples * sh.COSINE_LOBE / np.pi
    by_light *= np.repeat(LIGHT_SIGMA, (1, 3, 5)) * float(light.radiance_sh[0] @ LUMINANCE_REC709)
    irradiance = np.maximum(sh.irradiance(light.radiance_sh, samples.normals[chosen]), 0) / np.pi
    by_albedo = np.einsum("knc,nc->nk", samples.albedo_basis[:, chosen], irradiance * LUMINANCE_REC709)
    residual = np.abs(luminance[cell[:, 0], cell[:, 1]] - shown)[weight > 0.1]
    # The photo itself says how well skin tone × smooth light explains it (1.48 · MAD ≈ σ).
    noise = 1.4826 * float(np.median(residual)) if len(residual) else np.inf
    return PhotometricTerm(
        points=between(corners, np.asarray(barycentric, np.float64)),
        corners=corners,
        smooth_minus_face=samples.normals[chosen] - face,
        picture=luminance,
        picture_gradient=np.stack([dx, dy], axis=-1),
        crop=samples.crop,
        shading_by_sample=shading_by_sample,
        explained=np.concatenate([by_light, by_albedo], axis=1) * (0.5 / shown)[:, None],
        share=weight * options.photometric_points / max(float(weight.sum()), 1e-9),
        sigma=max(noise, options.photometric_sigma),
        principal_px=principal_px,
        width=options.robust_width,
    )
