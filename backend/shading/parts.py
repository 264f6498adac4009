"""What eyes, teeth and mouth are made of in our own renderings: procedural.

Eyes are found geometrically: on the mean head the pupil looks along +Z from the eye's centre, so every
eyeball vertex has fixed coordinates across that axis, which turn with the eyeball when it looks aside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import srgb_to_linear
from backend.head.base import ParametricHead
from backend.uvspace.rasterise import rasterise_chart
from backend.uvspace.render import Look

EYE_PARTS = ("eye_left", "eye_right")

EYE_ROUGHNESS, EYE_SPECULAR = 0.06, 0.5  # the wet cornea
IRIS_RADIUS_M = 0.00585  # half the mean visible diameter, which hardly differs between adults
PUPIL_OVER_IRIS = 0.36
_SCLERA = np.array([0.56, 0.50, 0.46], np.float32)
_SCLERA_FAR = np.array([0.46, 0.30, 0.27], np.float32)  # towards the lids, where vessels show
# Iris brightness over its radius (1 is the limbus): collarette bright, limbal ring dark.
_IRIS_RADIUS = (0.0, PUPIL_OVER_IRIS - 0.03, PUPIL_OVER_IRIS + 0.03, 0.52, 0.80, 0.97, 1.1)
_IRIS_VALUE = (0.0, 0.0, 0.75, 1.2, 1.0, 0.40, 0.30)
# Linear albedo, roughness, specular of the first word found in a part's name.
_PLAIN: tuple[tuple[str, tuple[tuple[float, float, float], float, float]], ...] = (
    ("teeth", ((0.52, 0.46, 0.36), 0.25, 0.5)),
    ("tongue", ((0.36, 0.12, 0.11), 0.35, 0.5)),
    ("gum", ((0.42, 0.15, 0.14), 0.30, 0.5)),
    ("socket", ((0.30, 0.12, 0.10), 0.40, 0.4)),
    ("mouth", ((0.14, 0.035, 0.03), 0.45, 0.4)),
)
_OTHER = ((0.25, 0.12, 0.10), 0.5, 0.4)


def plain_material(part_name: str) -> tuple[tuple[float, float, float], float, float]:
    """Linear albedo, roughness and specular of a part without maps."""
    return next((material for word, material in _PLAIN if word in part_name), _OTHER)


def iris_coordinates(head: ParametricHead) -> F32:
    """``(V, 2)`` place across each eye's axis in iris radii; the pupil is the origin.

    Vertices behind the eye's centre are pushed outwards, those of other parts lie far away.
    """
    out = np.full((len(head.mean_vertices), 2), 9.0, np.float32)
    for name, centre in zip(EYE_PARTS, head.eye_centres, strict=True):
        if name not in head.part_names:
            continue
        rows = np.unique(head.triangles[head.triangle_part == head.part_names.index(name)])
        offset = head.mean_vertices[rows] - centre
        # Angle times radius keeps growing past the equator, where the plain offset would fold back.
        across = np.hypot(offset[:, 0], offset[:, 1])
        angle = np.arctan2(across, offset[:, 2])
        sphere = float(np.quantile(np.linalg.norm(offset, axis=1), 0.9))  # the iris may lie back from it
        radius = np.where(angle < 0.6, across, sphere * (np.sin(0.6) + angle - 0.6))
        # At the poles no direction is given; any will do.
        aside = np.where(across[:, None] > 1e-9, offset[:, :2], np.array([1e-9, 0.0]))
        out[rows] = aside / np.maximum(across, 1e-9)[:, None] * (radius / IRIS_RADIUS_M)[:, None]
    return out


def eye_albedo(coordinates: NDArray[np.floating[Any]], iris_srgb: NDArray[np.floating[Any]]) -> F32:
    """Linear albedo ``(N, 3)`` of sclera, iris and pupil at ``iris_coordinates`` ``(N, 2)``."""
    radius = np.hypot(coordinates[:, 0], coordinates[:, 1])
    angle = np.arctan2(coordinates[:, 1], coordinates[:, 0])
    # Fibres as a fixed sum of waves around the pupil, which closes on itself.
    waves = sum(np.sin(k * angle + 1.7 * k + 2.0 * radius) for k in (7, 13, 23, 31, 47)) / 5.0
    value = np.interp(radius, _IRIS_RADIUS, _IRIS_VALUE) * (1 + 0.3 * waves)
    iris = value[:, None] * srgb_to_linear(iris_srgb)
    far = np.clip((radius - 1.2) / 2.2, 0, 1)[:, None]
    sclera = _SCLERA * (1 - far) + _SCLERA_FAR * far
    t = np.clip((radius - 0.91) / 0.18, 0, 1)
    blend = (t * t * (3 - 2 * t))[:, None]
    return np.asarray(np.clip(iris * (1 - blend) + sclera * blend, 0, 1), np.float32)


def looks(head: ParametricHead, iris_srgb: NDArray[np.floating[Any]], size: int = 256) -> dict[str, Look]:
    """How every part but the skin looks, by name, for ``uvspace.render.TexturedHead``.

    Eyes get an albedo map of ``size`` texels a side in their own chart, whatever its layout.
    """
    coordinates = iris_coordinates(head)
    out: dict[str, Look] = {}
    for index, name in enumerate(head.part_names[1:], start=1):
        rows = np.flatnonzero(head.triangle_part == index)
        if len(rows) == 0:
            continue
        albedo, roughness, specular = plain_material(name)
        out[name] = {"albedo_linear": albedo, "roughness": roughness, "specular": specular}
        if name in EYE_PARTS:
            drawn = rasterise_chart(head.uvs, head.triangle_uvs, size, rows)
            at = drawn.interpolate(coordinates, head.triangles)
            # Beside the chart everything is sclera, so nothing dark bleeds in at its border.
            at[~drawn.covered] = 3.0
            painted = eye_albedo(at.reshape(-1, 2), iris_srgb).reshape(size, size, 3)
            out[name] = {"albedo_linear": painted, "roughness": EYE_ROUGHNESS, "specular": EYE_SPECULAR}
    return out
