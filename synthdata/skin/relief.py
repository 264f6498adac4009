"""The relief of skin in millimetres: hollows and growths are coarse, creases, pores and furrows fine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.artifacts import F32
from synthdata.skin.fields import FURROW_WAVE, WAVE, stay
from synthdata.skin.seen import Seen, smoothstep
from synthdata.skin.structure import HEIGHT

# Variance of the slope along one direction of the surface, of unit fields with unit wavelength or cell.
NOISE_SLOPE_VARIANCE = 6.8
FURROW_SLOPE_VARIANCE = 13.3
HAIR_MM = 0.03  # how far a lying hair stands out


@dataclass(frozen=True)
class Relief:
    """Heights at ``N`` texels and their gradients in space."""

    coarse_mm: F32  # (N,)
    coarse_slope: F32  # (N, 3)
    fine_mm: F32  # (N,)
    fine_slope: F32  # (N, 3)
    lost_slope_variance: F32  # (N,) of what the texels are too coarse to hold
    fold_mm: F32  # (N,) depth of the folds
    pore_mm: F32  # (N,) depth of the pores
    furrow: F32  # (N,) −1 in furrows, of mean 0
    lips: F32  # (N,) the red of the lips, with its border
    growths: F32  # (N, 3)
    drops_mm: F32  # (N,)
    beard: F32  # (N,) share covered by hair
    brows: F32  # (N,)
    scalp: F32  # (N,)


def relief(seen: Seen) -> Relief:
    """The relief at the texels."""
    p = seen.parameters
    age = p.wrinkles
    edge = 0.03 * seen.noise(2.2, 1) + 0.02 * seen.noise(0.9, 2)
    lips = smoothstep(0.22, 0.78, seen("lips") + edge * (1 - seen("mouth_inside")))
    bare = (1 - lips) * (1 - seen("nostrils")) * (1 - seen("mouth_inside"))
    calm = bare * (1 - 0.75 * seen("eyelids"))
    total = _Sum(seen)

    soft = calm * np.float32(0.016 * (0.7 + 0.9 * age))
    for wavelength, amount, salt in ((11.0, 1.0, 3), (5.5, 0.55, 4)):
        total.coarse(soft * np.float32(amount), *seen.noise_with_slope(wavelength, salt))
    inner = 1 - seen("mouth_inside")
    fold, fold_slope = seen.strongest("folds")
    total.fine(-inner, fold, fold_slope)
    total.coarse(-inner, *seen.strongest("valleys"))
    growths, growth_slope = seen.spots("growths")
    total.coarse(inner, growths[:, HEIGHT], growth_slope)

    plump = seen("cheeks") + seen("chin") + 0.6 * seen("nose")
    for wavelength, amount, salt in ((2.6, 0.013, 5), (1.3, 0.010, 6), (0.65, 0.006, 12)):
        total.noise(calm * np.float32(amount) * (0.6 + 0.5 * plump), wavelength, salt)
    pores, pore_slope = seen.spots("pores")
    total.fine(calm, pores[:, HEIGHT], pore_slope)
    # Furrows deepen with age and are shallow where skin is thin and taut.
    depth = bare * np.float32(0.017 + 0.012 * age) * (0.75 + 0.35 * seen("neck") - 0.25 * seen("nose"))
    furrow = total.furrows(depth, 0.80, 7)
    total.furrows(np.float32(0.35) * depth, 0.36, 8)
    crepe = (
        bare
        * np.float32(0.05 * age)
        * np.clip(seen("under_eye") + 0.5 * seen("neck") + 0.3 * seen("cheeks"), 0, 1)
    )
    total.valleys(crepe, 0.9, 9, (2.5, 1.0, 2.5), 0.7)
    # The lips' grooves run from border to border.
    total.valleys(lips * inner * np.float32(0.050 + 0.03 * age), 1.5, 10, (1.0, 6.0, 6.0), 0.9)
    total.valleys(lips * inner * np.float32(0.020), 0.7, 11, (1.0, 4.0, 4.0), 0.9)
    drops, drop_slope = seen.spots("drops")
    total.fine(bare, drops[:, HEIGHT], drop_slope)
    hair = []
    for name in ("beard", "brows", "scalp"):
        cover, slope = seen.covered(name)
        total.fine(HAIR_MM * inner * (1 - cover), cover, slope)
        hair.append(cover * inner)
    return Relief(
        coarse_mm=total.coarse_mm,
        coarse_slope=total.coarse_slope,
        fine_mm=total.fine_mm,
        fine_slope=total.fine_slope,
        lost_slope_variance=total.lost,
        fold_mm=fold * inner,
        pore_mm=-pores[:, HEIGHT] * calm,
        furrow=furrow * bare,
        lips=lips,
        growths=growths,
        drops_mm=drops[:, HEIGHT] * bare,
        beard=hair[0],
        brows=hair[1],
        scalp=hair[2],
    )


class _Sum:
    """Heights added up, with their gradients; amounts count as constant, as they change slowly."""

    def __init__(self, seen: Seen) -> None:
        count = len(seen.texels.row)
        self.seen = seen
        self.coarse_mm, self.fine_mm, self.lost = (np.zeros(count, np.float32) for _ in range(3))
        self.coarse_slope, self.fine_slope = (np.zeros((count, 3), np.float32) for _ in range(2))

    def coarse(self, amount: F32, height: F32, slope: F32) -> None:
        """Add ``amount · height`` to what displaces."""
        self.coarse_mm += amount * height
        self.coarse_slope += amount[:, None] * slope

    def fine(self, amount: F32, height: F32, slope: F32) -> None:
        """Add ``amount · height`` to what only bends normals."""
        self.fine_mm += amount * height
        self.fine_slope += amount[:, None] * slope

    def noise(self, amount: F32, wavelength_mm: float, salt: int) -> None:
        """Fine noise."""
        self.fine(amount, *self.seen.noise_with_slope(wavelength_mm, salt))
        self._lose(amount, WAVE * wavelength_mm, NOISE_SLOPE_VARIANCE * WAVE**2)

    def furrows(self, amount: F32, cell_mm: float, salt: int) -> F32:
        """A fine net; returns it."""
        value, slope = self.seen.furrows(cell_mm, salt)
        self.fine(amount, value, slope)
        self._lose(amount, FURROW_WAVE * cell_mm, FURROW_SLOPE_VARIANCE * FURROW_WAVE**2)
        return value

    def valleys(
        self, amount: F32, wavelength_mm: float, salt: int, stretch: tuple[float, float, float], width: float
    ) -> None:
        """Fine narrow valleys along the axes by which noise is stretched."""
        value, slope = self.seen.noise_with_slope(wavelength_mm, salt, stretch)
        keep = stay(WAVE * wavelength_mm * width, self.seen.texels.footprint_mm)
        deep = np.exp(-((value / width) ** 2))
        mean = np.float32(width / np.sqrt(width * width + 2.0))  # of ``deep`` for a normal deviate
        self.fine(amount * keep, mean - deep, (2 * value / width**2 * deep)[:, None] * slope)

    def _lose(self, amount: F32, wavelength_mm: float, unit_variance: float) -> None:
        gone = 1 - stay(wavelength_mm, self.seen.texels.footprint_mm) ** 2
        self.lost += np.float32(unit_variance / wavelength_mm**2) * amount**2 * gone
