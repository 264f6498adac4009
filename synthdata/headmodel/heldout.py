"""A basis of the open head that lacks part of its population, so that evaluation heads lie outside it.

The split, fixed by SEED: of ICT-FaceKit's 100 identity modes, strongest first on the open head's skin, the
LEADING stay; of every following pair one is drawn and left out of ``open-eval``. So is every family of
MakeHuman's shapes of which the evaluation heads use a member, with all its directions and both sides.
Topology, chart, expressions, landmarks and albedo are those of the shipped head.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.head.open_head import MIRROR_X as _REFLECTION
from backend.head.open_head import WEIGHTS_FILE, load_open_head, unfold
from synthdata.headmodel.assemble import carried_modes
from synthdata.headmodel.build import carrying_parts
from synthdata.headmodel.correctives import make_sound
from synthdata.headmodel.makehuman import register_makehuman
from synthdata.headmodel.population import carry_traits, population_modes
from synthdata.headmodel.source import IctSurface
from synthdata.headmodel.store import read_stored, rewrite_identity
from synthdata.headmodel.traits import family_of

SEED = 4
LEADING = 10
SHIPPED = Path(__file__).resolve().parents[2] / "backend" / "weights" / WEIGHTS_FILE


@dataclass(frozen=True)
class Split:
    """Rows of ICT's identity modes."""

    kept: NDArray[np.intp]
    held_out: NDArray[np.intp]


def split_modes(strength: NDArray[np.float64], seed: int = SEED) -> Split:
    """Which modes are kept, which left out, given each one's ``strength`` ``(K,)``; both sorted."""
    order = np.argsort(-np.asarray(strength), kind="stable")[LEADING:]
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
    drawn = np.random.default_rng(seed).integers(0, 2, len(pairs))
    held_out = np.sort(pairs[np.arange(len(pairs)), drawn])
    return Split(np.setdiff1d(np.arange(len(strength)), held_out), held_out)


@dataclass(frozen=True)
class Population:
    """ICT's identity modes on the open head, taken apart into those that ``open-eval`` knows and the rest."""

    kept: NDArray[np.float32]  # (K, V, 3) metres per standard deviation
    held_out: NDArray[np.float32]  # (L, V, 3)


def load_population(data: Path, head_file: Path = SHIPPED) -> Population:
    """ICT's modes from the folder of shared ``data`` on a built head. Raises: Missing, BadInput."""
    stored, parity, skin = _carried(data, head_file)
    split = split_modes(np.square(stored[:, :skin]).sum((1, 2)))
    shipped = read_stored(head_file)[0]
    modes = unfold(
        stored.astype(np.float32), shipped["half_vertices"], shipped["mirror_vertex"], parity, _REFLECTION
    )
    return Population(modes[split.kept], modes[split.held_out])


def build_eval(data: Path, output: Path, head_file: Path = SHIPPED) -> ParametricHead:
    """Write ``head_file`` with a basis that lacks what is held out, and read it back. Deterministic.

    Raises: Missing, BadInput, OSError.
    """
    stored, parity, skin = _carried(data, head_file)
    split = split_modes(np.square(stored[:, :skin]).sum((1, 2)))
    head, families = load_open_head(head_file), held_out_families()
    vertices = head.mean_vertices.astype(np.float64)
    registered = register_makehuman(data / "makehuman", vertices, head.triangles, head.mediapipe)
    identity = population_modes(
        head,
        read_stored(head_file)[0]["half_vertices"],
        (stored[split.kept], parity[split.kept]),
        carry_traits(data / "makehuman", registered, head, without=families),
    )
    known = {
        "held_out_ict_modes": json.dumps(split.held_out.tolist()),
        "held_out_families": json.dumps(sorted(families)),
    }
    with tempfile.TemporaryDirectory(prefix="likeness-head-") as scratch:  # stopped, it leaves no half head
        unsound = Path(scratch) / output.name
        rewrite_identity(head_file, unsound, identity, known)
        make_sound(unsound, output)
    return load_open_head(output)


def held_out_families() -> frozenset[str]:
    """Families of MakeHuman's shapes that the evaluation heads draw from."""
    from synthdata.cases.morphs import SHAPES  # which draws from this module's population

    return frozenset(family_of(name) for name in SHAPES)


def _carried(data: Path, head_file: Path) -> tuple[NDArray[np.float64], NDArray[np.int8], int]:
    """ICT's modes on the stored half of a built head, their parity, how many vertices are skin."""
    surface = IctSurface.load(data / "ict-facekit")
    parts = carrying_parts(surface)
    stored, parity = carried_modes(surface.head, parts)
    built = read_stored(head_file)[0]
    mean = np.concatenate([part.vertices for part in parts])
    half = built["mean_vertices"][built["half_vertices"]]
    if half.shape != mean.shape or not np.allclose(mean, half, atol=1e-5):
        raise BadInput(
            f"'{head_file.name}' was built by other code or from other data; "
            "rebuild it with python -m synthdata.headmodel"
        )
    return stored, parity, len(parts[0].vertices)
