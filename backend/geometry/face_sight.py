"""What the face's own picture says of Face Mesh's errors there, and of the face's shape: two regressions.

Laid flat by its Face Mesh points, a face shows where these err: lips are not where the points say, light
turns round a cheek that they make too flat. Linear regressions from gradient histograms and the points,
learned on drawn portraits (``synthdata/shape_portraits``), tell the errors of all points with what is left of
them, and the neutral shape likewise. One pair is for frontal faces and one for turned ones; the points' own
yaw fades between them. What these leave a network tells from a second look (``second_look.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.errors import BadInput, Missing
from backend.geometry import second_look
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
from backend.geometry.second_look import Left, SecondLook
from backend.geometry.shape_belief import ShapeBelief, ShapeFields

FILE = Path(__file__).resolve().parents[1] / "weights" / "embedded" / "face_sight.safetensors"
SECOND_FILE = FILE.with_name("face_second_look.safetensors")
FRONTAL_TO_TURNED = (0.25, 0.45)  # |yaw| in radians between which one regression fades to the other
MOST_YAW = 1.05  # radians: faces turned farther were not learned from
BOTH_BELOW = 0.3  # |yaw| in radians below which a second look also sees the mirror image
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
    second: SecondLook | None = None

    def look(self, rgb_srgb: F32, landmarks_px: F32, depth_px: F32) -> tuple[PixelErrors, ShapeBelief] | None:
        """How the points ``(478, 2)`` err on this photo, in pixels, and what shape the face has.

        None where the face is turned farther than any that was learned from.
        """
        points = level_points(landmarks_px, depth_px)
        yaw = self.seen_yaw(points)
        if abs(yaw) > MOST_YAW:
            return None
        shares = view_shares(yaw)
        sides = [yaw < 0]
        if self.second is not None and abs(yaw) < BOTH_BELOW:
            sides.append(yaw >= 0)
        told = [self._from(is_flipped, shares, rgb_srgb, landmarks_px, points) for is_flipped in sides]
        offset = sum((one for one, _ in told), np.zeros(1)) / len(told)
        mean = sum((shape for _, shape in told), np.zeros(1)) / len(told)
        fields, sigma, covariance = self._left(shares, yaw < 0)
        frame = level_frame(landmarks_px)
        back = frame.turn.T * frame.size_px  # level to photo
        errors = PixelErrors(offset @ back, fields @ back, sigma * frame.size_px)
        return errors, ShapeBelief(self.fields, mean, covariance)

    def seen_yaw(self, points: F32) -> float:
        """The face's yaw by its level points ``(478, 3)``, radians."""
        return float(points.ravel() @ self.yaw[:-1] + self.yaw[-1])

    def _from(
        self,
        is_flipped: bool,
        shares: tuple[float, float],
        rgb_srgb: F32,
        landmarks_px: F32,
        points: F32,
    ) -> tuple[F64, F64]:
        """Level errors ``(478, 2)`` and the shape's coefficients, from the picture or its mirror image."""
        patch = flatten(rgb_srgb, landmarks_px, self.layout)
        if is_flipped:
            points = points[self.mirror] * np.array([-1, 1, 1], np.float32)
        errors, shape = self.regressed(patch, points, shares, is_flipped)
        if self.second is not None:
            frame, layout = level_frame(landmarks_px), self.second.layout

            def lay(told: F64) -> NDArray[np.uint8]:
                offset = self._mirrored(told) if is_flipped else told.reshape(-1, 2)
                moved = landmarks_px - offset @ (frame.turn.T * frame.size_px)
                flat = flatten(rgb_srgb, moved.astype(np.float32), layout)
                return flat[:, ::-1] if is_flipped else flat

            errors, shape = self.second(lay, points, errors, shape)
        if is_flipped:
            return self._mirrored(errors), self.shape_mirror @ shape
        return errors.reshape(-1, 2), shape

    def regressed(
        self, patch: NDArray[np.uint8], points: F32, shares: tuple[float, float], is_flipped: bool
    ) -> tuple[F64, F64]:
        """Level errors ``(478·2,)`` and the shape's coefficients by the views' regressions at ``shares``.

        ``points`` ``(478, 3)`` are level and, where ``is_flipped``, those of the mirror image of ``patch``.
        """
        features = describe(patch[None])
        features = mirrored(features, PATCH_PX) if is_flipped else features
        x = np.concatenate([points.ravel(), features[0]]).astype(np.float64)
        parts = [(share, view) for share, view in zip(shares, self.views, strict=True) if share > 0]
        errors = sum((share * view.errors(x) for share, view in parts), np.zeros(1))
        return errors, sum((share * view.shape(x) for share, view in parts), np.zeros(1))

    def _mirrored(self, errors: F64) -> F64:
        return np.asarray(errors.reshape(-1, 2)[self.mirror] * [-1.0, 1.0])

    def _left(self, shares: tuple[float, float], is_flipped: bool) -> tuple[F64, F64, F64]:
        """Fields and sigmas of what is left of the errors, and the shape's covariance."""
        left: tuple[ViewSight | Left, ...] = self.views if self.second is None else self.second.left
        parts = [(share, view) for share, view in zip(shares, left, strict=True) if share > 0]
        fields = np.concatenate([np.sqrt(share) * view.error_fields for share, view in parts])
        sigma = np.sqrt(sum((share * view.error_sigma**2 for share, view in parts), np.zeros(1)))
        covariance = sum((share * view.shape_covariance for share, view in parts), np.zeros((1, 1)))
        if is_flipped:
            fields, sigma = fields[:, self.mirror] * [-1.0, 1.0], sigma[self.mirror]
            covariance = self.shape_mirror @ covariance @ self.shape_mirror.T
        return fields, sigma, covariance


def view_shares(yaw: float) -> tuple[float, float]:
    """How much each of VIEWS counts at ``yaw`` in radians."""
    low, high = FRONTAL_TO_TURNED
    t = float(np.clip((abs(yaw) - low) / (high - low), 0, 1))
    return 1 - t, t


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


def regressions() -> FaceSight:
    """What was learned of the open head's points, without a second look. Raises: Missing, BadInput."""
    return from_arrays(_stored(FILE))


@cache
def open_head_sight() -> FaceSight:
    """What was learned of the open head's points. Raises: Missing, BadInput (a damaged file)."""
    sight = regressions()
    try:
        return replace(sight, second=second_look.from_arrays(_stored(SECOND_FILE), sight.layout))
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"'{SECOND_FILE.name}' is not of this version ({error}); reinstall Likeness"
        ) from error


def _stored(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not file.is_file():
        raise Missing(f"'{file.name}' is missing from backend/weights/embedded; reinstall Likeness")
    try:
        stored: dict[str, NDArray[Any]] = load_file(file)
    except SafetensorError as error:
        raise BadInput(f"'{file.name}' is damaged ({error}); reinstall Likeness") from error
    return stored
