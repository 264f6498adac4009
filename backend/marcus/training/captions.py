"""Captions of a set's instances, from what the set knows: with the light, or without it.

The paper trains with captions of the true pictures (JoyCaption); a made-up head has none written, but its
tone, expression and light are known. Wording as a captioner would give it: short, separated by commas.
"""

from __future__ import annotations

from backend.training.schema import InstanceMeta

# Individual typology angle (Chardon 1991), degrees: its classes from the lightest on.
_TONES = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "medium"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-180.0, "dark"),
)
_LIGHTS = {"panorama": "natural light", "studio": "studio light", "sky": "daylight"}
_SHOWN_EXPRESSIONS = 2
_NOTICED = 0.3  # expression weights above this are said


def described_skin(meta: InstanceMeta) -> str:
    """Caption without lighting."""
    tone = next(name for least, name in _TONES if meta.person.tone_ita_degrees >= least)
    strong = sorted(meta.person.expression.items(), key=lambda item: -item[1])[:_SHOWN_EXPRESSIONS]
    moved = [_spaced(name) for name, weight in strong if weight > _NOTICED]
    return ", ".join([f"face with {tone} skin", *moved])


def described_light(meta: InstanceMeta) -> str:
    """Caption with lighting."""
    light = meta.light
    side = light.key_azimuth_degrees
    where = "from the front" if abs(side) < 30 else "from behind" if abs(side) > 120 else ""
    where = where or ("from the left" if side > 0 else "from the right")
    height = " above" if light.key_elevation_degrees > 35 else ""
    contrast = "soft" if light.key_share < 0.35 else "strong" if light.key_share > 0.7 else "moderate"
    return f"{described_skin(meta)}, {_LIGHTS[light.kind]} {where}{height}, {contrast} contrast"


def _spaced(name: str) -> str:
    """ARKit's ``mouthSmileLeft`` as ``mouth smile left``."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name)
