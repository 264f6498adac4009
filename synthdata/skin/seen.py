"""What the maps' makers look at: texels with their regions, and fields and marks evaluated there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32
from synthdata.skin.fields import furrows, noise
from synthdata.skin.marks import Grid, Lines, Spots
from synthdata.skin.parameters import SkinParameters
from synthdata.skin.structure import Structure
from synthdata.skin.surface import Texels


@dataclass(frozen=True)
class Seen:
    """Some texels of one skin."""

    parameters: SkinParameters
    names: tuple[str, ...]  # of the layers
    texels: Texels
    structure: Structure
    grids: dict[str, Grid]

    def __call__(self, layer: str) -> F32:
        """A layer's weights ``(N,)``."""
        return np.ascontiguousarray(self.texels.layers[:, self.names.index(layer)])

    def noise(self, wavelength_mm: float, salt: int) -> F32:
        """Unit noise ``(N,)``."""
        return self.noise_with_slope(wavelength_mm, salt)[0]

    def noise_with_slope(
        self, wavelength_mm: float, salt: int, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ) -> tuple[F32, F32]:
        """Unit noise ``(N,)``, ``stretch`` times as long along the axes, and its gradient ``(N, 3)``."""
        scale = 1 / np.array(stretch, np.float32)
        points = np.ascontiguousarray(self.texels.points_mm * scale)
        value, slope = noise(points, self.texels.footprint_mm, wavelength_mm, self._seed(salt))
        return value, slope * scale

    def furrows(self, cell_mm: float, salt: int) -> tuple[F32, F32]:
        """A net of furrows ``(N,)`` and its gradient ``(N, 3)``."""
        return furrows(self.texels.points_mm, self.texels.footprint_mm, cell_mm, self._seed(salt))

    def spots(self, name: str) -> tuple[F32, F32]:
        """Sums of the spots ``name`` ``(N, C)`` and the gradient of the first ``(N, 3)``."""
        marks = getattr(self.structure, name)
        assert isinstance(marks, Spots)
        t = self.texels
        return marks.at(self.grids[name], t.points_mm, t.normal, t.footprint_mm)

    def strongest(self, name: str) -> tuple[F32, F32]:
        """Depth ``(N,)`` of the lines ``name`` and its gradient ``(N, 3)``."""
        marks = getattr(self.structure, name)
        assert isinstance(marks, Lines)
        t = self.texels
        return marks.strongest(self.grids[name], t.points_mm, t.normal, t.footprint_mm)

    def covered(self, name: str) -> tuple[F32, F32]:
        """Share ``(N,)`` that the lines ``name`` cover, and the gradient of their sum ``(N, 3)``."""
        marks = getattr(self.structure, name)
        assert isinstance(marks, Lines)
        t = self.texels
        return marks.covered(self.grids[name], t.points_mm, t.normal, t.footprint_mm)

    def _seed(self, salt: int) -> int:
        return (self.parameters.seed * 7919 + salt * 104729) & 0x7FFFFFFF


def smoothstep(low: float, high: float, value: F32) -> F32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
