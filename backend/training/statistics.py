"""What a training set is made of: counts by tone, pose and light."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from backend.training.schema import InstanceMeta, MomentMeta, PersonMeta

# Chardon's classes of the individual typology angle, degrees: where each begins.
TONES = (
    ("dark", -90.0),
    ("brown", -30.0),
    ("tan", 10.0),
    ("intermediate", 28.0),
    ("light", 41.0),
    ("very light", 55.0),
)


@dataclass(frozen=True)
class Histogram:
    """Counts of one quantity."""

    title: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]


def histograms(metas: Iterable[InstanceMeta]) -> tuple[Histogram, ...]:
    """Of all instances, in the order they are shown."""
    found = list(metas)
    colour = [_warmth(meta) for meta in found]
    return (
        _tones([meta.person.tone_ita_degrees for meta in found]),
        _counted(
            "yaw of the camera, °", [m.yaw_degrees for m in found], (-80, -60, -40, -20, 0, 20, 40, 60, 80)
        ),
        _counted("pitch of the camera, °", [m.pitch_degrees for m in found], (-30, -20, -10, 0, 10, 20, 30)),
        _named("light", [m.light.kind for m in found], ("panorama", "studio", "sky")),
        _counted(
            "key light from, °", [m.light.key_azimuth_degrees for m in found], tuple(range(-180, 181, 45))
        ),
        _counted(
            "key light above, °", [m.light.key_elevation_degrees for m in found], (-90, -30, 0, 30, 60, 90)
        ),
        _counted("key over all", [m.light.key_share for m in found], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        _counted("red over blue of the light", colour, (0.0, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)),
        _counted(
            "share of the chart seen", [m.seen_share for m in found], (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
        ),
        *_people([meta.person for meta in found]),
    )


def moment_histograms(metas: Iterable[MomentMeta]) -> tuple[Histogram, ...]:
    """Of all moments of a dome, in the order they are shown."""
    found = list(metas)
    strongest = [max(m.person.expression.items(), key=lambda item: item[1], default=("", 0)) for m in found]
    eyes = [(m.gaze_degrees[0][0] + m.gaze_degrees[1][0]) / 2 for m in found]
    return (
        _tones([meta.person.tone_ita_degrees for meta in found]),
        _counted("eyes to the subject's left, °", eyes, (-30, -20, -10, -3, 3, 10, 20, 30)),
        _counted(
            "eyes upwards, °",
            [(m.gaze_degrees[0][1] + m.gaze_degrees[1][1]) / 2 for m in found],
            (-25, -15, -8, -3, 3, 8, 15, 25),
        ),
        _counted(
            "strongest expression", [weight for _, weight in strongest], (0.0, 0.01, 0.25, 0.5, 0.75, 1.01)
        ),
        _named("light", [_light_of(m) for m in found], ("dome", "panorama", "studio", "sky")),
        _counted(
            "jaw open", [m.person.expression.get("jawOpen", 0.0) for m in found], (0, 0.01, 0.2, 0.4, 0.7)
        ),
        *_people([meta.person for meta in found]),
    )


def _people(persons: Sequence[PersonMeta]) -> tuple[Histogram, ...]:
    """Of those whose age and sex are known."""
    ages = [p.age_years for p in persons if p.age_years is not None]
    sexes = ["man" if p.is_male else "woman" for p in persons if p.is_male is not None]
    if not ages or not sexes:
        return ()
    return _counted("age, years", ages, (15, 25, 35, 45, 55, 65, 86)), _named("sex", sexes, ("woman", "man"))


def _light_of(meta: MomentMeta) -> str:
    return "dome" if meta.light.name == "dome" else meta.light.kind


def _warmth(meta: InstanceMeta) -> float:
    mean = np.maximum(np.array(meta.light.radiance_sh[0]), 1e-9)
    return float(mean[0] / mean[2])


def _tones(angles: Sequence[float]) -> Histogram:
    starts = np.array([start for _, start in TONES])
    at = np.maximum(np.searchsorted(starts, np.array(angles), side="right") - 1, 0)
    counts = np.bincount(at, minlength=len(TONES))
    return Histogram("skin tone (ITA)", tuple(name for name, _ in TONES), tuple(int(c) for c in counts))


def _named(title: str, values: Sequence[str], names: tuple[str, ...]) -> Histogram:
    return Histogram(title, names, tuple(sum(value == name for value in values) for name in names))


def _counted(title: str, values: Sequence[float], edges: tuple[float, ...]) -> Histogram:
    """Counts between ``edges``; what lies beyond is in the first and last."""
    held = np.clip(np.array(values, np.float64), edges[0], np.nextafter(edges[-1], -np.inf))
    counts, _ = np.histogram(held, edges)
    labels = tuple(f"{low:g} … {high:g}" for low, high in itertools.pairwise(edges))
    return Histogram(title, labels, tuple(int(c) for c in counts))
