"""Small pictures of what a stage made, for the progress panel: JPEG, at most 512 pixels a side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, CompleteUV, EvenUV, HeadFit, Materials, Observation, PartialUV, Photo
from backend.colour import linear_to_srgb
from backend.export.map_files import shrunk
from backend.export.preview import fit_picture

SIDE = 512
QUALITY = 85
_BOX_RGB, _POINT_RGB = (255, 186, 92), (158, 230, 255)
_SURROUNDINGS = 2.4  # side of the picture of an observation, over the face's
_PLATE = 0.13  # where a chart has nothing

U8 = NDArray[np.uint8]


def stage_preview(value: object, observation: Observation | None) -> bytes | None:
    """A picture of a stage's result; None where there is nothing to see."""
    picture = _picture(value, observation)
    return None if picture is None else _jpeg(picture)


def half_made(picture_srgb: F32) -> bytes:
    """A picture ``(h, w, 3)`` sRGB of what a stage is working on, its texels shown as squares."""
    times = max(1, SIDE // max(picture_srgb.shape[:2]))
    return _jpeg(_bytes(picture_srgb).repeat(times, 0).repeat(times, 1))


def _picture(value: object, observation: Observation | None) -> U8 | None:
    match value:
        case Photo():
            return _bytes(_fitted_in(value.rgb_srgb)[0])
        case Observation():
            return _observed(value)
        case HeadFit() if observation is not None:
            return fit_picture(observation, value, (round(SIDE / 1.25), SIDE))
        case PartialUV():
            seen = shrunk(value.confidence, SIDE)[..., None]
            return _bytes(linear_to_srgb(shrunk(value.rgb_linear, SIDE)) * seen + _PLATE * (1 - seen))
        case CompleteUV() | EvenUV():
            return _bytes(linear_to_srgb(shrunk(value.rgb_linear, SIDE)))
        case Materials():
            return _sheet(value)
    return None


def _observed(observation: Observation) -> U8:
    """The face's surroundings with its box, landmarks, and the other faces' boxes."""
    import cv2

    rgb = observation.photo.rgb_srgb
    box = observation.face_box
    reach = _SURROUNDINGS * max(box.size) / 2
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    part = rgb[top : max(top + 1, round(y + reach)), left : max(left + 1, round(x + reach))]
    picture, scale = _fitted_in(part)
    out = np.ascontiguousarray(_bytes(picture))
    corner = np.array([left, top], np.float64)
    for index, other in enumerate(observation.faces):
        ends = (np.array([[other.x0, other.y0], [other.x1, other.y1]]) - corner) * scale
        thick = 2 if index == observation.face_index else 1
        (x0, y0), (x1, y1) = np.rint(ends).astype(int).tolist()
        cv2.rectangle(out, (x0, y0), (x1, y1), _BOX_RGB, thick, cv2.LINE_AA)
    for x0, y0 in np.rint(((observation.landmarks_px - corner) * scale - 0.5) * 16).astype(int).tolist():
        cv2.circle(out, (x0, y0), 20, _POINT_RGB, -1, cv2.LINE_AA, 4)
    return out


def _sheet(maps: Materials) -> U8:
    """Albedo large, beside it normal, roughness, specular and displacement."""
    side = SIDE // 4
    reach = max(float(np.quantile(np.abs(shrunk(maps.displacement_m, SIDE)), 0.995)), 1e-6)
    small = (
        0.5 + 0.5 * _square(maps.normal_tangent, side),
        _grey(_square(maps.roughness, side)),
        _grey(_square(maps.specular, side)),
        _grey(0.5 + 0.5 * _square(maps.displacement_m, side) / reach),
    )
    right = np.concatenate([np.concatenate(small[:2], 1), np.concatenate(small[2:], 1)], 0)
    return _bytes(np.concatenate([linear_to_srgb(_square(maps.albedo_linear, 2 * side)), right], 1))


def _square(image: F32, side: int) -> F32:
    """``image`` resampled to exactly ``side`` pixels."""
    import cv2

    small = shrunk(image, side)
    return np.asarray(cv2.resize(small, (side, side)), np.float32) if len(small) < side else small


def _grey(image: F32) -> F32:
    return np.repeat(image[..., None], 3, -1)


def _fitted_in(rgb: F32) -> tuple[F32, float]:
    """The picture scaled so that its longer side is SIDE, at most doubled; and by how much."""
    import cv2

    scale = min(2.0, SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=method), np.float32), scale


def _bytes(picture: NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def _jpeg(rgb: U8) -> bytes:
    import cv2

    good, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not good:
        raise RuntimeError("the JPEG encoder refused a preview")
    return bytes(data.tobytes())
