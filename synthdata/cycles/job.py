"""What the process with Blender is told to do, and what it leaves: one folder. No Blender.

``job.json`` says what to render, ``sitter.npz`` holds the person, ``chart.npz`` the chart that light is baked
on, ``light_K.npy`` the lights; ``shot_K.npz`` and ``even.npy`` are the answer.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.training.schema import CameraMeta
from synthdata.cycles.dress import Colour, Dress, Looks

Direction = tuple[float, float, float]

JOB_NAME, SITTER_NAME, CHART_NAME, EVEN_NAME = "job.json", "sitter.npz", "chart.npz", "even.npy"
SPENT_NAME = "spent.json"  # seconds of processor time by step


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One photograph."""

    camera: CameraMeta
    f_number: float
    focus_m: float
    dress: Dress
    turn_degrees: float  # of the light
    colour: Colour  # times its radiance
    shade: (
        tuple[tuple[float, float, float], tuple[float, float, float]] | None
    )  # light's way, way into the shade
    seed: int


class RenderJob(msgspec.Struct, frozen=True, kw_only=True):
    """All photographs of one person."""

    head: str
    looks: Looks
    iris_srgb: Colour
    subsurface: float
    mouth_open: bool
    texels: int  # of the bakes
    samples: int
    shots: tuple[Shot, ...]


def light_path(folder: Path, number: int) -> Path:
    """The lat-long of shot ``number``."""
    return folder / f"light_{number}.npy"


def shot_path(folder: Path, number: int) -> Path:
    """Where shot ``number`` is left."""
    return folder / f"shot_{number}.npz"
