"""``python -m synthdata.headmodel --data DATA -o FILE [--eval [--head FILE]]``: build the open head."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from synthdata.headmodel.build import build
from synthdata.headmodel.heldout import SHIPPED, build_eval


def main() -> None:
    """Build the open head from the shared data."""
    parser = argparse.ArgumentParser(prog="python -m synthdata.headmodel", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with ict-facekit/ and makehuman/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument(
        "--eval",
        action="store_true",
        help="a built head with a basis that lacks what evaluation heads are made from (heldout.py)",
    )
    parser.add_argument("--head", type=Path, default=SHIPPED, help="for --eval; the shipped head by default")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.eval:
        head = build_eval(options.data, options.output, options.head)
    else:
        head = build(options.data, options.output)
    print(
        f"{options.output}: {len(head.mean_vertices)} vertices, {len(head.quads)} quads, "
        f"{options.output.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
