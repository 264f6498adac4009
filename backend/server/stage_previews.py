"""Small pictures of what a stage made, for the progress panel: JPEG, at most 512 pixels a side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, CompleteUV, EvenUV, HeadFit, Materials, Observation, PartialUV, Photo
from backend.colour import linear_to_srgb
from backend.export.map_files import shrunk
from backend.export.preview import fit_picture

SIDE = 512
QUALITY = 85
_BOX_RGB = (255, 186, 92)
_PLATE = 0.13  # where a chart has nothing

U8 = NDArray[np.uint8]


def stage_preview(value: object, observation: Observation | None) -> bytes | None:
    """A picture of a stage's result; None where there is nothing to see."""
    picture = _picture(value, observation)
    return None if picture is None else _jpeg(picture)


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
    """The photo with every face's box and this one's landmarks."""
    import cv2

    picture, scale = _fitted_in(observation.photo.rgb_srgb)
    out = np.ascontiguousarray(_bytes(picture))
    for index, box in enumerate(observation.faces):
        x0, y0, x1, y1 = (round(scale * v) for v in (box.x0, box.y0, box.x1, box.y1))
        thick = 2 if index == observation.face_index else 1
        cv2.rectangle(out, (x0, y0), (x1, y1), _BOX_RGB, thick, cv2.LINE_AA)
    for x, y in np.round((observation.landmarks_px * scale - 0.5) * 16).astype(int):
        cv2.circle(out, (int(x), int(y)), 14, (158, 230, 255), -1, cv2.LINE_AA, 4)
    return out


def _sheet(maps: Materials) -> U8:
    """Albedo, normal, roughness over specular, displacement, tile by tile."""
    side = SIDE // 3
    reach = max(float(np.quantile(np.abs(shrunk(maps.displacement_m, SIDE)), 0.995)), 1e-6)
    grey = (maps.roughness, maps.specular, 0.5 + 0.5 * maps.displacement_m / reach)
    tiles = [
        linear_to_srgb(shrunk(maps.albedo_linear, side)),
        0.5 + 0.5 * shrunk(maps.normal_tangent, side),
        *(np.repeat(shrunk(np.asarray(m, np.float32), side)[..., None], 3, -1) for m in grey),
    ]
    tiles.append(np.full_like(tiles[0], _PLATE))
    rows = [np.concatenate(tiles[k : k + 3], 1) for k in (0, 3)]
    return _bytes(np.concatenate(rows, 0))


def _fitted_in(rgb: F32) -> tuple[F32, float]:
    """The picture averaged down to SIDE, and by how much."""
    import cv2

    scale = min(1.0, SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32), scale


def _bytes(picture: NDArray[np.floating]) -> U8:  # type: ignore[type-arg]
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def _jpeg(rgb: U8) -> bytes:
    import cv2

    good, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    if not good:
        raise RuntimeError("the JPEG encoder refused a preview")
    return bytes(data.tobytes())
