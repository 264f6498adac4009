"""The maps of a skin as they are kept, and their files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import srgb_to_linear
from backend.errors import BadInput

DISPLACEMENT_RANGE_MM = 4.0  # between 0 and 65535; the middle moves nothing
MAP_NAMES = ("albedo", "normal", "relief_normal", "displacement", "roughness", "specular")


@dataclass(frozen=True)
class SkinMaps:
    """Maps of a head's chart, ``S`` texels a side, top row first; beyond the chart's border they go on.

    Relief is split: what is coarse lies in the displacement, what is fine in the normal map, and a renderer
    that applies both shades nothing twice. ``relief_normal`` holds both, where no displacement is applied.
    """

    albedo_srgb: NDArray[np.uint8]  # (S, S, 3)
    normal_u16: NDArray[np.uint16]  # (S, S, 3) tangent space, OpenGL (+Y), MikkTSpace: fine relief
    relief_normal_u16: NDArray[np.uint16]  # (S, S, 3) the same of all relief
    displacement_u16: NDArray[np.uint16]  # (S, S) coarse relief, see DISPLACEMENT_RANGE_MM
    roughness_u8: NDArray[np.uint8]  # (S, S) perceptual, alpha = roughness²
    specular_u8: NDArray[np.uint8]  # (S, S) F0 = 0.08 · specular
    inside: NDArray[np.bool_]  # (S, S) texels of the chart

    @property
    def size(self) -> int:
        """Texels a side."""
        return len(self.inside)

    @property
    def albedo_linear(self) -> F32:
        """``(S, S, 3)``."""
        return srgb_to_linear(self.albedo_srgb.astype(np.float32) / 255)

    @property
    def normal_tangent(self) -> F32:
        """``(S, S, 3)`` unit, of the fine relief."""
        return decoded_normal(self.normal_u16)

    @property
    def relief_tangent(self) -> F32:
        """``(S, S, 3)`` unit, of all relief."""
        return decoded_normal(self.relief_normal_u16)

    @property
    def displacement_mm(self) -> F32:
        """``(S, S)``."""
        return (self.displacement_u16.astype(np.float32) / 65535 - 0.5) * np.float32(DISPLACEMENT_RANGE_MM)

    @property
    def roughness(self) -> F32:
        """``(S, S)``."""
        return self.roughness_u8.astype(np.float32) / 255

    @property
    def specular(self) -> F32:
        """``(S, S)``."""
        return self.specular_u8.astype(np.float32) / 255

    def pictures(self) -> dict[str, NDArray[np.uint8] | NDArray[np.uint16]]:
        """What the files hold, by MAP_NAMES."""
        return {
            "albedo": self.albedo_srgb,
            "normal": self.normal_u16,
            "relief_normal": self.relief_normal_u16,
            "displacement": self.displacement_u16,
            "roughness": self.roughness_u8,
            "specular": self.specular_u8,
        }


def encoded_normal(unit: F32) -> NDArray[np.uint16]:
    """Unit vectors ``(…, 3)`` as 16-bit colours."""
    return np.asarray(np.rint(np.clip(0.5 + 0.5 * unit, 0, 1) * 65535), np.uint16)


def decoded_normal(stored: NDArray[np.uint16]) -> F32:
    """The inverse of ``encoded_normal``."""
    vector = stored.astype(np.float32) / np.float32(32767.5) - 1
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True), np.float32)


def write_maps(maps: SkinMaps, folder: Path) -> None:
    """Write ``<map>.png`` into the new ``folder``, which appears when it is whole.

    Raises: BadInput when ``folder`` exists; OSError when the disk does not take it.
    """
    import cv2

    if folder.exists():
        raise BadInput(f"'{folder}' is there already; delete it or choose another output folder")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for name, image in maps.pictures().items():
            picture = image[..., ::-1] if image.ndim == 3 else image
            if not cv2.imwrite(str(part / f"{name}.png"), picture):
                raise OSError(f"cannot write '{folder / name}.png'; is the disk full?")
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
