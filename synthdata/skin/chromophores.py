"""The colour of skin from what it is made of: two layers, melanin above blood, summed over wavelengths.

Epidermis over dermis, each a layer of Kubelka and Munk (1931); what comes out is corrected for reflection at
the inner side of the surface (Saunderson 1942). Absorption: melanosomes and tissue without pigment after
Jacques (Physics in Medicine and Biology 58, 2013), haemoglobin after the table of Prahl (Oregon Medical
Laser Center, 1998); scattering: the skin average of Jacques (2013). Colours under D65 for the 1931 observer
in the analytic form of Wyman, Sloan and Shirley (JCGT 2, 2013).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.colour import RGB_TO_XYZ

F64 = NDArray[np.float64]


def _table(numbers: str) -> F64:
    return np.array(numbers.split(), np.float64)


WAVELENGTH_NM = np.arange(400.0, 701.0, 10.0)
# Molar extinction in 1/(cm·M), 400 to 700 nm in steps of 10 (Prahl).
_OXYGENATED = _table(
    "266232 466840 480360 246072 102580 62816 44480 33209 26629 23684 20933 20035 24202 39957 53236 "
    "43016 32613 44496 50104 14401 3200 1506 942 610 442 368 320 294 278 276 290.0"
)
_DEOXYGENATED = _table(
    "223296 303956 407560 528600 413280 103292 23389 16156 14550 16684 20862 25774 31590 39036 46592 "
    "53412 53788 45072 37020 28324 14677 9444 6510 5149 4345 3750 3227 2795 2408 2052 1794.0"
)
_D65 = _table(
    "82.75 91.49 93.43 86.68 104.86 117.01 117.81 114.86 115.92 108.81 109.35 107.8 104.79 107.69 "
    "104.41 104.05 100.0 96.33 95.79 88.69 90.01 89.6 87.7 83.29 83.7 80.03 80.21 82.28 78.28 69.72 "
    "71.61"
)
_MOLES_PER_CM3 = 150.0 / 64500.0 * np.log(10.0)  # of haemoglobin in whole blood, times ln 10
_INNER_REFLECTION = 0.53  # diffuse light at the inner side of a surface of refractive index 1.4

EPIDERMIS_CM = 0.0080  # thickness of the living epidermis of the face
OXYGENATION = 0.70  # of the blood in the dermis

# The grid of the table: fractions by volume of melanosomes in the epidermis, of blood in the dermis.
MELANIN_RANGE = (0.002, 0.90)
BLOOD_RANGE = (0.001, 0.30)
TABLE_SIZE = 64


def absorption_blood(oxygenation: float) -> F64:
    """1/cm of whole blood at WAVELENGTH_NM."""
    mixed = oxygenation * _OXYGENATED + (1 - oxygenation) * _DEOXYGENATED
    return np.asarray(_MOLES_PER_CM3 * mixed, np.float64)


def absorption_melanosome() -> F64:
    """1/cm of the inside of a melanosome at WAVELENGTH_NM."""
    return np.asarray(519.0 * (WAVELENGTH_NM / 500.0) ** -3.5, np.float64)


def absorption_tissue() -> F64:
    """1/cm of skin without blood and melanin at WAVELENGTH_NM."""
    return np.asarray(7.84e7 * WAVELENGTH_NM**-3.255, np.float64)


def scattering_reduced() -> F64:
    """1/cm at WAVELENGTH_NM."""
    return np.asarray(46.0 * (WAVELENGTH_NM / 500.0) ** -1.421, np.float64)


def reflectance(
    melanin: NDArray[np.floating[Any]], blood: NDArray[np.floating[Any]], oxygenation: float = OXYGENATION
) -> F64:
    """Diffuse reflectance ``(…, 31)`` at WAVELENGTH_NM without the surface's own gloss.

    ``melanin`` ``(…)``: share of the epidermis' volume that is melanosomes; ``blood`` ``(…)``: share of the
    dermis' volume that is blood.
    """
    m, b = np.asarray(melanin, np.float64)[..., None], np.asarray(blood, np.float64)[..., None]
    scatter = 0.75 * scattering_reduced()
    absorb = 2 * (m * absorption_melanosome() + (1 - m) * absorption_tissue())
    ratio = 2 * (b * absorption_blood(oxygenation) + (1 - b) * absorption_tissue()) / scatter
    dermis = 1 + ratio - np.sqrt(ratio * (ratio + 2))
    a = 1 + absorb / scatter
    c = np.sqrt(a * a - 1)
    depth = np.minimum(c * scatter * EPIDERMIS_CM, 50.0)
    below = a * np.sinh(depth) + c * np.cosh(depth)
    reflected, passed = np.sinh(depth) / below, c / below
    inner = reflected + passed**2 * dermis / (1 - reflected * dermis)
    return np.asarray((1 - _INNER_REFLECTION) * inner / (1 - _INNER_REFLECTION * inner))


def linear_of_spectrum(spectrum: NDArray[np.floating[Any]]) -> F64:
    """Linear Rec. 709 ``(…, 3)`` of reflectances ``(…, 31)`` under D65; a perfect white is (1, 1, 1)."""
    return np.asarray(np.asarray(spectrum, np.float64) @ _to_linear())


def skin_linear(
    melanin: NDArray[np.floating[Any]], blood: NDArray[np.floating[Any]], oxygenation: float = OXYGENATION
) -> F64:
    """Linear albedo ``(…, 3)``; see ``reflectance``."""
    return linear_of_spectrum(reflectance(melanin, blood, oxygenation))


@lru_cache(maxsize=1)
def colour_table() -> NDArray[np.float32]:
    """Logarithms of ``skin_linear`` ``(TABLE_SIZE, TABLE_SIZE, 3)`` over log melanin and log blood."""
    m, b = (np.geomspace(low, high, TABLE_SIZE) for low, high in (MELANIN_RANGE, BLOOD_RANGE))
    linear = np.maximum(skin_linear(m[:, None], b[None, :]), 1e-4)
    table: NDArray[np.float32] = np.log(linear).astype(np.float32)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=1)
def _to_linear() -> F64:
    weight = _observer() * _D65[:, None]
    rgb = weight @ np.linalg.inv(RGB_TO_XYZ).T
    return np.asarray(rgb / rgb.sum(0))


def _observer() -> F64:
    """x̄, ȳ, z̄ ``(31, 3)``."""

    def lobe(mean: float, below: float, above: float) -> F64:
        gap = WAVELENGTH_NM - mean
        return np.asarray(np.exp(-0.5 * (gap * np.where(gap < 0, below, above)) ** 2))

    x = 0.362 * lobe(442.0, 0.0624, 0.0374) + 1.056 * lobe(599.8, 0.0264, 0.0323)
    x = x - 0.065 * lobe(501.1, 0.0490, 0.0382)
    y = 0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322)
    z = 1.217 * lobe(437.0, 0.0845, 0.0278) + 0.681 * lobe(459.0, 0.0385, 0.0725)
    return np.stack([x, y, z], -1)
