"""Decoding of photographs into upright float sRGB, refusing what cannot be one from its header alone."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Photo, Run
from backend.errors import BadInput, OutOfResources
from backend.photo import icc
from backend.photo.exif import focal_35mm, orientation, upright

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_SIDE = 64  # a face needs that many pixels, so the picture does too
MAX_SIDE = 20_000
MAX_PIXELS = 250_000_000  # refused above
WORK_PIXELS = 50_000_000  # reduced to this above
MAX_FILE_BYTES = 1 << 30
BACKGROUND_SRGB = 0.5  # alpha is composited on mid-grey, which biases neither skin colour nor light

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
_OFFERED = "give a JPEG, PNG, WebP or TIFF"
_pillow_limit = threading.Lock()


def load_photo(path: Path, run: Run | None = None, name: str | None = None) -> Photo:
    """Read and decode a photograph, called ``name`` (its file's name when None); see ``decode_photo``.

    Raises: BadInput, OutOfResources.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder; give a photograph")
        if not path.exists():
            raise BadInput(f"{path} does not exist; check the path")
        if not path.is_file():
            raise BadInput(f"{path} is not a regular file; give a photograph")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path.name} is larger than 1 GiB, which no photograph is; {_OFFERED}")
        data = path.read_bytes()
    except PermissionError:
        raise BadInput(f"{path} may not be read; check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise BadInput(f"{path} cannot be read ({error}); check the path") from None
    photo = decode_photo(data, name or path.name, run)
    return replace(photo, name=name) if name else photo


def decode_photo(data: bytes, name: str, run: Run | None = None) -> Photo:
    """Decode the bytes of a photograph; ``name`` is its file name, with or without suffix.

    Orientation (EXIF), ICC profile, CMYK, palette, greyscale and 16-bit samples are resolved to float32
    sRGB; transparency is composited on mid-grey. Of an animation or a multi-page file the first picture
    is taken. Above 50 megapixels the picture is reduced; both are said through ``run.warn``.
    Raises: BadInput (not a picture, damaged, absurd size), OutOfResources.
    """
    run = run or Run()
    if not data:
        raise BadInput(f"{name} is empty; {_OFFERED}")
    image = _open(data, name)
    width, height = image.size
    _check_size(width, height, name)
    _warn_frames(image, name, run)
    try:
        deep = _bits_per_sample(image) == 16  # before loading, which forgets it
        rgb = _decode_deep(image, data, name, run) if deep else _decode_8bit(image, name, run)
        exif = image.getexif()  # after loading: Pillow, like OpenCV, turns TIFFs itself and clears the tag
        turn = orientation(exif)
        focal = focal_35mm(exif, (width, height))
    except BadInput:
        raise
    except MemoryError:
        raise OutOfResources(f"not enough memory to decode {name} ({width}×{height})") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged stream makes them raise
        raise BadInput(f"{name} is damaged ({_one_line(error)}); export the photograph again") from None
    if focal.note:
        run.warn(focal.note)
    return Photo(
        name=Path(name).stem or name,
        sha256=hashlib.sha256(data).hexdigest(),
        rgb_srgb=np.ascontiguousarray(upright(rgb, turn), dtype=np.float32),
        focal_35mm=focal.millimetres,
        source_size=(height, width) if turn in (5, 6, 7, 8) else (width, height),
    )


def _open(data: bytes, name: str) -> Image:
    """Read the header only. Pillow's own bomb limit is lifted to ours, which ``_check_size`` states."""
    from PIL import Image, UnidentifiedImageError

    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=_FORMATS)
        except UnidentifiedImageError:
            if data[4:8] == b"ftyp":
                raise BadInput(
                    f"{name} is a HEIC, AVIF or video file, which is not read; {_OFFERED}"
                ) from None
            raise BadInput(f"{name} is not a picture that can be read; {_OFFERED}") from None
        except Exception as error:
            raise BadInput(f"{name} has a damaged header ({_one_line(error)}); {_OFFERED}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise BadInput(
            f"{name} is only {width}×{height} pixels; a face needs at least {MIN_SIDE} pixels across"
        )
    if max(width, height) >= MAX_SIDE or width * height > MAX_PIXELS:
        raise BadInput(
            f"{name} is {width}×{height} pixels, too large to be a photograph; "
            f"reduce it below {MAX_SIDE} pixels a side and {MAX_PIXELS // 1_000_000} megapixels"
        )


def _warn_frames(image: Image, name: str, run: Run) -> None:
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1 and image.format in ("PNG", "WEBP", "GIF"):
        run.warn(f"{name} is animated ({frames} frames); the first frame was taken")
    elif frames > 1 and image.format == "TIFF":
        run.warn(f"{name} has {frames} pages; the first page was taken")


def _bits_per_sample(image: Image) -> int:
    if image.mode.startswith("I"):
        return 16
    modes = {str(part) for tile in image.tile for part in _flat(tile[3])}
    return 16 if any(";16" in mode for mode in modes) else 8


def _flat(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)


def _decode_8bit(image: Image, name: str, run: Run) -> F32:
    if image.mode == "F":
        raise BadInput(f"{name} holds floating-point light, not a photograph; export it with 8 or 16 bits")
    full = image.size
    factor = _reduction(*full)
    if factor >= 2 and image.format in ("JPEG", "MPO"):  # the decoder itself reduces by 2, 4 or 8
        image.draft(None, (int(full[0] / factor), int(full[1] / factor)))
    profile = image.info.get("icc_profile")
    image.load()
    if "transparency" in image.info or image.mode == "PA":
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    if image.mode in ("P", "1", "YCbCr", "HSV", "RGBX", "RGBA"):
        image = image.convert("RGB")
    elif image.mode == "LA":
        image = image.convert("L")
    rgb_image = icc.to_srgb_8bit(image, profile, name, run)
    pixels = np.asarray(rgb_image, np.uint8)
    alpha_u8 = None if alpha is None else np.asarray(alpha, np.uint8)
    pixels, alpha_u8 = _reduce(pixels, alpha_u8, full, name, run)
    rgb = pixels.astype(np.float32)
    rgb *= np.float32(1 / 255)
    return _composite(rgb, None if alpha_u8 is None else alpha_u8.astype(np.float32) / 255, name, run)


def _decode_deep(image: Image, data: bytes, name: str, run: Run) -> F32:
    """16-bit samples through OpenCV: Pillow would drop the low byte of colour pictures."""
    import cv2

    if image.format == "TIFF" and image.mode not in (
        "RGB",
        "RGBA",
        "RGBX",
        "I;16",
        "I;16B",
        "I;16L",
        "L",
        "LA",
    ):
        raise BadInput(f"{name} is a 16-bit {image.mode} TIFF; export it as RGB")
    profile = image.info.get("icc_profile")
    full = image.size
    if image.mode.startswith("I"):  # greyscale: Pillow keeps all bits
        image.load()
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise BadInput(f"{name} holds 32-bit samples; export it with 8 or 16 bits")
        samples = samples.astype(np.uint16)[..., None]
    else:
        image.load()  # damage is found here: OpenCV would hand back a half-empty picture
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.shape[:2] != (full[1], full[0]) or decoded.dtype != np.uint16:
            raise BadInput(f"{name} is a 16-bit picture of a kind that is not read; export it with 8 bits")
        samples = decoded if decoded.ndim == 3 else decoded[..., None]
    alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
    colour = samples[..., :1] if samples.shape[2] <= 2 else samples[..., 2::-1]
    colour, alpha = _reduce(np.ascontiguousarray(colour), alpha, full, name, run)
    rgb = colour.astype(np.float32) * np.float32(1 / 65535)
    rgb = icc.to_srgb_float(rgb, profile, name, run)
    return _composite(rgb, None if alpha is None else alpha.astype(np.float32) / 65535, name, run)


def _reduction(width: int, height: int) -> float:
    return float(max(1.0, (width * height / WORK_PIXELS) ** 0.5))


def _reduce(
    pixels: NDArray[Any], alpha: NDArray[Any] | None, full: tuple[int, int], name: str, run: Run
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    import cv2

    factor = _reduction(*full)
    if factor == 1.0:
        return pixels, alpha
    size = (int(full[0] / factor), int(full[1] / factor))
    run.warn(
        f"{name} has {full[0] * full[1] / 1e6:.0f} megapixels; it was reduced by {factor:.2f} "
        f"to {size[0]}×{size[1]}"
    )
    channels = pixels.shape[2]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
    return small, None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)


def _composite(rgb: F32, alpha: F32 | None, name: str, run: Run) -> F32:
    """Straight alpha over ``BACKGROUND_SRGB``, in sRGB values as browsers and editors do."""
    if alpha is None or bool(alpha.min() >= 1.0):
        return rgb
    run.warn(f"{name} is transparent in places; they were filled with mid-grey")
    a = alpha[..., None]
    flat: F32 = (rgb * a + BACKGROUND_SRGB * (1 - a)).astype(np.float32)
    return flat


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "bad structure" if isinstance(error, struct.error) else text[:120]
