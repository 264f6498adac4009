"""What the face's own picture says of Face Mesh's errors there, and of the face's shape: two regressions.

Laid flat by its Face Mesh points, a face shows where these err: lips are not where the points say, light
turns round a cheek that they make too flat. Linear regressions from gradient histograms and the points,
learned on drawn portraits (``synthdata/shape_portraits``), tell the errors of all points with what is left of
them, and the neutral shape likewise. One pair is for frontal faces and one for turned ones; the points' own
yaw fades between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.errors import Missing
from backend.geometry.face_patch import (
    PATCH_PX,
    PatchLayout,
    flatten,
    level_frame,
    level_points,
    patch_layout,
)
from backend.geometry.gradient_histograms import describe, mirrored
from backend.geometry.landmark_errors import PixelErrors
from backend.geometry.shape_belief import ShapeBelief, ShapeFields

FILE = Path(__file__).resolve().parents[1] / "weights" / "embedded" / "face_sight.safetensors"
FRONTAL_TO_TURNED = (0.25, 0.45)  # |yaw| in radians between which one regression fades to the other
MOST_YAW = 1.05  # radians: faces turned farther were not learned from
VIEWS = ("frontal", "turned")  # turned: to the subject's left


@dataclass(frozen=True)
class Regression:
    """``x ↦ bias + (x @ weights) @ axes`` of a feature vector, and what is left."""

    bias: F64  # (M,)
    weights: F64  # (D, R)
    axes: F64  # (R, M)

    def __call__(self, x: F64) -> F64:
        return np.asarray(self.bias + (x @ self.weights) @ self.axes)


@dataclass(frozen=True)
class ViewSight:
    """What was learned of one view."""

    errors: Regression  # of 478·2 error components in the level frame
    error_fields: F64  # (K, 478, 2) of what is left of them, each with an amplitude ~ N(0, 1)
    error_sigma: F64  # (478,) of a point by itself
    shape: Regression  # of the coefficients of the shape
    shape_covariance: F64  # (C, C) of what is left of them


@dataclass(frozen=True)
class FaceSight:
    """All that was learned."""

    layout: PatchLayout
    mirror: NDArray[np.intp]  # (478,) each point's mirror image
    yaw: F64  # (478·3 + 1,) of the level points, and the constant: linear, radians
    views: tuple[ViewSight, ViewSight]  # as VIEWS
    fields: ShapeFields
    shape_mirror: F64  # (C, C) coefficients of the mirror image of a shape

    def look(self, rgb_srgb: F32, landmarks_px: F32, depth_px: F32) -> tuple[PixelErrors, ShapeBelief] | None:
        """How the points ``(478, 2)`` err on this photo, in pixels, and what shape the face has.

        None where the face is turned farther than any that was learned from.
        """
        points = level_points(landmarks_px, depth_px)
        yaw = float(points.ravel() @ self.yaw[:-1] + self.yaw[-1])
        if abs(yaw) > MOST_YAW:
            return None
        features = describe(flatten(rgb_srgb, landmarks_px, self.layout)[None])
        is_flipped = yaw < 0
        if is_flipped:
            points = points[self.mirror] * np.array([-1, 1, 1], np.float32)
            features = mirrored(features, PATCH_PX)
        x = np.concatenate([points.ravel(), features[0]]).astype(np.float64)
        low, high = FRONTAL_TO_TURNED
        t = float(np.clip((abs(yaw) - low) / (high - low), 0, 1))
        parts = [(share, view) for share, view in zip((1 - t, t), self.views, strict=True) if share > 0]
        offset = sum((s * v.errors(x) for s, v in parts), np.zeros(1)).reshape(-1, 2)
        fields = np.concatenate([np.sqrt(s) * v.error_fields for s, v in parts])
        sigma = np.sqrt(sum((s * v.error_sigma**2 for s, v in parts), np.zeros(1)))
        mean = sum((s * v.shape(x) for s, v in parts), np.zeros(1))
        covariance = sum((s * v.shape_covariance for s, v in parts), np.zeros((1, 1)))
        if is_flipped:
            flip = np.array([-1.0, 1.0])
            offset, fields, sigma = (
                offset[self.mirror] * flip,
                fields[:, self.mirror] * flip,
                sigma[self.mirror],
            )
            mean = self.shape_mirror @ mean
            covariance = self.shape_mirror @ covariance @ self.shape_mirror.T
        frame = level_frame(landmarks_px)
        back = frame.turn.T * frame.size_px  # level to photo
        errors = PixelErrors(offset @ back, fields @ back, sigma * frame.size_px)
        return errors, ShapeBelief(self.fields, mean, covariance)


def to_arrays(sight: FaceSight) -> dict[str, NDArray[Any]]:
    """``sight`` as it is stored."""
    out: dict[str, NDArray[Any]] = {
        "places": sight.layout.places,
        "mirror": sight.mirror.astype(np.int16),
        "yaw": sight.yaw.astype(np.float32),
        "rows": sight.fields.rows.astype(np.int32),
        "mean_m": sight.fields.mean_m.astype(np.float32),
        "fields_m": sight.fields.fields_m.astype(np.float16),
        "shape_mirror": sight.shape_mirror.astype(np.float32),
    }
    for name, view in zip(VIEWS, sight.views, strict=True):
        for what, made in (("errors", view.errors), ("shape", view.shape)):
            # Features differ in size by orders; by column they fit half floats.
            scale = np.abs(made.weights).max(0)
            out[f"{name}.{what}.bias"] = made.bias.astype(np.float32)
            out[f"{name}.{what}.weights"] = (made.weights / scale).astype(np.float16)
            out[f"{name}.{what}.axes"] = (made.axes * scale[:, None]).astype(np.float32)
        out[f"{name}.error_fields"] = view.error_fields.astype(np.float16)
        out[f"{name}.error_sigma"] = view.error_sigma.astype(np.float32)
        out[f"{name}.shape_covariance"] = view.shape_covariance.astype(np.float32)
    return out


def from_arrays(stored: Mapping[str, NDArray[Any]]) -> FaceSight:
    """What ``to_arrays`` gave."""

    def of(name: str) -> F64:
        return np.asarray(stored[name], np.float64)

    def regression(name: str) -> Regression:
        return Regression(of(f"{name}.bias"), of(f"{name}.weights"), of(f"{name}.axes"))

    frontal, turned = (
        ViewSight(
            errors=regression(f"{name}.errors"),
            error_fields=of(f"{name}.error_fields"),
            error_sigma=of(f"{name}.error_sigma"),
            shape=regression(f"{name}.shape"),
            shape_covariance=of(f"{name}.shape_covariance"),
        )
        for name in VIEWS
    )
    return FaceSight(
        layout=patch_layout(np.asarray(stored["places"], np.float32)),
        mirror=stored["mirror"].astype(np.intp),
        yaw=of("yaw"),
        views=(frontal, turned),
        fields=ShapeFields(stored["rows"].astype(np.intp), of("mean_m"), of("fields_m")),
        shape_mirror=of("shape_mirror"),
    )


@cache
def open_head_sight() -> FaceSight:
    """What was learned of the open head's points. Raises: Missing."""
    from safetensors.numpy import load_file

    if not FILE.is_file():
        raise Missing(f"'{FILE.name}' is missing from backend/weights/embedded; reinstall Likeness")
    return from_arrays(load_file(FILE))
