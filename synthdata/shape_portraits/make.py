"""Draw the examples, in shards that are kept: stopped, it goes on where it was.

python -m synthdata.shape_portraits.make --data DATA --head open_eval.safetensors -o PORTRAITS
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from backend.head.open_head import load_open_head
from blender_addon.arrays import write_arrays
from synthdata.shape_portraits.sightings import sightings

SHARD = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of shared data")
    parser.add_argument("--head", type=Path, help="the head whose identities are drawn (default: as shipped)")
    parser.add_argument("--material", type=Path, default=Path("material.npz"), help="made if absent")
    parser.add_argument("--count", type=int, default=8000)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    head = load_open_head(options.head)
    firsts = [
        k
        for k in range(options.first, options.first + options.count, SHARD)
        if not _file(options.output, k).is_file()
    ]
    if not firsts:
        return
    made = sightings(head, options.data, options.material, firsts, SHARD)
    for first, found in zip(firsts, made, strict=True):
        file = _file(options.output, first)
        fresh = file.with_suffix(".part")
        write_arrays(
            fresh,
            patch=np.stack([one.patch for one in found]),
            crop=np.stack([one.crop.grey for one in found]),
            box=np.stack([one.crop.box for one in found]),
            points=np.stack([one.points for one in found]),
            true=np.stack([one.true for one in found]),
            offset_m=np.stack([one.offset_m for one in found]).astype(np.float16),
            yaw=np.array([one.yaw for one in found], np.float32),
        )
        fresh.replace(file)
        print(f"{first + SHARD} of {options.count}: {len(found)} seen", flush=True)


def _file(folder: Path, first: int) -> Path:
    return folder / f"portraits_{first:06d}.npz"


if __name__ == "__main__":
    main()
