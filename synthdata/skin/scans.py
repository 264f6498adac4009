"""A user's own scan textures in the head's chart, taken instead of a drawn skin or mixed in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import linear_to_srgb
from backend.errors import BadInput, Missing
from backend.exr import read_exr
from synthdata.skin.maps import DISPLACEMENT_RANGE_MM, SkinMaps, encoded_normal

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr")
# Words of file names, as scan shops use them; the first map whose word is in a name takes the file.
WORDS = {
    "normal": ("normal", "nrm"),
    "displacement": ("displacement", "disp", "height"),
    "roughness": ("roughness", "rough", "gloss"),
    "specular": ("specular", "spec"),
    "albedo": ("albedo", "diffuse", "colour", "color", "basecolor"),
}
LEAST_SIZE = 256
COARSE_SHARE = 0.005  # of the chart, about 1.5 mm: relief coarser than this is left to the displacement
ROWS = 256


@dataclass(frozen=True)
class ScanSet:
    """The files of one scan."""

    name: str
    files: dict[str, Path]  # by the names in WORDS
    is_gloss: bool  # the roughness file holds 1 − roughness


def find_scans(folder: Path) -> tuple[ScanSet, ...]:
    """The map sets in ``folder``: it is one, or its subfolders are; sorted by name.

    Raises: Missing when there is none; BadInput when one lacks a map or has two for one.
    """
    if not folder.is_dir():
        raise Missing(f"there is no folder '{folder}' of scan textures")
    places = [folder] if _pictures(folder) else sorted(path for path in folder.iterdir() if path.is_dir())
    found = tuple(_set_of(place) for place in places if _pictures(place))
    if not found:
        raise Missing(f"'{folder}' holds no scan textures; give a folder of maps, or of such folders")
    return found


def read_scan(scan: ScanSet, size: int, normal_green_down: bool = False) -> SkinMaps:
    """A scan's maps at ``size`` texels a side; they must lie in the chart of the head they are for.

    The displacement's middle value moves nothing, its range is DISPLACEMENT_RANGE_MM. ``normal_green_down``:
    the normal map is DirectX's. Raises: BadInput for a map that cannot be read, is not square or is small.
    """
    albedo = _read(scan, "albedo", size, 3)
    normal = 2 * _read(scan, "normal", size, 3) - 1
    if normal_green_down:
        normal[..., 1] *= -1
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    roughness = _read(scan, "roughness", size, 1)
    return SkinMaps(
        albedo_srgb=_bytes(albedo),
        normal_u16=encoded_normal(_fine(normal)),
        relief_normal_u16=encoded_normal(normal),
        displacement_u16=np.asarray(np.rint(65535 * _read(scan, "displacement", size, 1)), np.uint16),
        roughness_u8=_bytes(1 - roughness if scan.is_gloss else roughness),
        specular_u8=_bytes(_read(scan, "specular", size, 1)),
        inside=np.ones((size, size), bool),
    )


def mixed(drawn: SkinMaps, scan: SkinMaps, share: float) -> SkinMaps:
    """``share`` in [0, 1] of a scan mixed into a drawn skin: pigments and slopes, not colours and normals.

    Raises: BadInput when the sizes differ.
    """
    if drawn.size != scan.size:
        raise BadInput(f"a scan of {scan.size} texels cannot be mixed into a skin of {drawn.size}")
    out = SkinMaps(**{name: np.empty_like(value) for name, value in vars(drawn).items()})
    for first in range(0, drawn.size, ROWS):
        rows = slice(first, first + ROWS)
        a, b = (SkinMaps(**{name: value[rows] for name, value in vars(m).items()}) for m in (drawn, scan))
        # Contents of pigments add up in the logarithm of what they leave of the light.
        log = [np.log(np.maximum(m.albedo_linear, 1e-3)) for m in (a, b)]
        out.albedo_srgb[rows] = _bytes(linear_to_srgb(np.exp((1 - share) * log[0] + share * log[1])))
        out.normal_u16[rows] = _between(a.normal_tangent, b.normal_tangent, share)
        out.relief_normal_u16[rows] = _between(a.relief_tangent, b.relief_tangent, share)
        height = (1 - share) * a.displacement_mm + share * b.displacement_mm
        out.displacement_u16[rows] = np.rint(65535 * np.clip(0.5 + height / DISPLACEMENT_RANGE_MM, 0, 1))
        out.roughness_u8[rows] = _bytes((1 - share) * a.roughness + share * b.roughness)
        out.specular_u8[rows] = _bytes((1 - share) * a.specular + share * b.specular)
        out.inside[rows] = a.inside & b.inside
    return out


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _set_of(folder: Path) -> ScanSet:
    files: dict[str, Path] = {}
    for path in _pictures(folder):
        name = next((k for k, words in WORDS.items() if any(w in path.stem.lower() for w in words)), None)
        if name is None:
            continue  # cavity, scatter, previews: shops add more than is needed
        if name in files:
            raise BadInput(
                f"scan '{folder.name}' has two {name} maps, '{files[name].name}' and '{path.name}'"
            )
        files[name] = path
    lacking = [name for name in WORDS if name not in files]
    if lacking:
        words = " or ".join(f"*{word}*" for word in WORDS[lacking[0]])
        raise BadInput(f"scan '{folder.name}' lacks its {', '.join(lacking)} map; name the file {words}")
    return ScanSet(folder.name, files, "gloss" in files["roughness"].stem.lower())


def _read(scan: ScanSet, name: str, size: int, channels: int) -> F32:
    """A map in [0, 1], ``(size, size)`` or ``(size, size, 3)`` in RGB."""
    import cv2

    path = scan.files[name]
    if path.suffix.lower() == ".exr":
        stored = read_exr(path)
        image = stored if stored.ndim == 2 else stored[..., ::-1]
    else:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BadInput(f"scan '{scan.name}': '{path.name}' is not a picture that can be read")
    height, width = image.shape[:2]
    if height != width or height < LEAST_SIZE:
        raise BadInput(
            f"scan '{scan.name}': '{path.name}' is {width}×{height}; maps are square, {LEAST_SIZE} or more"
        )
    if image.dtype in (np.uint8, np.uint16):
        full = np.float32(255 if image.dtype == np.uint8 else 65535)
    else:
        full = np.float32(1.0)
    image = image[..., None] if image.ndim == 2 else image[..., :3]
    if height != size:
        way = cv2.INTER_AREA if height > size else cv2.INTER_CUBIC
        image = cv2.resize(image.astype(np.float32), (size, size), interpolation=way).reshape(size, size, -1)
    values = np.clip(image.astype(np.float32) / full, 0, 1)
    if channels == 1:
        return np.ascontiguousarray(values[..., 0])
    return np.ascontiguousarray(np.repeat(values, 3, 2) if values.shape[2] == 1 else values[..., ::-1])


def _fine(normal: F32) -> F32:
    """What is left of normals without their coarse slopes, which the displacement holds."""
    import cv2

    slope = normal[..., :2] / np.maximum(normal[..., 2:], 0.05)
    slope = slope - cv2.GaussianBlur(slope, (0, 0), max(COARSE_SHARE * len(normal), 0.5))
    return _unit(slope)


def _between(a: F32, b: F32, share: float) -> NDArray[np.uint16]:
    slope = [m[..., :2] / np.maximum(m[..., 2:], 0.05) for m in (a, b)]
    return encoded_normal(_unit((1 - share) * slope[0] + share * slope[1]))


def _unit(slope: F32) -> F32:
    up = np.concatenate([slope, np.ones_like(slope[..., :1])], -1)
    return np.asarray(up / np.linalg.norm(up, axis=-1, keepdims=True), np.float32)


def _bytes(values: F32) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)
