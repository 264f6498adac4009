"""The avatar bundle: a folder with ``avatar.json``, ``mesh.npz`` and ``maps/*.png``.

Beside them lie, except in bundles written before there were such files, ``photo.jpg`` (the camera's
picture), ``landmarks.npz`` (``blender_addon.landmarks``) and, where maps are larger than PROXY_SIDE,
``proxies/*.png`` of that side.

The schema lives here, read and written by the backend and by the add-on alike; no Blender, no backend.
Head space: metres, right-handed, +Y up, face to +Z. UV origin bottom-left. Camera space: OpenCV.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from .arrays import SparseOffsets as SparseOffsets
from .arrays import write_arrays
from .correctives import Correctives
from .splats_record import SplatsRecord as SplatsRecord

SCHEMA = 1  # raised when a reader of the older schema would misread a bundle
MANIFEST_NAME = "avatar.json"
MESH_NAME = "mesh.npz"
PHOTO_NAME = "photo.jpg"
MAP_NAMES = ("albedo", "normal", "roughness", "specular", "displacement", "visibility")
PROXY_SIDE = 1024  # texels

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"


class BundleError(ValueError):
    """The folder is not an avatar that this version can read; the text is one line for the user."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the reconstruction."""

    name: str
    implementation: str
    seconds: float


class FitErrors(msgspec.Struct, frozen=True, kw_only=True):
    """How well the head explains the photograph; landmarks are those held out of the fit. None: unknown."""

    landmark_error_px: float | None
    landmark_error_iod: float | None  # over the projected distance of the outer eye corners
    photometric_psnr_db: float | None


class CameraRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A pinhole camera with square pixels, pixel centres at .5."""

    focal_px: float
    principal_px: tuple[float, float]
    width_px: int
    height_px: int
    world_to_camera: tuple[
        tuple[float, float, float, float],
        tuple[float, float, float, float],
        tuple[float, float, float, float],
    ]  # 3×4, head space (metres) to OpenCV camera space (metres)
    focal_source: str = ""


class Light(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated environment light: radiance spherical harmonics to degree 2, linear Rec. 709."""

    radiance_sh: tuple[tuple[float, float, float], ...]  # 9×3
    description: str = (
        "environment radiance in head space (+Y up, face to +Z), linear Rec. 709, orthonormal real "
        "spherical harmonics in the order 1, y, z, x, xy, yz, 3z²-1, xz, x²-y²"
    )


class PhotoRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Which photograph, and where in it the face lies."""

    name: str
    sha256: str
    size: tuple[int, int]  # width, height of the file, upright
    face_box: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the camera's picture


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A file of learned or measured parameters that took part."""

    name: str
    sha256: str | None
    licence: str


class Eyes(msgspec.Struct, frozen=True, kw_only=True):
    """The eyes' appearance and place."""

    iris_srgb: tuple[float, float, float]  # [0, 1]
    centres: tuple[tuple[float, float, float], tuple[float, float, float]]  # head space, metres: left, right


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``avatar.json``."""

    schema: int
    created_by: str
    engine: str
    head: str
    stages: tuple[Stage, ...]
    peak_rss_mb: float | None  # of the reconstructing process; None where the system does not tell
    fit: FitErrors
    camera: CameraRecord
    light: Light
    photo: PhotoRecord
    displacement_scale_m: float  # metres between the values 0 and 1 of the displacement map
    displacement_midlevel: float = 0.5  # the value that moves nothing
    texels_per_pixel: float
    weights: tuple[Weights, ...]
    seed: int
    warnings: tuple[str, ...]
    eyes: Eyes
    expression: dict[str, float]  # fitted weight in [0, 1] by expression name
    identity: tuple[float, ...] | None = None  # of the head's basis, standard deviations; None: not kept
    photos: tuple[PhotoRecord, ...] = ()  # all of one person that took part, ``photo`` first; (): it alone
    splats: SplatsRecord | None = None  # None: the avatar has none
    partial: bool = False  # the reconstruction is still at work: maps missing or preliminary


@dataclass(frozen=True)
class Mesh:
    """``mesh.npz``: the neutral head of this person, its charts and its expressions."""

    vertices_neutral_head: NDArray[np.float32]  # (V, 3) metres
    quads: NDArray[np.int32]  # (Q, 4), last −1 for a triangle
    quad_uvs: NDArray[np.int32]  # (Q, 4) rows of uvs
    quad_part: NDArray[np.uint8]  # (Q,) index into part_names
    part_names: tuple[str, ...]  # "skin" first
    uvs: NDArray[np.float32]  # (U, 2)
    triangles: NDArray[np.int32]  # (T, 3) the one triangulation that the maps were baked on
    triangle_uvs: NDArray[np.int32]  # (T, 3)
    triangle_quad: NDArray[np.int32]  # (T,)
    expression_names: tuple[str, ...]
    expressions: SparseOffsets
    expression_weights: NDArray[np.float32]  # (E,) fitted, in [0, 1]
    eye_centres_head: NDArray[np.float32]  # (2, 3) metres: subject's left, right
    regions: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # (V,) soft, 255 is fully inside
    correctives: Correctives = field(default_factory=Correctives.none)

    def expressed(self) -> NDArray[np.float32]:
        """Vertices ``(V, 3)`` in metres with the fitted expression: the photographed face."""
        return self.posed(self.expression_weights)

    def posed(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vertices ``(V, 3)`` in metres with the expression ``weights`` ``(E,)``."""
        vertices = self.vertices_neutral_head.astype(np.float64)
        for e, weight in enumerate(weights):
            rows, offset = self.expressions.rows(e)
            vertices[rows] += float(weight) * offset
        vertices += self.correctives.moved(weights, len(vertices))
        return vertices.astype(np.float32)


@dataclass(frozen=True)
class Avatar:
    """A bundle that has been read and checked."""

    directory: Path
    manifest: Manifest
    mesh: Mesh

    def map_path(self, name: str) -> Path:
        """Where the map ``name`` (one of MAP_NAMES) lies."""
        return map_path(self.directory, name)

    def maps(self) -> tuple[str, ...]:
        """The MAP_NAMES whose file is there: all of a whole bundle, those made so far of a partial one."""
        return tuple(name for name in MAP_NAMES if self.map_path(name).is_file())


def map_path(directory: Path, name: str) -> Path:
    """Where the map ``name`` lies in the bundle ``directory``."""
    if name not in MAP_NAMES:
        raise KeyError(name)
    return directory / "maps" / f"{name}.png"


def proxy_path(directory: Path, name: str) -> Path:
    """Where the PROXY_SIDE² version of the map ``name`` lies, if the bundle has one."""
    if name not in MAP_NAMES:
        raise KeyError(name)
    return directory / "proxies" / f"{name}.png"


def is_bundle(directory: Path) -> bool:
    """Whether ``directory`` looks like an avatar (it may still be damaged)."""
    return (directory / MANIFEST_NAME).is_file()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write ``avatar.json``. Raises: OSError."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    # A growing bundle is read while it is written: the new manifest takes the old one's place at once.
    fresh = directory / f".{MANIFEST_NAME}.new"
    fresh.write_bytes(text + b"\n")
    fresh.replace(directory / MANIFEST_NAME)


def write_mesh(directory: Path, mesh: Mesh) -> None:
    """Write ``mesh.npz``; names are stored as UTF-8 text, nothing is pickled. Raises: OSError."""
    arrays = {name: getattr(mesh, name) for name in _ARRAYS}
    write_arrays(
        directory / MESH_NAME,
        part_names=np.array(mesh.part_names, np.str_),
        expression_names=np.array(mesh.expression_names, np.str_),
        expression_start=mesh.expressions.start,
        expression_vertex=mesh.expressions.vertex,
        expression_offset=mesh.expressions.offset,
        corrective_factors=mesh.correctives.factors,
        corrective_start=mesh.correctives.offsets.start,
        corrective_vertex=mesh.correctives.offsets.vertex,
        corrective_offset=mesh.correctives.offsets.offset,
        region_names=np.array(tuple(mesh.regions), np.str_),
        regions=np.stack(list(mesh.regions.values())) if mesh.regions else np.zeros((0, 0), np.uint8),
        **arrays,
    )


def read_bundle(directory: Path) -> Avatar:
    """Read and check a bundle. Raises: BundleError when it is absent, damaged, unfinished, newer or older."""
    manifest = read_manifest(directory)
    if manifest.partial:
        raise BundleError(f"'{directory}' is the unfinished work of a reconstruction; run it again")
    mesh = read_mesh(directory)
    for name in MAP_NAMES:
        png_size(map_path(directory, name))
    return Avatar(directory, manifest, mesh)


def read_partial(directory: Path) -> Avatar:
    """Read a bundle that may still be growing: manifest and mesh, whatever maps there are.

    ``manifest.partial`` tells whether it is whole. Raises: BundleError as ``read_bundle``.
    """
    avatar = Avatar(directory, read_manifest(directory), read_mesh(directory))
    if not avatar.manifest.partial:
        return read_bundle(directory)
    for name in avatar.maps():
        png_size(avatar.map_path(name))
    return avatar


def read_manifest(directory: Path) -> Manifest:
    """Read ``avatar.json``. Raises: BundleError."""
    path = directory / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BundleError(f"'{directory}' is not an avatar: it has no readable {MANIFEST_NAME}") from error
    try:
        schema = msgspec.json.decode(text, type=_SchemaOnly).schema
    except msgspec.DecodeError as error:
        raise BundleError(f"'{path}' is damaged ({error}); reconstruct the avatar again") from error
    if schema > SCHEMA:
        raise BundleError(
            f"'{directory}' was made by a newer Likeness (schema {schema}, this one reads {SCHEMA}); "
            "update Likeness"
        )
    if schema < SCHEMA:
        raise BundleError(
            f"'{directory}' was made by an older Likeness (schema {schema}, this one reads {SCHEMA}); "
            "reconstruct it again"
        )
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"'{path}' is damaged ({error}); reconstruct the avatar again") from error
    if len(manifest.light.radiance_sh) != 9:
        raise BundleError(f"'{path}' is damaged (light needs 9 coefficients); reconstruct the avatar again")
    return manifest


def read_mesh(directory: Path) -> Mesh:
    """Read ``mesh.npz``. Raises: BundleError when arrays are missing or do not fit together."""
    path = directory / MESH_NAME
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        mesh = Mesh(
            **{name: arrays[name].astype(dtype, copy=False) for name, (_, dtype) in _ARRAYS.items()},
            part_names=tuple(str(n) for n in arrays["part_names"]),
            expression_names=tuple(str(n) for n in arrays["expression_names"]),
            expressions=SparseOffsets(
                arrays["expression_start"].astype(np.int64),
                arrays["expression_vertex"].astype(np.int32),
                arrays["expression_offset"].astype(np.float32),
            ),
            regions={  # bundles written before there were regions have none
                str(name): row.astype(np.uint8, copy=False)
                for name, row in zip(arrays.get("region_names", ()), arrays.get("regions", ()), strict=True)
            },
            correctives=_correctives(arrays),
        )
    except FileNotFoundError as error:
        raise BundleError(
            f"'{directory}' is incomplete: {MESH_NAME} is missing; reconstruct the avatar again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"'{path}' is damaged ({error}); reconstruct the avatar again") from error
    problem = _inconsistency(mesh)
    if problem:
        raise BundleError(f"'{path}' is damaged ({problem}); reconstruct the avatar again")
    return mesh


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG that begins and ends as it should. Raises: BundleError."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
            file.seek(max(-12, -path.stat().st_size), 2)
            tail = file.read()
    except OSError as error:
        raise BundleError(f"'{path}' is missing or unreadable; reconstruct the avatar again") from error
    if len(head) < 24 or not head.startswith(_PNG_SIGNATURE) or not tail.endswith(_PNG_END):
        raise BundleError(f"'{path}' is damaged (not a whole PNG); reconstruct the avatar again")
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)


def _correctives(arrays: dict[str, NDArray[np.generic]]) -> Correctives:
    if "corrective_factors" not in arrays:  # heads without, and bundles written before there were any
        return Correctives.none()
    return Correctives(
        arrays["corrective_factors"].astype(np.int32),
        SparseOffsets(
            arrays["corrective_start"].astype(np.int64),
            arrays["corrective_vertex"].astype(np.int32),
            arrays["corrective_offset"].astype(np.float32),
        ),
    )


class _SchemaOnly(msgspec.Struct):
    schema: int


# Plain arrays of mesh.npz: trailing shape and type.
_ARRAYS: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "vertices_neutral_head": ((3,), np.float32),
    "quads": ((4,), np.int32),
    "quad_uvs": ((4,), np.int32),
    "quad_part": ((), np.uint8),
    "uvs": ((2,), np.float32),
    "triangles": ((3,), np.int32),
    "triangle_uvs": ((3,), np.int32),
    "triangle_quad": ((), np.int32),
    "expression_weights": ((), np.float32),
    "eye_centres_head": ((3,), np.float32),
}


def _inconsistency(mesh: Mesh) -> str | None:
    """What does not fit together in ``mesh``, None when it is sound."""
    for name, (trailing, _) in _ARRAYS.items():
        array = getattr(mesh, name)
        if array.ndim != 1 + len(trailing) or array.shape[1:] != trailing:
            return f"{name} has shape {array.shape}"
    if not np.isfinite(mesh.vertices_neutral_head).all() or not np.isfinite(mesh.uvs).all():
        return "vertices or UVs are not finite"
    expressions = mesh.expressions
    count = len(mesh.expression_names)
    if expressions.start.shape != (count + 1,) or mesh.expression_weights.shape != (count,):
        return "expression names, weights and offsets differ in number"
    moved = len(expressions.vertex)
    if expressions.offset.shape != (moved, 3) or int(expressions.start[-1]) != moved:
        return "expression offsets are cut short"
    if expressions.start[0] != 0 or (np.diff(expressions.start) < 0).any():
        return "expression rows are out of order"
    vertices, charts = len(mesh.vertices_neutral_head), len(mesh.uvs)
    quads, triangles = len(mesh.quads), len(mesh.triangles)
    same_length = (
        (mesh.quad_uvs, quads),
        (mesh.quad_part, quads),
        (mesh.triangle_uvs, triangles),
        (mesh.triangle_quad, triangles),
        (mesh.eye_centres_head, 2),
    )
    if any(len(array) != length for array, length in same_length):
        return "faces and their UVs or parts differ in number"
    if any(row.shape != (vertices,) for row in mesh.regions.values()):
        return "regions and vertices differ in number"
    bounds = (
        (mesh.quads[:, :3], 0, vertices),
        (mesh.quads[:, 3], -1, vertices),
        (mesh.quad_uvs[:, :3], 0, charts),
        (mesh.quad_uvs[:, 3], -1, charts),
        (mesh.triangles, 0, vertices),
        (mesh.triangle_uvs, 0, charts),
        (mesh.triangle_quad, 0, quads),
        (mesh.quad_part, 0, len(mesh.part_names)),
        (expressions.vertex, 0, vertices),
    )
    for array, low, high in bounds:
        if array.size and (array.min() < low or array.max() >= high):
            return "indices point outside their arrays"
    return mesh.correctives.inconsistency(count, vertices)
