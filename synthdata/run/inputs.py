"""What the user gives a run, looked at once before anything is made: what can be used, what is skipped."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backend import __version__
from backend.errors import BadInput, Missing
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.training.schema import Licence, Recipe
from synthdata.light.panoramas import Folder, survey
from synthdata.run.faces import Faces, fitted_faces
from synthdata.run.plan import CYCLES_SAMPLES, RENDERERS, Preset
from synthdata.run.scanned import ScanFolder, survey_scans
from synthdata.run.sources import Job

LIBRARIES = ("numpy", "torch", "opencv-contrib-python", "embreex", "scipy", "numba")
FACES_FOLDER = ".faces"
_REGIONS = ("face", "brows", "scalp")
_BOTH_EVERY = 8  # persons, where a preset does not say

Watch = Callable[[str, float], None]


@dataclass(frozen=True)
class Asked:
    """The options of a run."""

    preset: str
    count: int
    seed: int = 0
    head: str = "open"
    panoramas: tuple[Path, ...] = ()  # folders
    scans: Path | None = None
    scan_share: float = 1.0
    photographs: Path | None = None
    renderer: str = ""  # of RENDERERS; "": as the preset has it


@dataclass(frozen=True)
class Inputs:
    """A run ready to begin."""

    recipe: Recipe
    job: Job
    licences: tuple[Licence, ...]
    skipped: tuple[str, ...]


def gather(asked: Asked, sizes: Preset, out: Path, watch: Watch = lambda stage, share: None) -> Inputs:
    """Look at everything that was given. Fits of photographs are kept in ``out``.

    Raises: Missing, BadInput when a folder or the head is of no use; OSError.
    """
    head = load_head(asked.head)
    _check_head(head, asked.head)
    every = _cycles_every(asked, sizes)
    light = _joined([survey(folder) for folder in asked.panoramas])
    scans = survey_scans(asked.scans) if asked.scans is not None else ScanFolder()
    faces = Faces()
    if asked.photographs is not None:
        faces = fitted_faces(asked.photographs, head, out / FACES_FOLDER, watch)
        fewest = sizes.cycles_instances if every == 1 else sizes.instances_per_person
        most = len(faces.modes) * fewest
        if asked.count > most:
            raise BadInput(
                f"{len(faces.modes)} faces give {most} instances of this preset, not {asked.count}; "
                "add photographs or lower --count"
            )
    recipe = Recipe(
        preset=asked.preset,
        count=asked.count,
        seed=asked.seed,
        instances_per_person=sizes.instances_per_person,
        persons_per_shard=sizes.persons_per_shard,
        texels=sizes.texels,
        portrait_px=sizes.portrait_px,
        cameras=sizes.cameras,
        cycles_every=every,
        cycles_instances=sizes.cycles_instances if every else 0,
        cycles_samples=CYCLES_SAMPLES if every else 0,
        panoramas=light.licences,
        head=asked.head,
        head_sha256=head.weights_sha256 or "",
        photographs=faces.licences,
        scans=scans.licences,
        scan_share=asked.scan_share if scans.folders else 0.0,
        versions={"likeness": __version__, **_versions(every > 0)},
    )
    job = Job(
        recipe_json=msgspec.json.encode(recipe),
        panoramas=tuple(path.resolve() for path in light.paths),
        scans=tuple(path.resolve() for path in scans.folders),
        faces=faces.modes,
    )
    of_head = Licence(what=f"head '{head.name}'", licence=head.licence, sha256=head.weights_sha256 or "")
    licences = (of_head, *light.licences, *scans.licences, *faces.licences)
    return Inputs(recipe, job, licences, (*light.skipped, *scans.skipped, *faces.skipped))


def _joined(folders: Sequence[Folder]) -> Folder:
    return Folder(
        tuple(path for folder in folders for path in folder.paths),
        tuple(licence for folder in folders for licence in folder.licences),
        tuple(line for folder in folders for line in folder.skipped),
    )


def _check_head(head: ParametricHead, asked: str) -> None:
    lacking = [name for name in _REGIONS if name not in head.regions]
    if lacking:
        raise BadInput(f"head '{asked}' has no regions {', '.join(lacking)}; take open or ict:PATH")


def _cycles_every(asked: Asked, sizes: Preset) -> int:
    """Which persons Cycles renders: 0 none, 1 all, k every k-th. Raises: BadInput, Missing."""
    every = {"transfer": 0, "cycles": 1, "both": sizes.cycles_every or _BOTH_EVERY, "": sizes.cycles_every}
    if asked.renderer not in every:
        raise BadInput(f"--path '{asked.renderer}' is not offered; take one of {', '.join(RENDERERS)}")
    wanted = every[asked.renderer]
    if wanted and asked.head != "open":
        raise BadInput(f"Cycles renders the open head, not '{asked.head}'; add --path transfer")
    if wanted and importlib.util.find_spec("bpy") is None:
        raise Missing(
            "this set is rendered by Cycles, and Blender's module is not installed; "
            "pip install 'likeness[blend]' or add --path transfer"
        )
    return wanted


def _versions(is_rendered: bool) -> dict[str, str]:
    try:
        names = (*LIBRARIES, "bpy") if is_rendered else LIBRARIES
        return {name: importlib.metadata.version(name) for name in names}
    except importlib.metadata.PackageNotFoundError as error:
        raise Missing(f"{error.name} is not installed; pip install 'likeness[train]'") from error
