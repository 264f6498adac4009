"""What the MARCUS cascade costs: counted floating-point operations, and the time that they take at least.

    python bench/marcus_floor.py [--peak-tflops 989]

The default peak is an H100's or H200's dense bf16 rate; FP8 is counted at twice it for the blocks' Linears,
and not for attention. Nothing is run; see backend/marcus/arithmetic.py.
"""

from __future__ import annotations

import argparse

from backend.marcus.arithmetic import RANK, PassFlop, Size, pass_parts
from backend.marcus.cascade import Sampling, turbo
from backend.marcus.flow import Shift, sigmas

INTERVAL = {"guided_from": 0.3, "guided_to": 0.9}
CASES = {
    "30 steps, the release's guidance (none for inpainting)": Sampling(),
    "30 steps, guidance in every stage (the paper)": Sampling(inpaint_guidance=2.0),
    "30 steps, guidance between σ 0.3 and 0.9": Sampling(**INTERVAL),
    "30 steps, the paper's guidance between σ 0.3 and 0.9": Sampling(inpaint_guidance=2.0, **INTERVAL),
    "turbo: 10 steps, guidance between σ 0.3 and 0.95": turbo(Sampling(), distilled=False),
    "turbo with the distilled model: 8 steps, no guidance": turbo(Sampling(), distilled=True),
}


def passes(sampling: Sampling, guidance: float, tokens: int) -> int:
    """Of a stage: one a step, two where guidance works."""
    levels = sigmas(sampling.steps, Shift().mu(tokens))[:-1]
    within = (levels >= sampling.guided_from) & (levels <= sampling.guided_to)
    return sampling.steps + (int(within.sum()) if guidance > 1 else 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    peak = parser.parse_args().peak_tflops * 1e12
    size = Size()
    alone, joint = pass_parts(size), pass_parts(size, branches=3, unmerged_rank=RANK)

    def seconds(one: PassFlop, faster: float = 1.0) -> float:
        return (one.attention + one.lora + one.linear / faster) / peak

    for name, sampling in CASES.items():
        stages = {
            "inpaint": (passes(sampling, sampling.inpaint_guidance, size.image_tokens), alone),
            "homogenise": (passes(sampling, sampling.homogenise_guidance, size.image_tokens), alone),
            "materials": (passes(sampling, sampling.materials_guidance, size.image_tokens), joint),
        }
        total = sum(count * one.total for count, one in stages.values())
        parts = ", ".join(
            f"{stage} {count * one.total / 1e15:.1f} in {count} passes"
            for stage, (count, one) in stages.items()
        )
        bf16, fp8 = (sum(n * seconds(one, rate) for n, one in stages.values()) for rate in (1.0, 2.0))
        print(f"{name}: {total / 1e15:.1f} PFLOP ({parts}), at the peak {bf16:.0f} s, with FP8 {fp8:.0f} s")
    print(
        f"attention is {alone.attention / alone.total:.0%} of a single pass and "
        f"{joint.attention / joint.total:.0%} of a joint one; a joint one "
        f"is {joint.total / 3 / alone.total:.2f} times three single ones"
    )


if __name__ == "__main__":
    main()
