"""Counted operations against closed forms."""

from __future__ import annotations

import pytest

from backend.fica.arithmetic import Sizes, path_costs, prior_costs
from backend.fica.dit import TINY_DIT
from backend.fica.prior import TINY_PRIOR


def test_a_transformer_step_costs_what_its_shapes_say() -> None:
    """Both domains: blocks by tokens, conditions by rows, the stem by places; attention by tokens squared."""
    c, rows, texels = TINY_DIT, 2, 64
    w, n = c.width, (texels // 16) ** 2
    modulated = 6 * w * w
    block = n * (4 * w * w + 2 * 2 * w * w + 2 * w * w) + modulated + 2 * n * n * w
    stem = sum(
        (texels >> k) ** 2 * a * b * 9 for k, (a, b) in enumerate([(10, 16), (16, 24), (24, 48), (48, 96)], 1)
    )
    ends = n * (4 * c.latent_channels * w * 2 + w * w)  # patches, tokens back to latents, the stem's last
    codes = 2 * (256 * w + w * w) + c.semantic_width * w + w * w + 2 * w * w
    wanted = 2 * rows * (c.blocks * block + stem + ends + codes)
    counted = path_costs(Sizes("tiny", pixels=96, texels=texels, prior_texels=128))
    assert counted["completion step"].flop == pytest.approx(wanted)
    assert all(cost.flop > 0 and cost.parameters > 0 for cost in counted.values())


def test_a_frame_costs_what_its_levels_say() -> None:
    c, code, texels = TINY_PRIOR, 52 + 4, 128
    levels = list(zip(c.widths, c.widths[1:], strict=False))
    shared = sum((16 << k) ** 2 * a * b * 9 for k, (a, b) in enumerate(levels))
    starts = (code + code + 3) * c.widths[0] * 64
    ends = texels**2 * c.widths[-1] * 9 * (14 + 3)
    frame = prior_costs("tiny", texels)["frame"]
    assert frame.flop == pytest.approx(2 * (2 * shared + starts + ends))
