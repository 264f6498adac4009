"""The counted floor against PyTorch's own counter on a tiny model."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backend.marcus.arithmetic import Passes, Size, cascade_flop, pass_flop
from backend.marcus.longcat import TransformerConfig, build_transformer, predict
from backend.marcus.lora_bank import install_bank


@pytest.mark.parametrize("branches", [1, 3])
def test_a_pass_is_what_pytorch_counts(branches: int):
    # Wide and with few channels, so that what is not counted (embeddings, modulation) is little.
    config = TransformerConfig(2, 3, heads=8, head_dim=16, channels=4, text_dim=8, rope_axes=(4, 6, 6))
    size = Size(layers=2, single_layers=3, width=128, image_tokens=256, text_tokens=40)
    with torch.device("meta"):
        transformer = build_transformer(config)
        if branches == 3:
            install_bank(transformer, rank=4)
        noisy = torch.empty(branches, 256, 4)
        text = torch.empty(branches, 40, 8)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            predict(transformer, noisy, noisy, 0.5, text, (16, 16))
    counted = pass_flop(size, branches, 4 if branches == 3 else 0)
    assert counter.get_total_flops() == pytest.approx(counted, rel=0.02)


def test_the_cascade_takes_some_forty_petaflop():
    paper = cascade_flop(passes=Passes(inpaint=60))  # guidance in every stage, as the paper has it
    assert sum(paper.values()) / 1e15 == pytest.approx(39, rel=0.03)
    release = cascade_flop()
    assert release["inpaint"] == paper["inpaint"] / 2
    assert release["materials"] > 0.7 * sum(release.values())  # attention over three branches
