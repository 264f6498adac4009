"""What the MARCUS cascade costs: counted floating-point operations, and the time that they take at least.

    python bench/marcus_floor.py [--peak-tflops 989]

The default peak is an H100's or H200's dense bf16 rate. Nothing is run; see backend/marcus/arithmetic.py.
"""

from __future__ import annotations

import argparse

from backend.marcus.arithmetic import Passes, Size, cascade_flop, pass_flop

CASES = {
    "30 steps, the release's guidance (none for inpainting)": Passes(),
    "30 steps, guidance in every stage (the paper)": Passes(inpaint=60),
    "turbo: 10 steps, guidance between σ 0.3 and 0.95": Passes(inpaint=10, homogenise=17, materials=17),
    "turbo with the distilled model: 8 steps, no guidance": Passes(8, 8, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    peak = parser.parse_args().peak_tflops * 1e12
    for name, passes in CASES.items():
        stages = cascade_flop(passes=passes)
        total = sum(stages.values())
        parts = ", ".join(f"{stage} {flop / 1e15:.1f}" for stage, flop in stages.items())
        print(f"{name}: {total / 1e15:.1f} PFLOP ({parts}), {total / peak:.0f} s at the peak")
    joint, alone = pass_flop(Size(), branches=3, unmerged_rank=32), 3 * pass_flop(Size())
    print(f"one joint pass is {joint / alone:.2f} times three single ones: attention over all branches")


if __name__ == "__main__":
    main()
