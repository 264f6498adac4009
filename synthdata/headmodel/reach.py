"""How near the open head can come to heads that it was not made from: the floor of every fit.

``python -m synthdata.headmodel.reach --data DATA [--head FILE] [--cases-head FILE --material FILE] -o FILE``
draws fresh people (ICT-FaceKit's modes and MakeHuman's shapes at full size, a smooth warp, an expression),
fits the head's identity, expressions and a small rigid motion by least squares, and writes the distances as
JSON. With ``--cases-head`` the heads of the evaluation set are fitted by that head, too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from backend.texture.noise import skin_noise
from synthdata.headmodel.heldout import SHIPPED, load_population
from synthdata.headmodel.makehuman import register_makehuman
from synthdata.headmodel.population import TraitShapes, carry_traits, importance_of

F64 = NDArray[np.float64]

PEOPLE, SEED = 200, 971
WARP_M = ((0.070, 0.0011), (0.028, 0.0004))  # wavelength and amplitude of each axis' smooth warp
EXPRESSIONS_PER_HEAD = (2, 6)
TRUST_FROM_Y_M = -0.10  # below, there is neck and shoulder, which no photograph of a face is about


@dataclass(frozen=True)
class Reach:
    """Distances left by the best linear fit, metres RMS, one per head, and the identity coefficients."""

    face_m: F64  # (N,)
    head_m: F64  # (N,) skin but for the lower neck
    coefficients: F64  # (N, K_id)

    def summary(self) -> dict[str, float]:
        """Millimetres and standard deviations for the model card."""
        c = np.sqrt(np.square(self.coefficients).mean(0))
        return {
            "heads": len(self.face_m),
            "face_rms_mm_mean": 1e3 * float(self.face_m.mean()),
            "face_rms_mm_worst": 1e3 * float(self.face_m.max()),
            "head_rms_mm_mean": 1e3 * float(self.head_m.mean()),
            "head_rms_mm_worst": 1e3 * float(self.head_m.max()),
            "coefficient_rms": float(np.sqrt(np.square(self.coefficients).mean())),
            "coefficient_rms_of_modes_5_percent": float(np.percentile(c, 5)),
            "coefficient_rms_of_modes_95_percent": float(np.percentile(c, 95)),
            "coefficient_largest": float(np.abs(self.coefficients).max()),
        }


def measure(head: ParametricHead, targets: list[F64]) -> Reach:
    """Fit every target ``(V, 3)`` in the head's own vertex order by least squares."""
    weight = importance_of(head)
    mean = head.mean_vertices.astype(np.float64)
    rows = np.flatnonzero((weight > 0) & (mean[:, 1] > TRUST_FROM_Y_M))
    root = np.repeat(np.sqrt(weight[rows]), 3)
    arm = mean[rows] - mean[rows].mean(0)
    rigid = [np.tile(axis, (len(rows), 1)) for axis in np.eye(3)]
    rigid += [np.cross(axis, arm) for axis in np.eye(3)]
    columns = np.concatenate([head.identity_basis[:, rows], head.expression_basis[:, rows], np.stack(rigid)])
    design = (columns.reshape(len(columns), -1).astype(np.float64) * root).T
    wanted = np.stack([(t[rows] - mean[rows]).ravel() for t in targets], 1)
    found = np.linalg.lstsq(design, wanted * root[:, None], rcond=1e-9)[0]
    rest = (wanted - design @ found / root[:, None]).reshape(len(rows), 3, -1)
    square = np.square(rest).sum(1)
    face = head.regions["face"][rows] > 0.5
    area = weight[rows] / (0.3 + 0.7 * head.regions["face"][rows])  # importance is area times this
    return Reach(
        np.sqrt(np.average(square[face], axis=0, weights=area[face])),
        np.sqrt(np.average(square, axis=0, weights=area)),
        found[: len(head.identity_basis)].T,
    )


def fresh_people(
    head: ParametricHead,
    ict: NDArray[np.float32],
    shapes: TraitShapes,
    count: int = PEOPLE,
    seed: int = SEED,
) -> list[F64]:
    """Random heads ``(V, 3)`` with expressions; ``ict`` are ICT's modes ``(K, V, 3)`` on ``head``."""
    rng = np.random.default_rng(seed)
    people = []
    for _ in range(count):
        vertices = head.mean_vertices + np.tensordot(rng.standard_normal(len(ict)), ict, 1)
        vertices = vertices + shapes.draw(rng)
        for axis in range(3):
            vertices[:, axis] += smooth_warp(head, int(rng.integers(2**31)))
        chosen = rng.choice(len(head.expression_names), rng.integers(*EXPRESSIONS_PER_HEAD), replace=False)
        weights = np.zeros(len(head.expression_names))
        weights[chosen] = rng.uniform(0.2, 1.0, len(chosen))
        people.append(vertices + np.tensordot(weights, head.expression_basis, 1))
    return people


def smooth_warp(head: ParametricHead, seed: int) -> F64:
    """A smooth field ``(V,)`` in metres over the mean head that knows no left and right."""
    waves, strengths = zip(*WARP_M, strict=True)
    inside = np.ones((1, len(head.mean_vertices)), bool)
    return np.asarray(skin_noise(head.mean_vertices[None], inside, waves, strengths, seed)[0], np.float64)


def measure_fresh(head_file: Path, data: Path) -> Reach:
    """`measure` on `fresh_people` made from the folder of shared ``data``. Raises: Missing, BadInput."""
    head = load_open_head(head_file)
    mean = head.mean_vertices.astype(np.float64)
    registered = register_makehuman(data / "makehuman", mean, head.triangles, head.mediapipe)
    shapes = carry_traits(data / "makehuman", registered, head)
    population = load_population(data, head_file)
    return measure(head, fresh_people(head, np.concatenate([population.kept, population.held_out]), shapes))


def measure_cases(head: ParametricHead, data: Path, material: Path, count: int) -> Reach:
    """`measure` on the first ``count`` heads of the evaluation set. Raises: Missing, BadInput."""
    from synthdata.cases.case_set import plan_heads
    from synthdata.cases.heads import make_shape
    from synthdata.cases.morphs import prepared

    made = prepared(data, material)
    return measure(
        head, [make_shape(plan, head, made).neutral.astype(np.float64) for plan in plan_heads(count)]
    )


def main() -> None:
    """Measure how near the open head can come to heads that it was not made from."""
    parser = argparse.ArgumentParser(prog="python -m synthdata.headmodel.reach", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with ict-facekit/ and makehuman/")
    parser.add_argument("--head", type=Path, default=SHIPPED, help="head file; the shipped one by default")
    parser.add_argument(
        "--cases-head", type=Path, help="head file for the evaluation set's heads (open-eval)"
    )
    parser.add_argument("--material", type=Path, help="where the evaluation set's material is kept or made")
    parser.add_argument("--cases", type=int, default=12, help="how many heads of the evaluation set")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.cases_head and not options.material:
        parser.error("--cases-head needs --material")
    found = {"fresh": measure_fresh(options.head, options.data).summary()}
    if options.cases_head:
        head = load_open_head(options.cases_head)
        reach = measure_cases(head, options.data, options.material, options.cases)
        found["cases"] = reach.summary()
    text = json.dumps(found, indent=2)
    options.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
