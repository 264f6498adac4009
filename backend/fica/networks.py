"""A folder of FiCA's trained networks: what `likeness train fica-pack` makes of the trainers' outputs.

``networks.json`` says sizes, versions, digests and how each part was trained; beside it lie the safetensors.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from backend import __version__
from backend.errors import BadInput, BadWeights, Missing
from backend.export.staging import staged_folder
from backend.fica.atlas import Atlas, build_atlas
from backend.fica.sizes import Size
from backend.fica.store import SETTINGS, Part, sha256_of
from backend.head.registry import load_head
from backend.training.recipe import Recipe, parse_recipe
from backend.training.session import RECIPE, SESSION

MANIFEST_NAME = "networks.json"
CLIP_FOLDER = "clip"
SCHEMA = 1
_FILES: dict[str, tuple[Part, ...]] = {
    "conditioning": ("conditioning",),
    "completion": ("completion", "codec", "semantic"),
    "refinement": ("refinement",),
    "prior": ("prior",),
}


@dataclass(frozen=True)
class Trainings:
    """Folders that the trainers wrote (their -o, or ``result`` in it)."""

    completion: Path
    refinement: Path
    prior: Path
    conditioning: Path | None = None  # None: the project's own fit says what a portrait shows
    clip: Path | None = None  # CLIP in transformers' layout, at full size


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """How a part came to be."""

    texels: int
    pixels: int  # of the pictures it was trained with
    seed: int
    steps: int
    recipe_sha256: str
    set_sha256: str  # of the training set's manifest

    def __str__(self) -> str:
        recipe, data = self.recipe_sha256[:12], self.set_sha256[:12]
        return f"{self.steps} steps, seed {self.seed}, recipe {recipe}, set {data}"


class NetworksManifest(msgspec.Struct, frozen=True, kw_only=True):
    """``networks.json``."""

    format: Literal["likeness-fica-networks"] = "likeness-fica-networks"
    schema: int = SCHEMA
    created_by: str
    size: Size
    head: str
    atlas: str  # ``atlas_digest`` at the maps' size
    parts: dict[str, Trained]
    files: dict[str, str]  # name: sha256

    @property
    def texels(self) -> int:
        """A side of the maps."""
        return self.parts["completion"].texels

    @property
    def prior_texels(self) -> int:
        return self.parts["prior"].texels

    @property
    def pixels(self) -> int:
        """A side of the portraits that the networks look at."""
        return self.parts["refinement"].pixels

    @property
    def is_exercise(self) -> bool:
        """Tiny networks exercise the path; what they make is no likeness."""
        return self.size == "tiny"

    def digest(self) -> str:
        """Of these networks, as avatars keep it."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()


def pack(trainings: Trainings, folder: Path) -> NetworksManifest:
    """Write ``folder`` with the networks of ``trainings``, all or nothing.

    Raises: BadInput (no finished training, of another part, parts that do not fit together, destination).
    """
    given = {name: getattr(trainings, name) for name in _FILES if getattr(trainings, name) is not None}
    outs = {name: path.parent if path.name == "result" else path for name, path in given.items()}
    read = {name: _read_training(f"fica-{name}", out) for name, out in outs.items()}
    size = _same("size", {name: recipe.model_dump()["size"] for name, (recipe, _) in read.items()})
    head = _same("head", {name: session["head"] for name, (_, session) in read.items()})
    on_maps = {name: recipe.model_dump() for name, (recipe, _) in read.items() if name != "prior"}
    texels = int(_same("texels", {name: recipe["texels"] for name, recipe in on_maps.items()}))
    _same("pixels", {name: recipe["pixels"] for name, recipe in on_maps.items()})
    if size == "full" and (trainings.clip is None or not trainings.clip.is_dir()):
        raise Missing("the full size needs CLIP ViT-L/14: give its folder as --clip")
    with staged_folder(folder) as staging:
        files = {}
        for name, out in outs.items():
            for part in _FILES[name]:
                source = out / "result" / f"{part}.safetensors"
                if not source.is_file() and part == "semantic" and size == "full":
                    continue
                if not source.is_file():
                    raise BadInput(f"'{out}' lacks result/{source.name}; finish `likeness train fica-{name}`")
                shutil.copyfile(source, staging / source.name)
                files[source.name] = sha256_of(source)
        if trainings.clip is not None:
            shutil.copytree(trainings.clip, staging / CLIP_FOLDER)
        manifest = NetworksManifest(
            created_by=f"likeness {__version__}",
            size="full" if size == "full" else "tiny",
            head=head,
            atlas=atlas_digest(build_atlas(load_head(head), texels)),
            parts={name: _trained(outs[name], *read[name]) for name in outs},
            files=files,
        )
        written = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
        (staging / MANIFEST_NAME).write_bytes(written)
        known = {
            part: {"size": size, "texels": manifest.parts[name].texels}
            for name in outs
            for part in _FILES[name]
            if f"{part}.safetensors" in files
        }
        (staging / SETTINGS).write_text(json.dumps(known, indent=2) + "\n", "utf-8")
    return manifest


def read_networks(folder: Path) -> NetworksManifest:
    """The manifest of ``folder``, its files checked.

    Raises: Missing (no such folder, a file is gone), BadWeights (damaged, changed, of another version).
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise Missing(
            f"'{folder}' holds no packed networks ({MANIFEST_NAME}); `likeness train fica-pack` makes one"
        )
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=NetworksManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BadWeights(f"'{path}' is damaged or of another version ({error}); pack again") from error
    if manifest.schema != SCHEMA or not {"completion", "refinement", "prior"} <= set(manifest.parts):
        raise BadWeights(f"'{path}' is of another version of Likeness; pack again")
    for name, digest in manifest.files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise Missing(f"'{folder}' lacks {name}; pack again")
        if sha256_of(folder / name) != digest:
            raise BadWeights(f"'{folder / name}' is not the file that was packed; pack again")
    return manifest


def atlas_digest(atlas: Atlas) -> str:
    """Tells layouts of the atlas apart: which triangle each texel shows."""
    return hashlib.sha256(atlas.raster.triangle.tobytes()).hexdigest()[:32]


def _read_training(task: str, out: Path) -> tuple[Recipe, dict[str, Any]]:
    try:
        session = json.loads((out / SESSION).read_text("utf-8"))
        text = (out / RECIPE).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"'{out}' is no training; give the folder of `likeness train {task} -o`") from error
    if not isinstance(session, dict) or session.get("task") != task:
        raise BadInput(f"'{out}' is a training of {session.get('task')}, wanted is one of {task}")
    return parse_recipe(task, text, str(out / RECIPE)), session


def _same(field: str, found: dict[str, Any]) -> Any:
    first, value = next(iter(found.items()))
    for name, other in found.items():
        if other != value:
            raise BadInput(
                f"the {name} was trained with {field} {other}, the {first} with {value}; both must agree"
            )
    return value


def _trained(out: Path, recipe: Recipe, session: dict[str, Any]) -> Trained:
    values = recipe.model_dump()
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return Trained(
        texels=values["texels"],
        pixels=values["pixels"],
        seed=recipe.seed,
        steps=max(steps, default=0),
        recipe_sha256=sha256_of(out / RECIPE),
        set_sha256=session["set"],
    )
