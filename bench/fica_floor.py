"""What FiCA's full size costs: counted operations, weights read, and the time that these take at least.

    python bench/fica_floor.py [--peak-tflops 989] [--tbytes-per-second 4.8]

Defaults are an H200's dense bf16 rate and memory bandwidth. Each use of a network takes at least the longer
of computing and of reading its weights once in bf16. Nothing is run; see backend/fica/arithmetic.py.
"""

from __future__ import annotations

import argparse

from backend.fica.arithmetic import Cost, Sizes, path_costs, prior_costs
from backend.fica.completion import FEW_STEPS, STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    parser.add_argument("--tbytes-per-second", type=float, default=4.8)
    asked = parser.parse_args()

    def seconds(cost: Cost) -> float:
        reading = 2 * cost.parameters / (asked.tbytes_per_second * 1e12)
        least: float = max(cost.flop / (asked.peak_tflops * 1e12), reading)
        return least

    costs = path_costs(Sizes())
    for name, cost in costs.items():
        print(
            f"{name}: {cost.parameters / 1e6:,.1f} M parameters, {cost.flop / 1e9:,.1f} GFLOP, "
            f"at least {1000 * seconds(cost):.3f} ms"
        )
    once = sum(seconds(costs[n]) for n in costs if n not in ("completion step", "frame"))
    for steps, solver in ((STEPS, "Euler"), (FEW_STEPS, "Adams-Bashforth")):
        total = once + steps * seconds(costs["completion step"])
        print(f"portrait to avatar, {steps} steps ({solver}): at least {total:.3f} s")
    for texels in (256, 512, 1024):
        frame = prior_costs("full", texels)["frame"]
        print(
            f"a frame's decoding, {texels}² texels: {frame.parameters / 1e6:.1f} M parameters, "
            f"{frame.flop / 1e9:.1f} GFLOP, at least {1000 * seconds(frame):.3f} ms, "
            f"at most {1 / seconds(frame):,.0f} frames/s"
        )


if __name__ == "__main__":
    main()
