"""Random studios: a few lamps before a dim room."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, F64
from backend.shading import latlong
from backend.shading.studio import direction

_ROWS = 128


def lamp(azimuth_deg: float, elevation_deg: float, radius_deg: float, colour_linear: F64) -> F32:
    """A round lamp ``(128, 256, 3)`` with a soft rim that lights a card facing it with radiance 1, mean.

    ``azimuth_deg`` is 0 before the face, positive on its left.
    """
    towards = latlong.directions(_ROWS) @ direction(azimuth_deg, elevation_deg)
    angle = np.degrees(np.arccos(np.clip(towards, -1, 1)))
    t = np.clip((radius_deg - angle) / (0.3 * radius_deg) + 0.5, 0, 1)
    shape = t * t * (3 - 2 * t)
    onto_card = float((shape * np.maximum(towards, 0) * latlong.solid_angles(_ROWS)).sum()) / np.pi
    return np.asarray(shape[..., None] / max(onto_card, 1e-9) * colour_linear, np.float32)


def room(above_linear: F64, below_linear: F64) -> F32:
    """What walls, ceiling and floor give back: ``(128, 256, 3)``, soft across the horizon."""
    t = 0.5 + 0.5 * np.tanh(latlong.directions(_ROWS)[..., 1:2] / 0.35)
    return np.asarray(above_linear * t + below_linear * (1 - t), np.float32)


def random_studio(rng: np.random.Generator) -> tuple[str, F32]:
    """A name and its light, a card before the face at about radiance 1.

    Key and fill and rim; one hard lamp from the side; a flash at the camera; two coloured lamps.
    """
    kind = str(rng.choice(("key and fill", "one side", "flash", "coloured"), p=(0.5, 0.2, 0.12, 0.18)))
    side = float(rng.choice((-1.0, 1.0)))
    dim = 10 ** rng.uniform(-1.6, -0.7)
    light = room(dim * _tint(rng, 0.1), 0.5 * dim * _tint(rng, 0.15))
    if kind == "key and fill":
        light = light + lamp(
            side * rng.uniform(15, 70), rng.uniform(10, 55), rng.uniform(6, 30), _tint(rng, 0.12)
        )
        ratio = 1 / rng.uniform(2, 8)
        light += np.float32(ratio) * lamp(
            -side * rng.uniform(25, 80), rng.uniform(-5, 30), rng.uniform(15, 40), _tint(rng, 0.12)
        )
        if rng.random() < 0.6:
            light += np.float32(rng.uniform(0.5, 2)) * lamp(
                side * rng.uniform(130, 175), rng.uniform(10, 50), rng.uniform(5, 18), _tint(rng, 0.12)
            )
    elif kind == "one side":
        light = light + lamp(
            side * rng.uniform(60, 110), rng.uniform(-10, 45), rng.uniform(4, 14), _tint(rng, 0.15)
        )
    elif kind == "flash":
        light = light + lamp(rng.uniform(-8, 8), rng.uniform(2, 14), rng.uniform(3, 6), _tint(rng, 0.04))
    else:
        light = light + lamp(
            side * rng.uniform(30, 80), rng.uniform(0, 40), rng.uniform(8, 25), _tint(rng, 0.6)
        )
        light += np.float32(rng.uniform(0.4, 1)) * lamp(
            -side * rng.uniform(40, 120), rng.uniform(0, 40), rng.uniform(8, 25), _tint(rng, 0.6)
        )
    return kind, np.asarray(light, np.float32)


def _tint(rng: np.random.Generator, spread: float) -> F64:
    """A colour of mean 1, off grey by about ``spread``."""
    colour = np.exp(spread * rng.normal(size=3))
    return np.asarray(colour / colour.mean())
