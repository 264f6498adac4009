"""FP8 products against their float32 twin, 8-bit weights counted, and compiled blocks against plain ones.

All on the processor, whose FP8 product is PyTorch's own; the one of a GPU has not run here.
"""

from __future__ import annotations

import pytest
import torch
from test_lora_bank import random_state, velocity
from torch import nn

from backend.marcus.adapters import add_adapter, merged, save_adapter
from backend.marcus.eight_bit import E4M3, LARGEST, Float8Linear, multiplied_in_eight_bits, rounded
from backend.marcus.longcat import RELEASED, TINY, build_transformer
from backend.marcus.lora_bank import install_bank
from backend.marcus.placement import FP8_GIB, GIB


def random_rows(*shape: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(sum(shape))
    # Rows of very different size, which one scale for all would drown.
    return torch.randn(*shape, generator=g) * torch.logspace(-3, 3, shape[0])[:, None]


def test_rounding_keeps_four_bits_of_every_row():
    rows = random_rows(64, 32)
    values, scale = rounded(rows, by_row=True)
    assert values.dtype == E4M3
    assert scale.shape == (64, 1)
    torch.testing.assert_close(values.float().abs().amax(1), torch.full((64,), LARGEST))
    back = values.float() * scale
    normal = rows.abs() > scale * 2**-6  # below lie E4M3's subnormals
    assert ((back - rows).abs() / rows.abs())[normal].max() <= 1 / 16
    zeros, one = rounded(torch.zeros(2, 16), by_row=False)
    assert torch.isfinite(zeros.float()).all()
    assert one.shape == ()


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_its_twin(by_row: bool, bias: bool):
    torch.manual_seed(0)
    linear = nn.Linear(48, 32, bias=bias)
    eight = Float8Linear(linear, by_row)
    x = random_rows(10, 48).reshape(2, 5, 48)
    with torch.no_grad():
        torch.testing.assert_close(eight(x), eight.plain(x), rtol=1e-5, atol=1e-5)
        exact = linear(x)
    error = (eight(x) - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert error.max() > 0
    if by_row:
        assert error.max() < 0.08  # however small a token is


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_a_stage_in_eight_bits_is_near_and_leaves_no_trace(tmp_path):
    donor = build_transformer(TINY)
    add_adapter(donor, "default", rank=4)
    with torch.no_grad():
        for name, parameter in donor.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    save_adapter(donor, "default", tmp_path)
    transformer = build_transformer(TINY)
    before = {k: v.clone() for k, v in transformer.state_dict().items()}
    plain = velocity(transformer)
    with merged(transformer, tmp_path):
        changed = velocity(transformer)
        with multiplied_in_eight_bits(transformer, by_row=True):
            eight = [m for m in transformer.modules() if isinstance(m, Float8Linear)]
            assert len(eight) == 12 + 2 * (3 + 2)  # of 1 + 2 blocks: all but modulation
            near = velocity(transformer)
    # The adapter is in the rounded weights: the result is near the adapted one, not the plain one.
    assert 0 < relative(near, changed) < 0.1 * relative(plain, changed)
    after = transformer.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(isinstance(m, Float8Linear) for m in transformer.modules())


def test_the_branches_stay_beside_their_eight_bit_weights():
    transformer = build_transformer(TINY)
    bank = install_bank(transformer, rank=4)
    bank.load_published(random_state())
    exact = velocity(transformer)
    with multiplied_in_eight_bits(transformer, by_row=False):
        assert 0 < relative(velocity(transformer), exact) < 0.1
    bank.remove()
    assert velocity(transformer).shape == exact.shape


def test_what_eight_bits_take_at_the_released_size():
    """Counted from shapes: FP8 copies of the blocks' matrices, and the weights kept in 8 bits."""
    with torch.device("meta"):
        transformer = build_transformer(RELEASED)
        with multiplied_in_eight_bits(transformer, by_row=True):
            copies = sum(m.values.numel() for m in transformer.modules() if isinstance(m, Float8Linear))
    assert copies == 480 * 3072**2
    assert copies / GIB < FP8_GIB

    from diffusers.hooks import apply_layerwise_casting

    from backend.marcus.models import _KEPT_WHOLE

    for parameter in transformer.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    apply_layerwise_casting(transformer, E4M3, torch.bfloat16, skip_modules_pattern=_KEPT_WHOLE)
    stored = sum(p.numel() * p.element_size() for p in transformer.parameters()) / GIB
    whole = sum(p.numel() for p in transformer.parameters()) * 2 / GIB
    assert whole == pytest.approx(11.7, abs=0.05)
    assert stored == pytest.approx(7.5, abs=0.1)


def test_what_eight_bits_take_of_qwen():
    """Qwen2.5-VL 7B by the sizes of its published configuration; its embeddings stay whole."""
    from diffusers.hooks import apply_layerwise_casting
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from backend.marcus.models import _KEPT_WHOLE

    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
        },
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    assert sum(p.numel() for p in model.parameters()) * 2 / GIB == pytest.approx(15.4, abs=0.1)
    apply_layerwise_casting(model, E4M3, torch.bfloat16, skip_modules_pattern=_KEPT_WHOLE)
    stored = sum(p.numel() * p.element_size() for p in model.parameters()) / GIB
    assert stored == pytest.approx(8.7, abs=0.1)


@pytest.mark.slow
def test_compiled_blocks_give_the_same(tmp_path):
    """By inductor, on a merged adapter's weights, and again with the branches installed."""
    transformer = build_transformer(TINY)
    plain = velocity(transformer)
    bank = install_bank(transformer, rank=4)
    bank.load_published(random_state())
    branched = velocity(transformer)
    bank.remove()
    for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
        block.compile()
    torch._dynamo.reset()
    torch.testing.assert_close(velocity(transformer), plain, rtol=1e-4, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["calls_captured"] > 0
    bank = install_bank(transformer, rank=4)
    bank.load_published(random_state())
    torch.testing.assert_close(velocity(transformer), branched, rtol=1e-4, atol=1e-5)
    bank.remove()
    torch.testing.assert_close(velocity(transformer), plain, rtol=1e-4, atol=1e-5)
