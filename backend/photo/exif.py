"""What EXIF says about a photograph: orientation and focal length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Exif

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_FOCAL_LENGTH, _FOCAL_35MM = 0x920A, 0xA405
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_PLANE_X_RESOLUTION, _PLANE_Y_RESOLUTION, _PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # inch, centimetre, millimetre, micrometre


@dataclass(frozen=True)
class FocalLength:
    """The 35 mm equivalent focal length of the whole picture in millimetres, and a note for the artist."""

    millimetres: float | None
    note: str = ""


def orientation(exif: Exif) -> int:
    """EXIF orientation, 1 (upright) to 8; values outside count as 1."""
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: NDArray[Any], exif_orientation: int) -> NDArray[Any]:
    """``(H, W, …)`` as stored, turned and mirrored as EXIF orientation 1–8 asks; a view where possible."""
    if exif_orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)  # then 5 is done; 6, 7, 8 are mirrored below
    if exif_orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if exif_orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def focal_35mm(exif: Exif, stored_size: tuple[int, int]) -> FocalLength:
    """35 mm equivalent focal length of a picture whose stored size is ``(width, height)`` pixels.

    ``FocalLengthIn35mmFilm`` where written, else ``FocalLength`` with the sensor's size from the focal
    plane resolution. When EXIF's pixel dimensions have another aspect than the picture, it was cropped
    after the shot and the focal length no longer describes it: None, with a note.
    """
    try:
        ifd = dict(exif.get_ifd(_EXIF_IFD))
    except Exception:  # a damaged block of metadata must not lose the photograph
        return FocalLength(None, "the photograph's EXIF block is damaged; its focal length was not used")
    millimetres = _positive(ifd.get(_FOCAL_35MM)) or _from_sensor(ifd)
    if millimetres is None or not 5.0 <= millimetres <= 2000.0:
        return FocalLength(None)
    shot = (_positive(ifd.get(_PIXEL_X)), _positive(ifd.get(_PIXEL_Y)))
    if shot[0] and shot[1]:
        aspect = max(shot[0], shot[1]) / min(shot[0], shot[1])
        if abs(math.log(aspect / (max(stored_size) / min(stored_size)))) > 0.02:
            return FocalLength(
                None, "the photograph was cropped after the shot; its EXIF focal length was not used"
            )
    return FocalLength(millimetres)


def _from_sensor(ifd: dict[int, Any]) -> float | None:
    focal = _positive(ifd.get(_FOCAL_LENGTH))
    pixels = (_positive(ifd.get(_PIXEL_X)), _positive(ifd.get(_PIXEL_Y)))
    x_resolution = _positive(ifd.get(_PLANE_X_RESOLUTION))
    y_resolution = _positive(ifd.get(_PLANE_Y_RESOLUTION)) or x_resolution
    unit = _UNIT_MM.get(ifd.get(_PLANE_UNIT, 2))
    if not (focal and pixels[0] and pixels[1] and x_resolution and y_resolution and unit):
        return None
    diagonal_mm = math.hypot(pixels[0] / x_resolution * unit, pixels[1] / y_resolution * unit)
    if not 2.0 <= diagonal_mm <= 120.0:  # phone sensor to large format
        return None
    return focal * FILM_DIAGONAL_MM / diagonal_mm


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
