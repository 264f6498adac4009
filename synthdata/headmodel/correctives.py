"""The last steps on a built head's file: people and expressions made sound, lids closed, correctives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from backend.head.base import ParametricHead
from backend.head.eyeball import GAZES_DEG
from backend.head.lid_motion import Shapes, mirror_images, with_motion
from backend.head.lids import BLINK, LidLayout, Lids, closed_lids, gaze_correctives, lid_correctives
from backend.head.open_head import load_open_head
from synthdata.headmodel.lip_correctives import lip_correctives
from synthdata.headmodel.restrain import sound_expressions, sound_modes
from synthdata.headmodel.store import read_stored, rewrite_identity, rewrite_motion


def add_correctives(source: Path, output: Path) -> ParametricHead:
    """Write the built head ``source`` with closed lids over its corneas and with correctives; read it back.

    No expression of it folds a quad. Deterministic. Raises: Missing, BadInput (not an open head), OSError.
    """
    head = load_open_head(source)
    blink: Shapes = {(BLINK,): closed_lids(Lids(LidLayout(head)))}
    head = with_motion(head, blink | mirror_images(blink, head))
    head = dataclasses.replace(head, expression_basis=sound_expressions(head))
    lids = Lids(LidLayout(head))
    look = {name: lids.layout.offsets(name) for name in GAZES_DEG}
    closing = lid_correctives(lids, lids.layout.offsets(BLINK), look, {})
    left = {**closing, **gaze_correctives(lids, look), **lip_correctives(head)}
    made = with_motion(head, left | mirror_images(left, head))
    rewrite_motion(source, output, made.expression_basis, made.correctives)
    return load_open_head(output)


def make_sound(source: Path, output: Path) -> None:
    """Write the built head ``source`` with identity modes in which random people neither fold nor cross.

    Deterministic. Raises: Missing, BadInput (not an open head), OSError.
    """
    stored = read_stored(source)[0]
    modes = sound_modes(load_open_head(source))[:, stored["half_vertices"]].astype(np.float64)
    rewrite_identity(source, output, (modes, stored["identity_parity"]), {})
