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


def test_fp8_needs_room_beside_the_weights_and_a_gpu_that_has_it(monkeypatch):
    assert place_on_gpu(CUDA, 45, 80, fp8=True).fp8
    assert place_on_gpu(CUDA, 38, 80, fp8=True).staged  # resident without it
    assert not place_on_gpu(CUDA, 38, 80).fp8
    for free in (15, 23.5):
        with pytest.raises(OutOfResources, match=r"--fp8 needs 26 .*leave out --fp8"):
            place_on_gpu(CUDA, free, 80, fp8=True)
    assert place("cpu", 1e9, fp8=True).fp8
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "an RTX 3090")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (40 << 30, 48 << 30))
    with pytest.raises(Missing, match="an RTX 3090 does not multiply in FP8"):
        place("cuda", 1e9, fp8=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    assert place("cuda", 1e9, fp8=True).fp8
    assert not place("cuda:1", 1e9).fp8
