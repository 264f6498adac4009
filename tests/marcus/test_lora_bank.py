"""The three-branch LoRA bank and cross-intrinsic attention, against PEFT and plain formulas."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("diffusers")

from backend.errors import BadWeights
from backend.marcus.adapters import adapter_parameters, add_adapter
from backend.marcus.attention import cross_intrinsic_attention, cross_intrinsic_attention_plain
from backend.marcus.longcat import RELEASED, TINY, build_transformer, predict
from backend.marcus.lora_bank import BRANCHES, install_bank, published_rank, target_names

GRID = (2, 3)


def inputs(rows: int = 3, seed: int = 1) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    shape = (rows, GRID[0] * GRID[1], TINY.channels)
    return (
        torch.randn(shape, generator=g),
        torch.randn(shape, generator=g),
        torch.randn(rows, 5, TINY.text_dim, generator=g),
    )


def velocity(transformer, rows=slice(None), **given):
    noisy, condition, text = (x[rows] for x in inputs(**given))
    with torch.no_grad():
        return predict(transformer, noisy, condition, 0.6, text, GRID)


def random_state(rank: int = 4) -> dict[str, torch.Tensor]:
    """A three-branch file in the published layout for TINY."""
    transformer = build_transformer(TINY)
    g = torch.Generator().manual_seed(5)
    state = {}
    for name in target_names(transformer):
        out, into = transformer.get_submodule(name).weight.shape
        for b in range(3):
            state[f"{name}.{b}.lora_down.weight"] = torch.randn(rank, into, generator=g) * 0.2
            state[f"{name}.{b}.lora_up.weight"] = torch.randn(out, rank, generator=g) * 0.2
    return state


@pytest.mark.parametrize("samples", [1, 2])
def test_cross_intrinsic_attention_is_the_plain_formula(samples):
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3 * samples, 7, 2, 8, generator=g, dtype=torch.float64) for _ in range(3))
    plain = cross_intrinsic_attention_plain(q, k, v, 3)
    torch.testing.assert_close(cross_intrinsic_attention(q, k, v, 3), plain, atol=1e-12, rtol=0)
    one_line = [
        torch.nn.functional.scaled_dot_product_attention(
            q[r].transpose(0, 1),
            k[r // 3 * 3 : r // 3 * 3 + 3].flatten(0, 1).transpose(0, 1),
            v[r // 3 * 3 : r // 3 * 3 + 3].flatten(0, 1).transpose(0, 1),
        ).transpose(0, 1)
        for r in range(3 * samples)
    ]
    torch.testing.assert_close(plain, torch.stack(one_line), atol=1e-12, rtol=0)


def test_without_cross_attention_the_bank_is_three_peft_models():
    base = build_transformer(TINY)
    state = random_state()
    banked = copy.deepcopy(base)
    bank = install_bank(banked, rank=4)
    bank.load_published(state)
    bank.cross = False
    together = velocity(banked)
    for b in range(3):
        alone = copy.deepcopy(base)
        add_adapter(alone, "one", rank=4)
        with torch.no_grad():
            for name in target_names(base):
                layer = alone.get_submodule(name)
                layer.lora_A["one"].weight.copy_(state[f"{name}.{b}.lora_down.weight"])
                layer.lora_B["one"].weight.copy_(state[f"{name}.{b}.lora_up.weight"])
        torch.testing.assert_close(velocity(alone, slice(b, b + 1))[0], together[b], atol=2e-5, rtol=1e-4)
    bank.cross = True
    assert (velocity(banked) - together).abs().max() > 1e-3


def test_cross_attention_mixes_branches_and_never_samples():
    transformer = build_transformer(TINY)
    bank = install_bank(transformer, rank=4)
    bank.load_published(random_state())
    noisy, condition, text = inputs(rows=6)
    with torch.no_grad():
        both = predict(transformer, noisy, condition, 0.6, text, GRID)
        second = predict(transformer, noisy[3:], condition[3:], 0.6, text[3:], GRID)
        noisy[0] += 1.0
        changed = predict(transformer, noisy, condition, 0.6, text, GRID)
    torch.testing.assert_close(both[3:], second, atol=2e-5, rtol=1e-4)
    assert (changed[1] - both[1]).abs().max() > 1e-4  # another branch of the sample
    torch.testing.assert_close(changed[3:], both[3:], atol=2e-5, rtol=1e-4)


def test_the_processor_is_diffusers_own_where_there_is_one_branch():
    transformer = build_transformer(TINY)
    plain = velocity(transformer)
    bank = install_bank(transformer, rank=4)  # up is zero: only the attention is ours
    bank.cross = False
    torch.testing.assert_close(velocity(transformer), plain, atol=1e-5, rtol=1e-4)
    bank.remove()
    torch.testing.assert_close(velocity(transformer), plain, atol=0, rtol=0)


def test_counts_at_full_size():
    with torch.device("meta"):
        transformer = build_transformer(RELEASED)
        assert sum(p.numel() for p in transformer.parameters()) == 6_270_668_864
        bank = install_bank(transformer)
    state = bank.published_state()
    assert len(state) == 1080
    assert sum(t.numel() for t in state.values()) == 141_557_760
    assert sum(p.numel() for p in bank.parameters()) == 141_557_760
    assert state["transformer_blocks.0.attn.to_out.0.2.lora_up.weight"].shape == (3072, 32)
    bank.remove()
    with torch.device("meta"):
        add_adapter(transformer, "one")
    assert sum(p.numel() for p in adapter_parameters(transformer, "one")) == 47_185_920


def test_published_state_comes_back_with_or_without_prefix():
    transformer = build_transformer(TINY)
    bank = install_bank(transformer, rank=4)
    state = random_state()
    assert published_rank(state) == 4
    extra = {"transformer_blocks.0.attn.to_q.1.linear.weight": torch.zeros(1)}  # a whole module was saved
    bank.load_published({f"transformer.{k}": v for k, v in (state | extra).items()})
    back = bank.published_state()
    assert back.keys() == state.keys()
    for key, tensor in state.items():
        torch.testing.assert_close(back[key], tensor, atol=0, rtol=0)


KEY = "single_transformer_blocks.1.attn.to_k.2.lora_up.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop(KEY), f"lacks 1 .*{KEY}"),
        (lambda s: s.update({KEY.replace(".2.", ".3."): s[KEY]}), r"unknown 1 .*to_k\.3\."),
        (lambda s: s.update({KEY: s[KEY][:, :2]}), "shape .*another model or rank"),
        (lambda s: s.update({"lora_unet_x.alpha": s[KEY]}), "'lora_unet_x.alpha' is no key"),
        (lambda s: s.update({f"transformer.{KEY}": s.pop(KEY)}), "lacks 1"),  # the prefix on one key only
    ],
)
def test_differences_are_named_and_change_nothing(change, words):
    transformer = build_transformer(TINY)
    bank = install_bank(transformer, rank=4)
    state = random_state()
    change(state)
    before = bank.published_state()
    with pytest.raises(BadWeights, match=words):
        bank.load_published(state)
    assert all(torch.equal(before[k], v) for k, v in bank.published_state().items())


def test_only_the_branches_are_trained_and_all_of_them_learn():
    transformer = build_transformer(TINY)
    bank = install_bank(transformer, rank=4)
    bank.load_published(random_state())
    noisy, condition, text = inputs()
    predict(
        transformer, noisy, condition, torch.tensor([0.3, 0.5, 0.9]), text, GRID
    ).square().sum().backward()
    assert all(p.grad is not None for p in bank.parameters())
    trained = {id(p) for p in bank.parameters()}
    assert all(p.requires_grad == (id(p) in trained) for p in transformer.parameters())
    assert len(BRANCHES) == 3
