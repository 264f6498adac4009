"""One step of each of MARCUS' stages against the straightforward formulation, on random weights.

    python bench/marcus_stages.py                                   # reduced size, this machine's CPU
    python bench/marcus_stages.py --full --device cuda              # the released size at 1K in bf16
    python bench/marcus_stages.py --full --device cuda --fp8 --compile

Straightforward: adapters unmerged (PEFT), keys and values repeated for every branch, two passes of
guidance. Ours: merged weights, the branches in one batch over one view of their keys and values, both passes
of guidance in one batch. Both are timed in turn, round by round, in this run; the least of the rounds counts:
CPU time on the CPU, the device's time on a GPU. Their results are compared as well. The last line adds up
30 steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backend.marcus.adapters import adapter_parameters, add_adapter, load_adapter, merged, save_adapter
from backend.marcus.arithmetic import RANK, Size, pass_flop
from backend.marcus.attention import CrossIntrinsicProcessor
from backend.marcus.eight_bit import multiplied_in_eight_bits, scales_rows
from backend.marcus.longcat import RELEASED, TransformerConfig, build_transformer, predict
from backend.marcus.lora_bank import install_bank

REDUCED = TransformerConfig(2, 4, heads=4, head_dim=64, channels=64, text_dim=128, rope_axes=(8, 28, 28))
GUIDANCE, STEPS = 2.0, 30
Step = Callable[[], Tensor]


class RepeatedProcessor(CrossIntrinsicProcessor):
    """Cross-intrinsic attention with all branches' keys and values repeated for each of them."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, branches: int) -> Tensor:
        rows, length, heads, dim = key.shape

        def repeated(x: Tensor) -> Tensor:
            joined = x.reshape(rows // branches, branches * length, heads, dim)
            return joined.repeat_interleave(branches, 0).transpose(1, 2)

        q = query.transpose(1, 2)
        out: Tensor = torch.nn.functional.scaled_dot_product_attention(q, repeated(key), repeated(value))
        return out.transpose(1, 2)


class Bench:
    """Inputs of one step, and the clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        config, self.grid, length = (RELEASED, (64, 64), 838) if options.full else (REDUCED, (16, 16), 128)
        tokens = self.grid[0] * self.grid[1]
        self.size = Size(config.layers, config.single_layers, config.width, tokens, length)
        with self.device:
            self.transformer: Any = build_transformer(config)
        self.cast()
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(self.device, self.dtype)

        self.draw = draw
        self.noisy, self.condition = draw(3, tokens, config.channels), draw(1, tokens, config.channels)
        self.texts, self.against = draw(3, length, config.text_dim), draw(1, length, config.text_dim)
        blocks = f"{config.layers} + {config.single_layers} blocks of {config.width}"
        print(f"{blocks}, {self.size.tokens} tokens, {self.device}, {self.dtype}")

    def cast(self) -> None:
        for parameter in self.transformer.parameters():
            parameter.data = parameter.data.to(self.dtype)

    def step(self, rows: int, guided: bool, in_one_batch: bool) -> Tensor:
        """The velocity that a stage's step takes, of ``rows`` branches."""
        z, many = self.noisy[:rows], self.condition.expand(rows, -1, -1)
        text, negative = self.texts[:rows], self.against.expand(rows, -1, -1)
        if not guided:
            return predict(self.transformer, z, many, 0.5, text, self.grid)
        if in_one_batch:
            both = torch.cat([z, z]), torch.cat([many, many]), 0.5, torch.cat([text, negative])
            first, second = predict(self.transformer, *both, self.grid).chunk(2)
        else:
            first = predict(self.transformer, z, many, 0.5, text, self.grid)
            second = predict(self.transformer, z, many, 0.5, negative, self.grid)
        return second + GUIDANCE * (first - second)

    def timed(self, stack: Callable[[], ExitStack], step: Step) -> tuple[float, Tensor]:
        with stack():
            step()
            start = self._clock()
            result = step()
            return self._clock() - start, result

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def compare(
    bench: Bench, name: str, plain: tuple[Any, Step], fast: tuple[Any, Step], flop: float
) -> tuple[float, float]:
    """Both ways in turn; the least seconds of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(bench.options.rounds):
        (a, theirs), (b, ours) = bench.timed(*plain), bench.timed(*fast)
        seconds[0].append(a)
        seconds[1].append(b)
    a, b = min(seconds[0]), min(seconds[1])
    off = float((theirs - ours).norm() / theirs.norm())
    print(
        f"{name}: straightforward {a:.3f} s, ours {b:.3f} s, {a / b:.2f} times; {flop / b / 1e9:.0f} GFLOP/s "
        f"of the counted {flop / 1e9:.0f} GFLOP; results differ by {off:.1e} of their size"
    )
    return a, b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the released size at 1K")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fp8", action="store_true", help="ours multiplies in FP8")
    parser.add_argument("--compile", action="store_true", help="both through torch.compile")
    bench = Bench(parser.parse_args())
    transformer, size = bench.transformer, bench.size
    if bench.options.compile:
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            block.compile()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder)
        add_adapter(transformer, "default", rank=RANK)
        for parameter in adapter_parameters(transformer, "default"):
            parameter.copy_(0.02 * bench.draw(*parameter.shape))
        save_adapter(transformer, "default", adapter)
        transformer.delete_adapters("default")

        def eight(stack: ExitStack) -> ExitStack:
            if bench.options.fp8:
                stack.enter_context(multiplied_in_eight_bits(transformer, scales_rows(bench.device)))
            return stack

        def unmerged() -> ExitStack:
            stack = ExitStack()
            load_adapter(transformer, "default", adapter)
            bench.cast()
            stack.callback(transformer.delete_adapters, "default")
            return stack

        def inside() -> ExitStack:
            stack = ExitStack()
            stack.enter_context(merged(transformer, adapter))
            return eight(stack)

        def banked(processor: type[CrossIntrinsicProcessor]) -> ExitStack:
            stack = ExitStack()
            bank = install_bank(transformer, rank=RANK, dtype=bench.dtype)
            stack.callback(bank.remove)
            generator = torch.Generator().manual_seed(1)
            for parameter in bank.parameters():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
            transformer.set_attn_processor({name: processor() for name in transformer.attn_processors})
            return stack

        one, joint = pass_flop(size), pass_flop(size, branches=3, unmerged_rank=RANK)

        def repeated() -> ExitStack:
            return banked(RepeatedProcessor)

        def viewed() -> ExitStack:
            return eight(banked(CrossIntrinsicProcessor))

        def step(branches: int, guided: bool, in_one_batch: bool = False) -> Step:
            return lambda: bench.step(branches, guided, in_one_batch)

        rows = [
            compare(bench, "complete", (unmerged, step(1, False)), (inside, step(1, False)), one),
            compare(
                bench, "homogenise, guided", (unmerged, step(1, True)), (inside, step(1, True, True)), 2 * one
            ),
            compare(
                bench,
                "materials, guided",
                (repeated, step(3, True)),
                (viewed, step(3, True, True)),
                2 * joint,
            ),
        ]
    plain, fast = (STEPS * sum(row[k] for row in rows) for k in (0, 1))
    print(
        f"{STEPS} steps of each: straightforward {plain:.1f} s, ours {fast:.1f} s, {plain / fast:.2f} times"
    )
    if bench.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
