"""ICC profiles to sRGB: 8-bit pictures through LittleCMS, deep ones by the profile's matrix and curves."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

from backend.artifacts import F32, F64, Run
from backend.colour import linear_to_srgb

if TYPE_CHECKING:
    from PIL.Image import Image

# XYZ relative to D50 (the profile connection space) to linear Rec. 709: Bradford-adapted sRGB, inverted.
_XYZ_D50_TO_REC709: F64 = np.linalg.inv(
    np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
)


def to_srgb_8bit(image: Image, profile: bytes | None, name: str, run: Run) -> Image:
    """``image`` (modes RGB, L, CMYK, LAB) as 8-bit sRGB, relative colorimetric.

    Without a profile RGB and grey are taken as sRGB and CMYK is converted by its plain formula; a
    profile that does not fit the picture is passed over. Both are said through ``run.warn``.
    """
    from PIL import ImageCms

    srgb = ImageCms.createProfile("sRGB")
    source: ImageCms.ImageCmsProfile | None = None
    if image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            if space == "GRAY" and image.mode == "RGB":
                image = image.convert("L")
            elif space == "RGB" and image.mode == "L":
                image = image.convert("RGB")
            converted = ImageCms.profileToProfile(
                image, source, srgb, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            run.warn(
                f"the colour profile of {name} is damaged or does not fit; its colours were taken as sRGB"
            )
        source = None
    if source is not None:
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
        assert converted is not None  # None only with inPlace
        return converted
    if image.mode == "CMYK":
        run.warn(f"{name} is CMYK without a usable colour profile; its colours are approximate")
    return image.convert("RGB")


def to_srgb_float(samples: F32, profile: bytes | None, name: str, run: Run) -> F32:
    """``(H, W, 1 or 3)`` samples in [0, 1] as ``(H, W, 3)`` sRGB, to float precision.

    Matrix and grey profiles are evaluated. Profiles built from lookup tables are not: the colours are
    then taken as sRGB, with a warning.
    """
    channels = samples.shape[2]
    if profile:
        try:
            curves, matrix = _matrix_profile(profile)
            if len(curves) != channels:
                raise ValueError("the profile has another number of channels than the picture")
        except (ValueError, KeyError, struct.error, IndexError):
            run.warn(
                f"the colour profile of {name} is of a kind not read at 16 bits; "
                "its colours were taken as sRGB"
            )
        else:
            linear = np.stack(
                [np.interp(samples[..., c], *curves[c]) for c in range(channels)], axis=-1
            ).astype(np.float32)
            if matrix is not None:
                linear = linear @ (_XYZ_D50_TO_REC709 @ matrix).T.astype(np.float32)
            samples = np.clip(linear_to_srgb(linear), 0.0, 1.0)
    return np.repeat(samples, 3, axis=2) if channels == 1 else samples


def _matrix_profile(profile: bytes) -> tuple[list[tuple[F64, F64]], F64 | None]:
    """Sampled tone curves (input, linear) and the XYZ matrix of an RGB or grey profile (ICC.1:2022, 8.3).

    Raises: ValueError, KeyError, struct.error for profiles of another kind.
    """
    space = profile[16:20]
    count = struct.unpack_from(">I", profile, 128)[0]
    tags: dict[bytes, bytes] = {}
    for i in range(min(count, 200)):
        signature, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        tags[signature] = profile[offset : offset + size]
    if space == b"GRAY":
        return [_curve(tags[b"kTRC"])], None
    if space != b"RGB " or b"A2B0" in tags:
        raise ValueError("not a matrix profile")
    matrix = np.stack([_xyz(tags[t]) for t in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
    return [_curve(tags[t]) for t in (b"rTRC", b"gTRC", b"bTRC")], matrix


def _xyz(tag: bytes) -> F64:
    return np.array(struct.unpack_from(">3i", tag, 8), np.float64) / 65536.0


def _curve(tag: bytes) -> tuple[F64, F64]:
    """A ``curv`` or ``para`` tag sampled at 4096 points."""
    x = np.linspace(0.0, 1.0, 4096)
    kind = tag[:4]
    if kind == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x, x
        table = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count == 1:
            return x, x ** (table[0] / 256.0)
        return np.linspace(0.0, 1.0, count), table / 65535.0
    if kind != b"para":
        raise ValueError("unknown curve")
    function = struct.unpack_from(">H", tag, 8)[0]
    p = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[function]}i", tag, 12), np.float64) / 65536.0
    g = p[0]
    a, b = (p[1], p[2]) if function else (1.0, 0.0)
    power = np.maximum(a * x + b, 0.0) ** g
    if function == 0:
        return x, power
    if function == 1:
        return x, np.where(x >= -b / a, power, 0.0)
    if function == 2:
        return x, np.where(x >= -b / a, power + p[3], p[3])
    c, d = p[3], p[4]
    e, f = (p[5], p[6]) if function == 4 else (0.0, 0.0)
    return x, np.where(x >= d, power + e, c * x + f)
