"""What a training instance rendered by Cycles costs, step by step, in processor time.

    likeness bench --only cycles-instances

One person with shoulder-long hair, photographed as often as the preset has it, procedural light; figures are
those of one photograph. Needs Blender's module (extra `blend`) and embree (`train`).
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from backend.bench.sheet import Setting, Sheet, main
from backend.training.schema import Recipe
from synthdata.cycles import unit as cycles
from synthdata.cycles.job import SPENT_NAME
from synthdata.run.inputs import Asked, gather
from synthdata.run.plan import PRESETS, plan_units
from synthdata.run.sources import Sources

SEED = 1
OWN, EVEN, FIXED = "drawing, exposing, unwrapping, packing", "T_hom", "the process: Blender's start, the head"


def measure(setting: Setting, sheet: Sheet) -> None:
    """The preset `marcus` at 512² and 1024²; tiny when it must be quick."""
    for side in (96,) if setting.quick else (512, 1024):
        spent, size = _instance(side, 64 if setting.quick else side)
        whole = sum(spent.values())
        sheet.workload(f"an instance, {side}² pixels, chart of as many texels, processor time of one thread")
        sheet.value(f"{side}²: whole", whole, "s")
        for name, seconds in spent.items():
            sheet.value(f"{side}²: {name}", seconds, "s")
            sheet.value(f"{side}²: {name}, share", 100 * seconds / whole, "%")
        sheet.value(f"{side}²: bytes", size / 1e6, "MB")


def _instance(side: int, texels: int) -> tuple[dict[str, float], int]:
    """Seconds by step and bytes, of one of the unit's instances."""
    sizes = replace(PRESETS["marcus"], portrait_px=side, texels=texels)
    told: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        count = sizes.cycles_instances
        inputs = gather(Asked("marcus", count, SEED, renderer="cycles"), sizes, Path(temporary))
        recipe = inputs.recipe if side > 128 else msgspec.structs.replace(inputs.recipe, cycles_samples=4)
        sources = Sources(inputs.job)
        plain = cycles.render

        def watched(folder: Path) -> None:
            plain(folder)
            told.update(msgspec.json.decode((folder / SPENT_NAME).read_bytes(), type=dict[str, float]))

        cycles.render = watched
        try:
            own, children, made = _made(recipe, sources)
        finally:
            cycles.render = plain
    steps = {
        name: sum(v for k, v in told.items() if k.split()[0] == name)
        for name in ("dress", "portrait", "bake", "even")
    }
    fixed = children - sum(steps.values())
    named = {
        "hair, clothes and light": steps["dress"],
        "portrait": steps["portrait"],
        "T_env": steps["bake"],
        EVEN: steps["even"],
        OWN: own,
        FIXED: fixed,
    }
    return {name: seconds / count for name, seconds in named.items()}, made // count


def _made(recipe: Recipe, sources: Sources) -> tuple[float, float, int]:
    """Processor time here and in Blender's process, and bytes of the instance."""
    here, there = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    made = cycles.make_rendered(plan_units(recipe)[0], recipe, sources)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - there.ru_utime - there.ru_stime
    return time.process_time() - here, children, len(made["instances"])


if __name__ == "__main__":
    sys.exit(main(measure))
