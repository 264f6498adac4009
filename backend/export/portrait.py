"""Portraits of a reconstruction under new light: the views of the preview, and of anyone who asks.

View transform: Standard, that is linear Rec. 709 times a stated exposure, sRGB transfer, clipped.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera, Materials, Reconstruction
from backend.colour import linear_to_srgb
from backend.head.base import ParametricHead
from backend.shading import shadows, studio
from backend.shading.environment import Environment
from backend.shading.parts import EYE_PARTS, looks
from backend.shading.relight import relight
from backend.shading.shadows import ShadowMaps
from backend.uvspace.render import TexturedHead

U8 = NDArray[np.uint8]

# Stops over Standard's 0: studio.* give a white card a radiance of 1, which shows skin as it is.
EXPOSURE_STOPS = 0.2
_BACKDROP_SRGB = (0.115, 0.118, 0.125)
_DISTANCE_M = 1.1
_SHADOW_LIGHTS, _SHADOW_SIZE = 28, 160
_LARGEST_MAP = 1024  # a portrait of some hundred pixels shows no more


@dataclass(frozen=True)
class Portrait:
    """One view under one light. Angles as in ``export.views``: yaw to the subject's left, pitch up."""

    label: str
    yaw_deg: float
    pitch_deg: float
    light: Environment


@functools.lru_cache(maxsize=1)
def studio_portraits() -> tuple[Portrait, ...]:
    """Front, three-quarter left and right under three different procedural lights, which keep what was
    made of them."""
    return (
        Portrait("front", 0.0, 0.0, studio.three_point()),
        Portrait("three-quarter left", 40.0, 2.0, studio.hard_side()),
        Portrait("three-quarter right", -40.0, 2.0, studio.soft_sky()),
    )


def relit_views(
    reconstruction: Reconstruction,
    size: tuple[int, int] = (424, 530),
    lights: Sequence[Portrait] | None = None,
    *,
    supersampling: float = 1.5,
) -> list[U8]:
    """sRGB pictures ``(height, width, 3)`` of the photographed face, one per portrait.

    ``size`` is (width, height) in pixels; ``lights`` are ``studio_portraits()`` when None.
    """
    fit = reconstruction.fit
    head = fit.head
    maps = vars(reduced(reconstruction.materials, _LARGEST_MAP))
    outside = [index for index, name in enumerate(head.part_names) if index == 0 or name in EYE_PARTS]
    fine = (round(size[0] * supersampling), round(size[1] * supersampling))
    casters = np.ascontiguousarray(head.triangles[np.isin(head.triangle_part, outside)])
    portraits = studio_portraits() if lights is None else lights

    def cast(portrait: Portrait) -> ShadowMaps:
        return shadows.cast(portrait.light, fit.vertices_head, casters, _SHADOW_LIGHTS, _SHADOW_SIZE)

    # Two at a time: while one is in a compiled kernel the other does its array work.
    with ThreadPoolExecutor(2) as pool:
        shadowed = pool.map(cast, portraits)  # meanwhile
        textured = TexturedHead(head, fit.vertices_head, maps, looks(head, fit.iris_srgb))
        pictures = [
            pool.submit(
                _portrait, textured, p, portrait_camera(head, p.yaw_deg, p.pitch_deg, *fine), maps_of_p
            )
            for p, maps_of_p in zip(portraits, shadowed, strict=True)
        ]
        return [_reduced_to_bytes(picture.result(), size) for picture in pictures]


def reduced(materials: Materials, size: int) -> Materials:
    """The same maps averaged down to ``size`` texels a side (unchanged when already that small)."""
    import cv2

    if materials.size <= size:
        return materials
    return Materials(
        *(
            np.asarray(cv2.resize(m, (size, size), interpolation=cv2.INTER_AREA), np.float32)
            for m in vars(materials).values()
        )
    )


def portrait_camera(
    head: ParametricHead, yaw_deg: float, pitch_deg: float, width: int, height: int
) -> Camera:
    """A portrait lens 1.1 m from the face, framed on the whole head of ``head``'s mean."""
    pivot = portrait_pivot(head)
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    back = np.array([math.sin(yaw) * math.cos(pitch), math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    rotation = np.stack([right, np.cross(right, back), -back])
    centre = pivot + _DISTANCE_M * back
    focal = height * _DISTANCE_M / frame_height_m(width, height)
    pose = np.concatenate([rotation, (-rotation @ centre)[:, None]], 1)
    return Camera(focal, (width / 2, height / 2), width, height, pose)


def portrait_pivot(head: ParametricHead) -> F64:
    """The middle of a portrait ``(3,)``: inside the skull, so that the head stays framed at every yaw."""
    pivot: F64 = head.eye_centres.astype(np.float64).mean(0) + np.array([0.0, -0.022, -0.065])
    return pivot


def frame_height_m(width: int, height: int) -> float:
    """Height of a portrait's frame at the pivot; a head is about 0.25 m high and 0.19 m wide."""
    return max(0.315, 0.245 * height / width)


def develop(linear: F32) -> F32:
    """Linear radiance to display sRGB in [0, 1] by the Standard transform at EXPOSURE_STOPS."""
    return np.minimum(linear_to_srgb(linear * np.float32(2**EXPOSURE_STOPS)), 1).astype(np.float32)


@functools.lru_cache(maxsize=4)
def backdrop(width: int, height: int) -> F32:
    """A dark studio backdrop ``(height, width, 3)`` in sRGB, a little lighter behind the head."""
    y, x = np.mgrid[0:height, 0:width]
    r2 = ((x / width - 0.5) / 0.6) ** 2 + ((y / height - 0.42) / 0.6) ** 2
    glow: F64 = 1.0 + 0.75 * np.exp(-2.2 * r2)
    return np.asarray(glow[..., None] * np.array(_BACKDROP_SRGB), np.float32)


def _portrait(textured: TexturedHead, portrait: Portrait, camera: Camera, cast: ShadowMaps) -> F32:
    """The samples of ``camera`` over the backdrop ``(h, w, 3)``, display sRGB."""
    buffer = textured.view(camera, supersample=1)
    covered = buffer.part >= 0
    picture = backdrop(camera.width_px, camera.height_px).copy()
    picture[covered] = develop(relight(buffer, portrait.light, camera, cast)[covered])
    return picture


def _reduced_to_bytes(picture: F32, size: tuple[int, int]) -> U8:
    """Averaged after the transfer curve, so that bright rims against the dark do not stair-step."""
    import cv2

    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(small * 255), np.uint8)
