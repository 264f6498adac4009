"""What fits where; the figures are handed in, no GPU is needed."""

from __future__ import annotations

import pytest
import torch

from backend.errors import BadInput, Missing, OutOfResources
from backend.marcus.placement import place, place_on_gpu

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("free", "staged", "eight_bit", "batched"),
    [
        (80, False, False, True),
        (38, False, False, False),
        (23.5, True, False, False),
        (15.7, True, True, False),
    ],
)
def test_the_fastest_that_fits_is_taken(free, staged, eight_bit, batched):
    found = place_on_gpu(CUDA, free, 80)
    assert (found.staged, found.eight_bit, found.batched_guidance) == (staged, eight_bit, batched)
    assert found.dtype == torch.bfloat16


def test_too_little_memory_says_what_would_fit():
    with pytest.raises(OutOfResources, match="needs 14 with 8-bit weights; close") as full:
        place_on_gpu(CUDA, 9, 24)
    assert full.value.exit_code == 4
    with pytest.raises(OutOfResources, match=r"has 8 GiB .* \(21 in bf16\).*embedded"):
        place_on_gpu(CUDA, 7.5, 8)


def test_the_cpu_takes_tiny_models_only():
    assert place("cpu", 1e9).dtype == torch.float32
    with pytest.raises(Missing, match="needs a CUDA GPU: 39 PFLOP") as none:
        place("cpu", 3.9e16)
    assert none.value.exit_code == 3
    with pytest.raises(BadInput, match="unknown"):
        place("tpu", 1e9)
