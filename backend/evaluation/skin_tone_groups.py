"""Skin-tone error per case, and by group of skin tone with the gap between the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import BadInput
from backend.evaluation.cases import Case
from backend.evaluation.own_view import draw
from backend.evaluation.prediction import Prediction
from backend.evaluation.registration import PHOTO, own_camera
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.skin_tone import (
    ITA_GROUPS,
    Colours,
    delta_e_2000,
    group_gap,
    ita_degrees,
    lab_of_linear,
    mean_by_group,
)
from backend.evaluation.truth_masks import both, buffer, skin_of


@dataclass(frozen=True)
class SkinTone:
    """Two skins, each by the mean of its linear albedo over the visible facial skin."""

    truth_ita_degrees: float
    own_ita_degrees: float
    delta_e: float  # CIEDE2000 between the two means
    delta_e_pixels: float  # mean over the pixels

    @property
    def ita_error_degrees(self) -> float:
        """Positive where the reconstruction is too light."""
        return self.own_ita_degrees - self.truth_ita_degrees


def skin_tone(case: Case, prediction: Prediction) -> SkinTone | None:
    """Both tones from the photo's camera; None where the two share no pixel. Raises: BadInput, ValueError."""
    truth = case.view(PHOTO)
    colours = np.asarray(buffer(truth, "albedo_linear", "skin tone"), np.float64)
    skin = skin_of(truth)
    own = draw(prediction, own_camera(case, prediction, PHOTO, truth.camera))
    mask = both(skin, own.covered)
    return compare_tones(own.albedo_linear[mask], colours[mask]) if mask.any() else None


def compare_tones(own_linear: Colours, truth_linear: Colours) -> SkinTone:
    """Tones of matched linear albedos ``(N, 3)``."""
    own, truth = np.asarray(own_linear, np.float64), np.asarray(truth_linear, np.float64)
    mean_own, mean_truth = lab_of_linear(own.mean(0)), lab_of_linear(truth.mean(0))
    return SkinTone(
        truth_ita_degrees=float(ita_degrees(mean_truth)),
        own_ita_degrees=float(ita_degrees(mean_own)),
        delta_e=float(delta_e_2000(mean_own, mean_truth)),
        delta_e_pixels=float(delta_e_2000(lab_of_linear(own), lab_of_linear(truth)).mean()),
    )


def measure(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """ITA and ΔE2000 of one case."""
    tone = skin_tone(case, prediction)
    if tone is None:
        return {}
    return {
        "skin_ita_error_degrees": abs(tone.ita_error_degrees),
        "skin_delta_e_2000": tone.delta_e,
        "skin_delta_e_2000_pixels": tone.delta_e_pixels,
    }


def over_cases(pairs: Sequence[tuple[Case, Prediction]]) -> Values:
    """Means by the truth's group, signed for ITA, and the gaps between the groups."""
    tones: list[tuple[float, SkinTone]] = []
    for case, prediction in pairs:
        if not case.has(f"view {PHOTO}"):
            continue
        try:
            tone = skin_tone(case, prediction)
        except (BadInput, ValueError):
            continue  # said in that case's own result
        if tone is not None:
            told = case.record.skin_tone_ita_degrees
            tones.append((tone.truth_ita_degrees if told is None else told, tone))
    return tables(tones)


def tables(tones: Sequence[tuple[float, SkinTone]]) -> Values:
    """``over_cases`` for tones with the angles that tell their group."""
    colour = mean_by_group((angle, tone.delta_e) for angle, tone in tones)
    angle = mean_by_group((at, tone.ita_error_degrees) for at, tone in tones)
    values: dict[str, float | None] = {}
    for name, _ in ITA_GROUPS:
        values[f"skin_delta_e_2000_{_slug(name)}"] = colour.get(name)
        values[f"skin_ita_bias_{_slug(name)}_degrees"] = angle.get(name)
    values["skin_delta_e_2000_gap"] = group_gap(colour)
    values["skin_ita_bias_gap_degrees"] = group_gap(angle)
    return values


def _slug(name: str) -> str:
    return name.replace(" ", "_")


_BY_GROUP = {
    key: info
    for name, _ in ITA_GROUPS
    for key, info in (
        (f"skin_delta_e_2000_{_slug(name)}", MetricInfo(f"ΔE2000, {name} skin", "", "lower")),
        (
            f"skin_ita_bias_{_slug(name)}_degrees",
            MetricInfo(f"ITA too light by, {name} skin (0 is best)", "°", "lower", 1),
        ),
    )
}

GROUPS = (
    MetricGroup(
        name="skin-tone",
        metrics={
            "skin_ita_error_degrees": MetricInfo("Skin tone, ITA", "°", "lower", 1),
            "skin_delta_e_2000": MetricInfo("Skin tone, ΔE2000", "", "lower"),
            "skin_delta_e_2000_pixels": MetricInfo("Albedo ΔE2000 by pixel", "", "lower"),
        },
        measure=measure,
        needs=("view photo",),
        set_metrics=_BY_GROUP
        | {
            "skin_delta_e_2000_gap": MetricInfo("ΔE2000, gap between skin tones", "", "lower"),
            "skin_ita_bias_gap_degrees": MetricInfo("ITA, gap between skin tones", "°", "lower", 1),
        },
        over_cases=over_cases,
    ),
)
