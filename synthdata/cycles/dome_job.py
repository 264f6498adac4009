"""What the process with Blender is told about one person before a dome of cameras: one folder. No Blender.

``dome.json`` says what to render; moment K has ``sitter_K.npz`` and ``chart_K.npz``; ``light.npy`` is the
light. ``views_K.npz`` (``rgba`` and ``covers`` of all cameras) and ``shaded_K.npy`` are the answer.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.training.schema import CameraMeta
from synthdata.cycles.dress import Colour, Dress, Looks

JOB_NAME, LIGHT_NAME = "dome.json", "light.npy"


class DomeJob(msgspec.Struct, frozen=True, kw_only=True):
    """All moments of one person."""

    head: str
    looks: Looks
    dress: Dress
    iris_srgb: Colour
    subsurface: float
    mouth_open: tuple[bool, ...]  # by moment
    cameras: tuple[CameraMeta, ...]
    turn_degrees: float  # of the light
    colour: Colour  # times its radiance
    samples: int
    seed: int


def sitter_path(folder: Path, moment: int) -> Path:
    """The person as arrays."""
    return folder / f"sitter_{moment}.npz"


def chart_path(folder: Path, moment: int) -> Path:
    """The chart that light is baked on."""
    return folder / f"chart_{moment}.npz"


def views_path(folder: Path, moment: int) -> Path:
    """Where a moment's pictures are left."""
    return folder / f"views_{moment}.npz"


def shaded_path(folder: Path, moment: int) -> Path:
    """Where its lit chart is left."""
    return folder / f"shaded_{moment}.npy"
