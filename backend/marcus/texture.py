"""Between the pipeline's charts and the pictures that LongCat edits (facts sheet, 5.2 and 7.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, Materials, PartialUV
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.marcus.cascade import MaterialPictures
from backend.uvspace.seams import dilate

LEAST_CONFIDENCE = 0.5
EROSION = 12  # texels at 1024: the release's box, against rims of hair and background
# The release lifts the surface by 0.01 of its unit (very probably a decimetre) where displacement is 1.
DISPLACEMENT_M = 0.01 * 0.1


def incomplete(partial: PartialUV) -> F32:
    """T_inc ``(S, S, 3)`` sRGB: what the photo shows, black where it shows nothing."""
    import cv2

    size = partial.chart.size
    known = (partial.confidence >= LEAST_CONFIDENCE) & partial.chart.inside
    box = max(1, round(EROSION * size / 1024))
    kept = cv2.erode(known.astype(np.uint8), np.ones((box, box), np.uint8)) > 0
    picture = np.clip(linear_to_srgb(partial.rgb_linear), 0, 1) * kept[..., None]
    return np.asarray(picture, np.float32)


def chart_linear(picture_srgb: F32, inside: NDArray[np.bool_]) -> F32:
    """A drawn picture as linear colour in the chart, repeated beyond the chart's border."""
    return dilate(srgb_to_linear(picture_srgb).astype(np.float32), inside)


def picture_srgb(rgb_linear: F32, inside: NDArray[np.bool_]) -> F32:
    """A chart as the next stage's input: sRGB, black outside the chart."""
    picture = np.clip(linear_to_srgb(rgb_linear), 0, 1) * inside[..., None]
    return np.asarray(picture, np.float32)


def evened(lit_linear: F32, even_linear: F32) -> F32:
    """How strongly light was taken out, ``(S, S)`` in [0, 1]: a factor of two counts as 1."""
    ratio = (even_linear.mean(-1) + 1e-3) / (lit_linear.mean(-1) + 1e-3)
    return np.asarray(np.clip(np.abs(np.log2(ratio)), 0, 1), np.float32)


def materials_of(drawn: MaterialPictures, chart: ChartMaps, green_up: bool = True) -> Materials:
    """The five maps of the joint stage's pictures.

    Normals are tangent-space; ``green_up`` says that green is +v, as OpenGL has it (not settled by the
    release: its two exporters disagree; `likeness weights inspect` tells). Displacement is taken about its
    median, since the release has no zero level.
    """
    inside = chart.inside
    albedo, normal, rsd = (
        dilate(np.ascontiguousarray(x, np.float32), inside)
        for x in (srgb_to_linear(drawn.albedo_srgb), drawn.normal * 2 - 1, drawn.rsd)
    )
    if not green_up:
        normal[..., 1] *= -1
    normal[..., 2] = np.maximum(normal[..., 2], 0.05)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    height = rsd[..., 2] - float(np.median(rsd[..., 2][inside]))
    return Materials(
        albedo_linear=np.clip(albedo, 0, 1),
        normal_tangent=normal,
        roughness=rsd[..., 0],
        specular=rsd[..., 1],
        displacement_m=(height * DISPLACEMENT_M).astype(np.float32),
    )
