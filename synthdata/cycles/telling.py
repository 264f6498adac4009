"""A person as the process with Blender is told of it, and starting that process. No Blender."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from backend.colour import luminance
from backend.errors import LikenessError
from backend.head.base import ParametricHead
from backend.head.lid_motion import rested_eyes
from backend.training.schema import PersonMeta
from backend.uvspace.chart import tangent_to_head
from backend.uvspace.seams import dilate
from synthdata.cycles.dress import Looks, draw_looks
from synthdata.run.people import Person
from synthdata.skin.parameters import SkinParameters, sample_parameters

_SUBSURFACE = 0.8  # of light skin's diffuse light; darker skin lets less of it walk
_PAD_TEXELS = 8
_OPENS_MOUTH = ("jawOpen", "mouthFunnel", "mouthUpperUpLeft", "mouthLowerDownLeft")


def skin_and_looks(identity: int, seed: int) -> tuple[SkinParameters, Looks]:
    """Person ``identity`` of the set of ``seed``: its skin, with little painted hair, and its strands."""
    rng = np.random.default_rng([seed, 7, identity])
    skin = sample_parameters(int(rng.integers(1, 2**31)))
    looks = draw_looks(rng, skin)
    # Strands carry brows and hair; what is painted below them only keeps the skin from shining through.
    cropped = skin.cropped_mm * float(rng.random() < 0.3)
    if looks.hair is not None:
        cropped = 8.0 if looks.hair.bald_top < 0.1 and looks.hair.receding < 0.3 else 2.0
    return replace(skin, brows=0.45 * skin.brows, cropped_mm=cropped), looks


def write_sitter(path: Path, head: ParametricHead, person: Person) -> None:
    """The arrays of ``stage.Sitter``."""
    maps = person.materials
    np.savez(
        path,
        neutral=rested_eyes(head, head.shape(np.array(person.meta.identity_coefficients))),
        vertices=person.vertices_head,
        albedo_linear=maps.albedo_linear,
        roughness=maps.roughness,
        specular=maps.specular,
        relief_tangent=person.relief_tangent,
    )


def write_chart(path: Path, person: Person) -> None:
    """The arrays of ``process.Chart``, of the size that is baked."""
    chart = person.chart
    normal = tangent_to_head(chart.normal_head, chart.tangent_head, person.materials.normal_tangent)
    np.savez(
        path,
        inside=chart.inside,
        albedo_linear=person.materials.albedo_linear,
        normal_head=dilate(normal, chart.inside, _PAD_TEXELS),
    )


def subsurface(meta: PersonMeta) -> float:
    """The share of diffuse light that walks under the skin."""
    bright = float(luminance(np.array(meta.mean_albedo_linear)))
    return _SUBSURFACE * min(1.0, 0.45 + 1.6 * bright)


def shows_mouth(meta: PersonMeta) -> bool:
    """Whether teeth and tongue can be seen."""
    return any(meta.expression.get(name, 0.0) > 0.05 for name in _OPENS_MOUTH)


def render(folder: Path, module: str = "synthdata.cycles.worker") -> None:
    """Run the job in ``folder`` in a Blender of its own. Raises: LikenessError."""
    log = folder / "log"
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "blender")}
    with log.open("wb") as file:
        code = subprocess.run(
            [sys.executable, "-m", module, str(folder)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        ).returncode
    if code != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1].strip() if lines else "no message"
        raise LikenessError(f"Blender's process ended with {code} ({last}); run again with --resume")
