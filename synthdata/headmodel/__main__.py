"""``python -m synthdata.headmodel --data DATA -o FILE [--eval [--head FILE]]``: build the open head.

``python -m synthdata.headmodel --sound [--head FILE] -o FILE`` makes a built head's people and expressions
sound and its correctives again.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from synthdata.headmodel.build import build
from synthdata.headmodel.correctives import add_correctives, make_sound
from synthdata.headmodel.heldout import SHIPPED, build_eval


def main() -> None:
    """Build the open head from the shared data."""
    parser = argparse.ArgumentParser(prog="python -m synthdata.headmodel", description=main.__doc__)
    parser.add_argument("--data", type=Path, help="folder with ict-facekit/ and makehuman/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument(
        "--eval",
        action="store_true",
        help="a built head with a basis that lacks what evaluation heads are made from (heldout.py)",
    )
    parser.add_argument(
        "--sound",
        action="store_true",
        help="a built head with people and expressions made sound and correctives made again; needs no data",
    )
    parser.add_argument(
        "--head", type=Path, default=SHIPPED, help="for --eval and --sound; the shipped one by default"
    )
    options = parser.parse_args()
    if options.data is None and not options.sound:
        parser.error("give the folder of data with --data")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.sound:
        make_sound(options.head, options.output)
        head = add_correctives(options.output, options.output)
    elif options.eval:
        head = build_eval(options.data, options.output, options.head)
    else:
        head = build(options.data, options.output)
    print(
        f"{options.output}: {len(head.mean_vertices)} vertices, {len(head.quads)} quads, "
        f"{options.output.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
