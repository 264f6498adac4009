"""The case folder: one photograph with what is known to be true of it (docs/case-format.md).

Everything but ``case.json`` and the photo is optional. What is absent is named, never guessed.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.evaluation.case_schema import (
    CASE_NAME,
    MAPS,
    PARTS,
    SCHEMA,
    VIEWS,
    CaseRecord,
    NovelPicture,
    RelitPicture,
)
from backend.evaluation.truth_mesh import TruthMesh, check_mesh
from blender_addon.bundle import CameraRecord

_LANDMARKS = {
    "points68_head": (68, 3),
    "points478_head": (478, 3),
    "points68_neutral_head": (68, 3),
    "landmarks_px": (478, 2),
    "points85_head": (85, 3),
}
_BUFFERS: dict[str, tuple[int, ...]] = {  # trailing shape
    "position_head": (3,),
    "normal_head": (3,),
    "albedo_linear": (3,),
    "roughness": (),
    "specular": (),
    "displacement_m": (),
    "skin_mask": (),
    "face_mask": (),
    "occluder_mask": (),
}
F64 = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class TruthView:
    """What the truth's camera sees: pictures ``(H, W[, C])`` by name, as named in docs/case-format.md."""

    camera: CameraRecord
    buffers: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A case folder: ``case.json``, photo, mesh and landmarks are checked, all is read when asked for."""

    directory: Path
    record: CaseRecord
    has_mesh: bool  # of the photographed face
    has_neutral: bool

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def subject(self) -> str:
        return self.record.subject or self.record.id

    @property
    def photo(self) -> Path:
        return self.directory / self.record.photo.file

    def has(self, part: str) -> bool:
        """Whether the truth has ``part`` (one of PARTS)."""
        truth = self.directory / "truth"
        if part == "camera":
            return self.record.camera is not None
        if part == "light":
            return self.record.light is not None
        if part == "mesh":
            return self.has_mesh
        if part == "neutral mesh":
            return self.has_neutral
        if part == "landmarks":
            return (truth / "landmarks.npz").is_file()
        if part == "relit pictures":
            return (truth / "relit" / "relit.json").is_file()
        if part == "novel pictures":
            return (truth / "novel" / "novel.json").is_file()
        kind, _, name = part.partition(" ")
        if kind == "map" and name in MAPS:
            return self.map_path(name).is_file()
        if kind == "view" and name in VIEWS:
            folder = truth / "views" / name
            return (folder / "buffers.npz").is_file() and (folder / "camera.json").is_file()
        raise KeyError(part)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Those of PARTS that the truth lacks."""
        return tuple(part for part in PARTS if not self.has(part))

    @cached_property
    def lost(self) -> tuple[str, ...]:
        """Parts that ``case.json`` lists and the folder lacks."""
        return tuple(part for part in self.record.parts if part in self.missing)

    @property
    def mesh(self) -> TruthMesh | None:
        """``truth/mesh.npz``, None where there is none. Raises: BadInput."""
        return _read_mesh(self.directory, self.id)

    @property
    def landmarks(self) -> dict[str, F64]:
        """The arrays of ``truth/landmarks.npz`` (NaN: unknown), {} where there is none. Raises: BadInput."""
        return _read_landmarks(self.directory, self.id)

    def map_path(self, name: str) -> Path:
        """Where the truth's map ``name`` (one of MAPS) lies, if it has it."""
        return self.directory / "truth" / "maps" / f"{name}.png"

    def view(self, name: str) -> TruthView:
        """The truth's view ``name``. Raises: BadInput when it is missing or damaged."""
        folder = self.directory / "truth" / "views" / name
        camera = _decode(folder / "camera.json", CameraRecord, f"case '{self.id}'")
        found = _arrays(folder / "buffers.npz", f"case '{self.id}'")
        size = (camera.height_px, camera.width_px)
        for buffer, trailing in _BUFFERS.items():
            if buffer in found and found[buffer].shape != (*size, *trailing):
                raise BadInput(
                    f"case '{self.id}': {buffer} of view '{name}' is {found[buffer].shape}, its camera's "
                    f"picture {size[1]}×{size[0]}; render the view again"
                )
        return TruthView(camera, {buffer: found[buffer] for buffer in _BUFFERS if buffer in found})

    def relit(self) -> tuple[tuple[RelitPicture, Path], ...]:
        """The truth's relit pictures and where they lie; () where there are none. Raises: BadInput."""
        folder = self.directory / "truth" / "relit"
        if not (folder / "relit.json").is_file():
            return ()
        listed = _decode(folder / "relit.json", tuple[RelitPicture, ...], f"case '{self.id}'")
        for picture in listed:
            if not (folder / picture.file).is_file():
                raise BadInput(f"case '{self.id}': truth/relit/{picture.file} is listed but not there")
        return tuple((picture, folder / picture.file) for picture in listed)

    def novel(self) -> tuple[tuple[NovelPicture, Path], ...]:
        """The truth's novel pictures and their folder; () where there are none. Raises: BadInput."""
        folder = self.directory / "truth" / "novel"
        if not (folder / "novel.json").is_file():
            return ()
        listed = _decode(folder / "novel.json", tuple[NovelPicture, ...], f"case '{self.id}'")
        for picture in listed:
            for name in (picture.file, picture.face_file):
                if not (folder / name).is_file():
                    raise BadInput(f"case '{self.id}': truth/novel/{name} is listed but not there")
        return tuple((picture, folder) for picture in listed)

    @cached_property
    def digest(self) -> str:
        """A hash of every file of the case, by name and content."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(p for p in self.directory.rglob("*") if p.is_file()):
            digest.update(path.relative_to(self.directory).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()


def read_case(directory: Path) -> Case:
    """Read and check the case in ``directory``. Raises: BadInput with one line on what is wrong."""
    if not (directory / CASE_NAME).is_file():
        raise BadInput(f"'{directory}' is not a case: it has no {CASE_NAME}")
    schema = _decode(directory / CASE_NAME, _SchemaOnly, f"'{directory}'").schema
    if schema != SCHEMA:
        raise BadInput(f"case '{directory}' has schema {schema}, this version reads {SCHEMA}")
    record = _decode(directory / CASE_NAME, CaseRecord, f"'{directory}'")
    name = f"case '{record.id}'"
    if not record.id or record.id[0] in "._" or set(record.id) & set('/\\:*?"<>|'):
        raise BadInput(
            f"'{directory / CASE_NAME}': id '{record.id}' cannot name a file; begin with a letter or digit"
        )
    if record.units != "m":
        raise BadInput(f'{name} is in \'{record.units}\'; scale its truth to metres and say "units": "m"')
    unknown = sorted(set(record.parts) - set(PARTS))
    if unknown:
        raise BadInput(f"{name} lists parts that this version does not know: {', '.join(unknown)}")
    # Damage is told at once, not after an hour of reconstructions.
    mesh = _read_mesh(directory, record.id)
    _read_landmarks(directory, record.id)
    case = Case(
        directory,
        record,
        has_mesh=mesh is not None and mesh.vertices_head is not None,
        has_neutral=mesh is not None and mesh.vertices_neutral_head is not None,
    )
    _check_photo(case)
    return case


def read_cases(root: Path) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """The cases in ``root`` (a case, or a folder of cases), by id, and one line for each unusable one.

    Raises: BadInput when there is not one usable case, or two have the same id.
    """
    if not root.is_dir():
        raise BadInput(f"'{root}' is not a folder of cases")
    if (root / CASE_NAME).is_file():
        return (read_case(root),), ()
    folders = sorted(path.parent for path in root.glob(f"*/{CASE_NAME}"))
    if not folders:
        raise BadInput(f"'{root}' holds no cases (folders with a {CASE_NAME}); see docs/case-format.md")
    cases: list[Case] = []
    problems: list[str] = []
    for folder in folders:
        try:
            cases.append(read_case(folder))
        except BadInput as error:
            problems.append(str(error))
    if not cases:
        more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise BadInput(f"none of the cases in '{root}' can be used: {problems[0]}{more}")
    cases.sort(key=lambda case: case.id)
    for a, b in pairwise(cases):
        if a.id == b.id:
            raise BadInput(f"'{a.directory}' and '{b.directory}' have the same id '{a.id}'; rename one")
    return tuple(cases), tuple(problems)


class _SchemaOnly(msgspec.Struct):
    schema: int


@lru_cache(maxsize=4)  # the metrics of one case read it several times
def _read_mesh(directory: Path, case_id: str) -> TruthMesh | None:
    path = directory / "truth" / "mesh.npz"
    if not path.exists():
        return None
    mesh = TruthMesh.from_arrays(_arrays(path, f"case '{case_id}'"))
    problem = check_mesh(mesh)
    if problem:
        raise BadInput(f"case '{case_id}': truth/mesh.npz {problem}")
    return mesh


def _read_landmarks(directory: Path, case_id: str) -> dict[str, F64]:
    path = directory / "truth" / "landmarks.npz"
    if not path.exists():
        return {}
    found = _arrays(path, f"case '{case_id}'")
    for name, shape in _LANDMARKS.items():
        if name in found and found[name].shape != shape:
            raise BadInput(
                f"case '{case_id}': {name} of truth/landmarks.npz has shape {found[name].shape}, not {shape}"
            )
    return {name: found[name].astype(np.float64) for name in _LANDMARKS if name in found}


def _check_photo(case: Case) -> None:
    from PIL import Image, UnidentifiedImageError

    stated = (case.record.photo.width_px, case.record.photo.height_px)
    try:
        with Image.open(case.photo) as image:
            size = image.size
    except FileNotFoundError:
        raise BadInput(f"case '{case.id}': its photo {case.record.photo.file} is not there") from None
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(
            f"case '{case.id}': its photo {case.record.photo.file} cannot be read ({error})"
        ) from error
    if size != stated:
        raise BadInput(
            f"case '{case.id}': its photo is {size[0]}×{size[1]}, {CASE_NAME} says {stated[0]}×{stated[1]}"
        )
    camera = case.record.camera
    if camera is not None and (camera.width_px, camera.height_px) != size:
        raise BadInput(f"case '{case.id}': the camera's picture and the photo differ in size")


def _decode(path: Path, kind: type[T], whose: str) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise BadInput(f"{whose}: {path.name} is not there") from None
    except OSError as error:
        raise BadInput(f"{whose}: {path.name} cannot be read ({error.strerror})") from error
    except msgspec.DecodeError as error:
        raise BadInput(f"{whose}: {path.name} is not as it should be ({error})") from error


def _arrays(path: Path, whose: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise BadInput(f"{whose}: {path.name} is not there") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{whose}: {path.name} is damaged ({error})") from error
