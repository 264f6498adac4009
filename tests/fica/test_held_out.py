"""What is measured on held-out people, in closed form; what is kept of a set in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.errors import BadInput
from backend.fica.training.held_out import Tally
from backend.fica.training.held_out_dense import compared
from backend.fica.training.kept import Kept, bytes_of
from backend.fica.training.measure_command import Measurement, measured
from backend.fica.unwrap import DenseMaps


def test_standard_errors_are_over_people_not_pictures() -> None:
    tally = Tally()
    for person, value in ((0, 1.0), (0, 3.0), (1, 5.0), (1, 7.0), (2, 8.0), (2, 12.0)):
        tally.add("made", (0, person), {"l1": value})
    tally.add("once", (0, 0), {"l1": 2.0})
    made, once = tally.means()
    assert (made.pictures, made.values["l1"]) == (6, 6.0)
    assert made.errors["l1"] == pytest.approx(np.std([2, 6, 10], ddof=1) / math.sqrt(3))
    assert once.errors == {}
    assert str(made) == "made: l1 6 ± 2.3 (6 pictures)"
    assert str(once) == "once: l1 2 (1 pictures)"


def test_dense_maps_are_compared_where_the_atlas_shows() -> None:
    known = torch.zeros(1, 1, 4, 4)
    known[..., :2] = 1
    up = torch.tensor([0.0, 0, 1]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    zero = torch.zeros(1, 3, 4, 4)
    truth = DenseMaps(torch.zeros(1, 2, 4, 4), zero, up, known)
    half = math.radians(30)
    turned = torch.tensor([math.sin(half), 0, math.cos(half)]).reshape(1, 3, 1, 1).expand_as(up)
    beyond = 9 * (1 - known)  # off the atlas nothing is compared
    away = torch.tensor([0.003, 0.004, 0]).reshape(1, 3, 1, 1).expand_as(up) + beyond
    found = compared(
        DenseMaps(torch.full((1, 2, 4, 4), 0.25) + beyond, away, turned, torch.ones(1, 1, 4, 4)), truth
    )
    assert found == pytest.approx({"uv_l1": 0.25, "vertex_mm": 5.0, "normal_degrees": 30.0, "overlap": 0.5})


def test_what_fits_is_made_once_and_what_does_not_each_time() -> None:
    made = []

    def make(size: int) -> tuple[torch.Tensor, np.ndarray]:  # type: ignore[type-arg]
        made.append(size)
        return torch.zeros(size), np.zeros(size, np.float32)

    kept = Kept(most_bytes=1000)
    assert bytes_of(make(100)) == 800
    made.clear()
    for _ in range(2):
        kept.get("a", lambda: make(100))
        kept.get("b", lambda: make(50))
        kept.get("c", lambda: make(25))
    assert made == [100, 50, 25, 50]
    assert kept.get("a", lambda: make(1)) is kept.get("a", lambda: make(1))


def test_only_ficas_trainers_are_measured_and_with_a_result(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadInput, match="fica-codec"):
        measured(Measurement("geometry", tmp_path))
    with pytest.raises(BadInput, match="result of fica-path"):
        measured(Measurement("fica-path", tmp_path))
