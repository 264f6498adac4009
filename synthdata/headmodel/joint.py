"""How sex, age and weight move the coefficients of a head's identity modes.

    python -m synthdata.headmodel.joint DATA OUT.json

The modes hold whole people and have no names. MakeHuman's shapes for the three are laid onto the head and
explained by its modes; whoever draws a person with a given sex and age moves the coefficients by that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.registry import load_head
from synthdata.headmodel.makehuman import register_makehuman
from synthdata.headmodel.population import EXPLAINED_M, carry_traits, importance_of
from synthdata.headmodel.traits import AGES, BODIES, ORIGINS, SEXES, find_traits
from synthdata.run.shapes import digest_of_modes

F64 = NDArray[np.float64]

FAT = "head/head-fat"
NAMES = ("sex", "age", "weight")


def directions(folder: Path, head: ParametricHead) -> F64:
    """Coefficients ``(3, K)`` of a whole step: woman to man, MakeHuman's 25 to 90 years, lean to heavy.

    ``folder`` is MakeHuman's. Raises: Missing.
    """
    registered = register_makehuman(
        folder, head.mean_vertices.astype(np.float64), head.triangles, head.mediapipe
    )
    others = frozenset(t.family for t in find_traits(folder) if t.family not in (BODIES, FAT))
    shapes = carry_traits(folder, registered, head, others)
    by_family = {t.family: s for t, s in zip(shapes.traits, shapes.offsets, strict=True)}
    body = by_family[BODIES].reshape(len(ORIGINS), len(SEXES), len(AGES), -1, 3)
    lean, fat = by_family[FAT]
    steps = np.stack(
        [
            (body[:, 1] - body[:, 0]).mean((0, 1)),
            (body[:, :, 1] - body[:, :, 0]).mean((0, 1)),
            fat - lean,
        ]
    )
    return explained(steps, head)


def explained(offsets: NDArray[np.float32], head: ParametricHead) -> F64:
    """The most likely coefficients ``(N, K)`` that make ``offsets`` ``(N, V, 3)``, symmetric ones."""
    even = 0.5 * (offsets + offsets[:, head.mirror_vertex] * np.array([-1, 1, 1], np.float32))
    root = np.sqrt(importance_of(head))[:, None]
    modes = (head.identity_basis * root).reshape(len(head.identity_basis), -1).astype(np.float64)
    wanted = (even * root).reshape(len(even), -1).astype(np.float64)
    normal = modes @ modes.T + EXPLAINED_M**2 * np.eye(len(modes))
    return np.asarray(np.linalg.solve(normal, modes @ wanted.T).T)


def main() -> None:
    """Write the coefficients of the open head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of shared data with `makehuman`")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    head = load_head("open")
    found = directions(options.data / "makehuman", head)
    rows = {name: [round(float(c), 3) for c in row] for name, row in zip(NAMES, found, strict=True)}
    options.out.write_text(json.dumps({"modes": digest_of_modes(head), **rows}) + "\n")


if __name__ == "__main__":
    main()
