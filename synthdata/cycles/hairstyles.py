"""Cuts of hair: how long, how it is laid, how it waves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from synthdata.cycles.groom import Growth, Texture

Comb = Literal["aside", "back", "forward", "down", "tied", "out"]


@dataclass(frozen=True)
class Style:
    """How a head's hair is cut and laid."""

    comb: Comb
    top_m: float  # lengths: on the skull's top …
    side_m: float  # … and at ears and nape
    strands: int  # Blender's nodes put a double beside each
    radius_m: float
    growth: Growth
    texture: Texture
    lift: float  # share of the skin's normal in the first direction, on top; half of it at the sides
    fringe_m: float = 0.0  # length of what falls over the forehead; 0: nothing does
    knot: Literal["", "bun", "tail"] = ""


_TIED, _SLEEK = Growth(14, 1.6, 0.0, (0.001, 0.006), 0.3), Texture(0.35, 60, frizz_m=0.0012)
STYLES: dict[str, Style] = {
    "buzz": Style(
        "out", 0.006, 0.004, 25000, 5.8e-5, Growth(3, 0.0, 0.0, (0.0, 0.001)),
        Texture(0, 60, frizz_m=4e-4), 0.8,
    ),
    "crop": Style(
        "forward", 0.028, 0.010, 26000, 6.2e-5, Growth(6, 0.5, 0.05, (0.001, 0.012), 0.2),
        Texture(0.15, 20, wave_m=0.0006, wave_length_m=0.03, frizz_m=0.0014), 0.50,
    ),
    "quiff": Style(
        "back", 0.060, 0.011, 26000, 6.2e-5, Growth(9, 0.55, 0.02, (0.002, 0.020)),
        Texture(0.5, 40, wave_m=0.002, wave_length_m=0.05, frizz_m=0.0015), 0.75,
    ),
    "side part": Style(
        "aside", 0.075, 0.016, 26000, 6.2e-5, Growth(10, 0.5, 0.22, (0.001, 0.012), 0.35),
        Texture(0.4, 36, wave_m=0.0015, wave_length_m=0.06, frizz_m=0.001), 0.42,
    ),
    "tousled": Style(
        "aside", 0.085, 0.045, 25000, 6.6e-5, Growth(12, 0.28, 0.22, (0.003, 0.022)),
        Texture(0.65, 36, wave_m=0.005, wave_length_m=0.055, frizz_m=0.003), 0.65, fringe_m=0.055,
    ),
    "slick back": Style(
        "back", 0.105, 0.055, 26000, 6.2e-5, Growth(12, 0.85, 0.05, (0.001, 0.008), 0.4),
        Texture(0.5, 50, frizz_m=0.0008), 0.22,
    ),
    "curls": Style(
        "aside", 0.085, 0.040, 19000, 7.4e-5, Growth(14, 0.22, 0.20, (0.004, 0.028)),
        Texture(0.85, 42, wave_m=0.006, wave_length_m=0.026, frizz_m=0.002), 0.75, fringe_m=0.06,
    ),
    "coils": Style(
        "out", 0.016, 0.009, 30000, 6.6e-5, Growth(8, 0.0, 0.0, (0.0, 0.006)),
        Texture(0.7, 14, wave_m=0.0020, wave_length_m=0.006, frizz_m=0.001), 0.9,
    ),
    "afro": Style(
        "out", 0.080, 0.062, 22000, 7.4e-5, Growth(16, 0.25, 0.02, (0.0, 0.03)),
        Texture(0.6, 16, wave_m=0.0042, wave_length_m=0.011, frizz_m=0.004, uneven=0.18), 0.95,
    ),
    "bob": Style(
        "down", 0.190, 0.125, 25000, 6.6e-5, Growth(18, 0.35, 0.42, (0.002, 0.018), 0.12),
        Texture(0.45, 60, wave_m=0.003, wave_length_m=0.12, frizz_m=0.0018, uneven=0.06), 0.42,
    ),
    "bob with fringe": Style(
        "down", 0.195, 0.130, 25000, 6.6e-5, Growth(18, 0.35, 0.42, (0.002, 0.016), 0.12),
        Texture(0.4, 60, wave_m=0.002, wave_length_m=0.12, frizz_m=0.0015, uneven=0.05), 0.38, fringe_m=0.075,
    ),
    "long": Style(
        "down", 0.36, 0.27, 25000, 7e-5, Growth(24, 0.30, 0.45, (0.002, 0.020), 0.12),
        Texture(0.45, 70, wave_m=0.005, wave_length_m=0.15, frizz_m=0.0025), 0.40,
    ),
    "long with fringe": Style(
        "down", 0.36, 0.27, 25000, 7e-5, Growth(24, 0.30, 0.45, (0.002, 0.018), 0.12),
        Texture(0.45, 70, wave_m=0.004, wave_length_m=0.16, frizz_m=0.002), 0.38, fringe_m=0.078,
    ),
    "long waves": Style(
        "down", 0.36, 0.28, 22000, 7.4e-5, Growth(28, 0.28, 0.42, (0.003, 0.028), 0.05),
        Texture(0.7, 60, wave_m=0.011, wave_length_m=0.085, frizz_m=0.003), 0.50,
    ),
    "long curls": Style(
        "down", 0.30, 0.24, 18000, 7.8e-5, Growth(32, 0.22, 0.38, (0.004, 0.035)),
        Texture(0.85, 48, wave_m=0.010, wave_length_m=0.038, frizz_m=0.004), 0.62,
    ),
    "shoulder": Style(
        "down", 0.26, 0.19, 25000, 7e-5, Growth(22, 0.32, 0.42, (0.002, 0.022), 0.1),
        Texture(0.55, 60, wave_m=0.006, wave_length_m=0.10, frizz_m=0.0025), 0.45,
    ),
    "bun": Style("tied", 0, 0, 19000, 6.6e-5, _TIED, _SLEEK, 0.15, knot="bun"),
    "tail": Style("tied", 0, 0, 19000, 6.6e-5, _TIED, _SLEEK, 0.15, knot="tail"),
    "bun with fringe": Style("tied", 0, 0, 19000, 6.6e-5, _TIED, _SLEEK, 0.15, fringe_m=0.075, knot="bun"),
}  # fmt: skip
