"""Which figure goes by which name: regions, statistics, with and without scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from avatar_cases import make_prediction
from synthetic_cases import somebody, write_case

from backend.evaluation import geometry_metrics
from backend.evaluation.cases import read_case
from backend.evaluation.geometry_metrics import measure_now, measure_realy
from backend.evaluation.now_protocol import ScanErrors
from backend.evaluation.realy import RegionErrors

REGIONS_MM = {"nose": 1.0, "mouth": 2.0, "forehead": 3.0, "cheek": 6.0}


def test_every_figure_bears_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def realy(*_: object, with_scale: bool = True) -> dict[str, RegionErrors]:
        more = 1e-3 * (1 if with_scale else 10)
        return {
            n: RegionErrors(np.arange(2), np.array([0.5, 1.5]) * mm * more) for n, mm in REGIONS_MM.items()
        }

    def now(*_: object, with_scale: bool = True) -> ScanErrors:
        errors = np.array([1.0, 2.0, 9.0]) * 1e-3
        return ScanErrors(np.arange(3), errors if with_scale else 10 * errors)

    monkeypatch.setattr(geometry_metrics, "realy", realy)
    monkeypatch.setattr(geometry_metrics, "now", now)
    monkeypatch.setattr(
        geometry_metrics, "error_picture", lambda *_: type("P", (), {"save": lambda *_: None})()
    )
    case = read_case(write_case(tmp_path, "names", vertices=somebody(), neutral=somebody()))
    prediction = make_prediction(tmp_path / "a")
    values = {**measure_realy(case, prediction, tmp_path), **measure_now(case, prediction, tmp_path)}
    expected = {f"realy_{n}_mm": mm for n, mm in REGIONS_MM.items()} | {"realy_all_mm": 3.0}
    expected |= {"now_median_mm": 2.0, "now_mean_mm": 4.0, "now_std_mm": np.std([1.0, 2.0, 9.0])}
    for name, value in list(expected.items()):
        protocol, rest = name.split("_", 1)
        expected[f"{protocol}_noscale_{rest}"] = 10 * value
    assert values == pytest.approx(expected)


def test_a_dent_is_found_where_it_is(tmp_path: Path) -> None:
    """A forehead pressed in by a few millimetres is the forehead's fault alone."""
    prediction = make_prediction(tmp_path / "a")
    head = prediction.head
    vertices = head.mean_vertices.astype(np.float64)
    middle = vertices[head.regions["forehead"] > 0.9].mean(0)
    away = np.linalg.norm(vertices - middle, axis=1)
    vertices -= np.exp(-((away / 0.012) ** 2))[:, None] * [0, 0, 0.005]
    values = measure_realy(read_case(write_case(tmp_path, "dent", vertices=vertices)), prediction, tmp_path)
    regions = {n: values[f"realy_{n}_mm"] for n in REGIONS_MM}
    assert max(regions, key=lambda n: regions[n]) == "forehead"
    assert regions["forehead"] > 4 * sorted(regions.values())[-2]
