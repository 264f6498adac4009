"""One guided step of MARCUS' stages, against the straightforward formulation, on random weights.

    python bench/marcus_stages.py                         # reduced size, this machine's CPU
    python bench/marcus_stages.py --full --device cuda    # the released size at 1K in bf16

Straightforward: adapters unmerged (PEFT), keys and values repeated for every branch, two passes of guidance,
one branch after the other through its own adapter. Ours: merged weights, the branches in one batch over one
view of their keys and values, both passes of guidance in one batch where memory allows. Both are timed in
turn in this run; the figure is CPU time on the CPU, the device's time on a GPU. Results are compared as well.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backend.marcus.adapters import add_adapter, load_adapter, merged, save_adapter
from backend.marcus.arithmetic import Size, pass_flop
from backend.marcus.attention import CrossIntrinsicProcessor
from backend.marcus.longcat import RELEASED, TransformerConfig, build_transformer, predict
from backend.marcus.lora_bank import install_bank

REDUCED = TransformerConfig(2, 4, heads=4, head_dim=64, channels=64, text_dim=128, rope_axes=(8, 28, 28))
GUIDANCE = 2.0


class RepeatedProcessor(CrossIntrinsicProcessor):
    """Cross-intrinsic attention with every branch's keys and values repeated, branch by branch."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, branches: int) -> Tensor:
        out = []
        for row in range(len(query)):
            first = row - row % branches
            k, v = (x[first : first + branches].flatten(0, 1)[None].repeat(1, 1, 1, 1) for x in (key, value))
            q, k, v = (x.transpose(1, 2) for x in (query[row : row + 1], k, v))
            out.append(torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2))
        return torch.cat(out)


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(run: Callable[[], Tensor], device: torch.device, rounds: int) -> tuple[float, Tensor]:
    run()
    seconds = []
    for _ in range(rounds):
        start = clock(device)
        result = run()
        seconds.append(clock(device) - start)
    return min(seconds), result


def guided(first: Tensor, second: Tensor) -> Tensor:
    return second + GUIDANCE * (first - second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the released size at 1K")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config, grid, text_tokens = (RELEASED, (64, 64), 838) if options.full else (REDUCED, (16, 16), 128)
    with device:
        transformer: Any = build_transformer(config).to(dtype)
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g).to(device, dtype)

    tokens = grid[0] * grid[1]
    z, condition = draw(3, tokens, config.channels), draw(1, tokens, config.channels)
    texts, against = draw(3, text_tokens, config.text_dim), draw(1, text_tokens, config.text_dim)
    size = Size(config.layers, config.single_layers, config.width, tokens, text_tokens)
    blocks = f"{config.layers} + {config.single_layers} blocks of {config.width}"
    print(f"{blocks}, {size.tokens} tokens, {device}, {dtype}")

    def passes(rows: int, batched: bool) -> Tensor:
        many = condition.expand(rows, -1, -1)
        negative = against.expand(rows, -1, -1)
        if batched:
            both = predict(
                transformer, z[:rows].repeat(2, 1, 1), many.repeat(2, 1, 1), 0.5,
                torch.cat([texts[:rows], negative]), grid,
            )  # fmt: skip
            return guided(*both.chunk(2))
        first = predict(transformer, z[:rows], many, 0.5, texts[:rows], grid)
        return guided(first, predict(transformer, z[:rows], many, 0.5, negative, grid))

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        donor: Any = build_transformer(config, seed=1) if not options.full else transformer
        add_adapter(donor, "default")
        save_adapter(donor, "default", Path(folder))
        if donor is transformer:
            donor.delete_adapters("default")
        with merged(transformer, Path(folder)):
            plain, a = timed(lambda: passes(1, False), device, options.rounds)
            fast, b = timed(lambda: passes(1, True), device, options.rounds)
        told("sequential step, merged, two passes", plain, 2 * pass_flop(size), device)
        told("sequential step, merged, one batch", fast, 2 * pass_flop(size), device)
        print(f"  differ by at most {float((a - b).abs().max()):.1e}")

        bank = install_bank(transformer, dtype=dtype)
        for parameter in bank.parameters():
            parameter.copy_(0.02 * draw(*parameter.shape))
        flop = 2 * pass_flop(size, branches=3, unmerged_rank=32)
        ours, a = timed(lambda: passes(3, False), device, options.rounds)
        batched, _ = timed(lambda: passes(3, True), device, options.rounds)
        names = dict(transformer.attn_processors)
        transformer.set_attn_processor({name: RepeatedProcessor() for name in names})
        repeated, b = timed(lambda: passes(3, False), device, options.rounds)
        told("joint step, branches in one attention, two passes", ours, flop, device)
        told("joint step, branches in one attention, one batch", batched, flop, device)
        told("joint step, keys and values repeated", repeated, flop, device)
        print(f"  differ by at most {float((a - b).abs().max()):.1e}")
        bank.remove()

        load_adapter(transformer, "default", Path(folder))
        unmerged, _ = timed(lambda: passes(1, False), device, options.rounds)
        told("sequential step, PEFT unmerged, two passes", unmerged, 2 * pass_flop(size), device)
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def told(name: str, seconds: float, flop: float, device: torch.device) -> None:
    unit = "s" if device.type == "cuda" else "s of CPU time"
    rate = f"{flop / seconds / 1e9:.0f} GFLOP/s of the counted {flop / 1e9:.0f} GFLOP"
    print(f"{name}: {seconds:.3f} {unit}, {rate}")


if __name__ == "__main__":
    main()
