"""Gaussian splats and their PLY files with the field names of 3D Gaussian splatting; no bpy.

What the arrays hold is what the files hold, before activation, so that reading and writing lose nothing:
scales are natural logarithms of the standard deviations, opacity is a logit, quaternions may have any length.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import splat_sh

_FloatArray = NDArray[np.float32]

LARGEST_LOG_SCALE = 20.0  # half a thousand million units: nothing that a picture could show
_REST_TO_DEGREE = {0: 0, 9: 1, 24: 2, 45: 3}
_LONGEST_HEADER = 1 << 16  # bytes
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_POSITION = ("x", "y", "z")
_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_SCALE = ("scale_0", "scale_1", "scale_2")
_ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")


class SplatsError(ValueError):
    """Splats that cannot be read, drawn or written; the text is one line for the user."""


@dataclass(frozen=True)
class Splats:
    """N Gaussians with view-dependent colour, before activation. Raises: SplatsError when arrays disagree."""

    positions: _FloatArray  # (N, 3) in the unit and axes of the file
    log_scales: _FloatArray  # (N, 3) ln of the standard deviations along the Gaussian's own axes
    rotations: _FloatArray  # (N, 4) quaternion w, x, y, z from own axes to the file's; any length but 0
    opacity_logits: _FloatArray  # (N,) opacity is 1 / (1 + exp(−logit))
    sh: _FloatArray  # (N, K, 3) coefficients of red, green, blue, K = 1, 4, 9 or 16; basis: splat_sh

    def __post_init__(self) -> None:
        count = len(self.positions)
        counts = [splat_sh.coefficient_count(degree) for degree in range(splat_sh.MAX_DEGREE + 1)]
        sound = (
            self.positions.shape == self.log_scales.shape == (count, 3)
            and self.rotations.shape == (count, 4)
            and self.opacity_logits.shape == (count,)
            and self.sh.ndim == 3
            and self.sh.shape[0] == count
            and self.sh.shape[1] in counts
            and self.sh.shape[2] == 3
        )
        if not sound:
            raise SplatsError("The splats' arrays differ in number or have the wrong shape.")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return math.isqrt(self.sh.shape[1]) - 1

    def scales(self) -> _FloatArray:
        """Standard deviations ``(N, 3)`` in the unit of the positions."""
        return np.exp(self.log_scales)

    def opacities(self) -> _FloatArray:
        """Opacities ``(N,)`` in (0, 1)."""
        with np.errstate(over="ignore"):
            return (1.0 / (1.0 + np.exp(-self.opacity_logits))).astype(np.float32)

    def quaternions(self) -> _FloatArray:
        """Unit quaternions ``(N, 4)``, w first."""
        unit: _FloatArray = self.rotations / np.linalg.norm(self.rotations, axis=1, keepdims=True)
        return unit

    def transformed(self, matrix: NDArray[np.floating[Any]]) -> Splats:
        """These splats moved by the 4×4 ``matrix``, colours turned along (exactly, to rounding).

        Raises: SplatsError when the matrix is more than rotation, uniform scale and translation: a sheared
        Gaussian has other axes, and mirrored harmonics are not a rotation.
        """
        linear = np.asarray(matrix, np.float64)[:3, :3]
        determinant = float(np.linalg.det(linear))
        factor = abs(determinant) ** (1 / 3)
        even = np.allclose(linear.T @ linear, factor**2 * np.eye(3), atol=1e-4 * factor**2)
        if determinant <= 0 or not even:
            raise SplatsError(
                "Splats can be moved, turned and scaled evenly, not mirrored or stretched; "
                "make the object's scale even and positive."
            )
        rotation = linear / factor
        turn = splat_sh.rotation_matrix(rotation, self.degree)
        return Splats(
            positions=(self.positions @ linear.T + np.asarray(matrix)[:3, 3]).astype(np.float32),
            log_scales=(self.log_scales + math.log(factor)).astype(np.float32),
            rotations=_quaternion_product(_quaternion_of(rotation), self.quaternions()).astype(np.float32),
            opacity_logits=self.opacity_logits,
            sh=np.einsum("jk,nkc->njc", turn, self.sh).astype(np.float32),
        )


def read_ply(path: Path) -> Splats:
    """Read splats from a PLY file: ascii or binary, either byte order, SH degree 0 to 3.

    Raises: SplatsError when the file is unreadable, not PLY, not splats, cut short, or holds numbers that
    are not finite.
    """
    try:
        with path.open("rb") as file:
            count, properties, byte_order = _read_header(file, path.name)
            table = _read_table(file, path.name, count, properties, byte_order)
    except OSError as error:
        raise SplatsError(f"'{path.name}' cannot be read ({error.strerror}).") from error
    except MemoryError as error:
        raise SplatsError(f"'{path.name}' does not fit into memory.") from error
    return _splats_from_table(table, [name for name, _ in properties], path.name)


def write_ply(path: Path, splats: Splats) -> None:
    """Write ``splats`` as binary little-endian PLY in the order of the original implementation.

    The file appears whole or not at all. Raises: SplatsError when it cannot be written.
    """
    rest = 3 * (splats.sh.shape[1] - 1)
    names = [*_POSITION, "nx", "ny", "nz", *_DC, *(f"f_rest_{i}" for i in range(rest)), "opacity"]
    names += [*_SCALE, *_ROTATION]
    table = np.zeros((len(splats), len(names)), "<f4")  # the normals stay 0, as everywhere
    table[:, 0:3] = splats.positions
    table[:, 6:9] = splats.sh[:, 0]
    table[:, 9 : 9 + rest] = splats.sh[:, 1:].transpose(0, 2, 1).reshape(len(splats), rest)
    table[:, -8] = splats.opacity_logits
    table[:, -7:-4] = splats.log_scales
    table[:, -4:] = splats.rotations
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(splats)}"]
    header += [*(f"property float {name}" for name in names), "end_header", ""]
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with scratch.open("wb") as file:
            file.write("\n".join(header).encode("ascii"))
            table.tofile(file)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise SplatsError(f"'{path}' cannot be written ({error.strerror or error}).") from error


def _read_header(file: IO[bytes], name: str) -> tuple[int, list[tuple[str, str]], str]:
    """Number of vertices, their properties (name, numpy type) and the byte order ('' for ascii)."""
    if file.readline(8).strip() != b"ply":
        raise SplatsError(f"'{name}' is not a PLY file.")
    byte_order: str | None = None
    count: int | None = None
    properties: list[tuple[str, str]] = []
    elements: list[str] = []
    while True:
        line = file.readline(1024)
        if not line.endswith(b"\n") or file.tell() > _LONGEST_HEADER:
            raise SplatsError(f"'{name}' has no whole PLY header; the file is damaged.")
        words = line.decode("ascii", "replace").split()
        match words:
            case ["end_header"]:
                break
            case ["format", kind, _] if kind in _BYTE_ORDERS:
                byte_order = _BYTE_ORDERS[kind]
            case ["format", *_]:
                raise SplatsError(f"'{name}' is of a PLY format that does not exist; the file is damaged.")
            case ["element", element, number]:
                elements.append(element)
                if element == "vertex":
                    if len(elements) > 1:
                        raise SplatsError(f"'{name}' does not begin with its vertices: these are not splats.")
                    if not number.isdigit():
                        raise SplatsError(f"'{name}' says it has '{number}' splats; the file is damaged.")
                    count = int(number)
            case ["property", "list", *_] if elements[-1:] == ["vertex"]:
                raise SplatsError(f"'{name}' has vertices with lists: these are not Gaussian splats.")
            case ["property", kind, field] if elements[-1:] == ["vertex"]:
                if kind not in _TYPES or field in (known for known, _ in properties):
                    raise SplatsError(f"'{name}' has a faulty property '{field}'; the file is damaged.")
                properties.append((field, _TYPES[kind]))
    if byte_order is None or count is None:
        raise SplatsError(f"'{name}' has an incomplete PLY header; the file is damaged.")
    _require_fields({field for field, _ in properties}, "face" in elements, name)
    if count == 0:
        raise SplatsError(f"'{name}' has no splats in it.")
    return count, properties, byte_order


def _require_fields(fields: set[str], has_faces: bool, name: str) -> None:
    missing = [f for f in (*_POSITION, *_DC, "opacity", *_SCALE, *_ROTATION) if f not in fields]
    if missing and has_faces:
        raise SplatsError(f"'{name}' is a mesh, not Gaussian splats; use Blender's own PLY import.")
    if missing:
        raise SplatsError(f"'{name}' is not Gaussian splats: it has no {', '.join(missing[:3])}.")
    rest = sum(field.startswith("f_rest_") for field in fields)
    if rest not in _REST_TO_DEGREE or any(f"f_rest_{i}" not in fields for i in range(rest)):
        raise SplatsError(f"'{name}' has {rest} f_rest fields; 0, 9, 24 or 45 (degree 0 to 3) can be read.")


def _read_table(
    file: IO[bytes], name: str, count: int, properties: list[tuple[str, str]], byte_order: str
) -> NDArray[np.float32]:
    """All properties as float32 ``(N, P)``."""
    columns = len(properties)
    left = os.fstat(file.fileno()).st_size - file.tell()
    short = SplatsError(f"'{name}' is cut short: it should hold {count} splats.")
    if not byte_order:
        if 2 * count * columns - 1 > left:  # a digit and a space each is the least
            raise short
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns of words that are not numbers
            try:
                numbers = np.fromstring(file.read().decode("ascii"), np.float64, sep=" ")
            except (ValueError, DeprecationWarning) as error:
                raise SplatsError(f"'{name}' holds text that is not numbers; the file is damaged.") from error
        if len(numbers) < count * columns:
            raise short
        with np.errstate(over="ignore"):
            return np.asarray(numbers[: count * columns].reshape(count, columns), np.float32)
    row = np.dtype([(field, byte_order + kind) for field, kind in properties])
    if count * row.itemsize > left:
        raise short
    if all(kind == "f4" for _, kind in properties):
        flat = np.fromfile(file, byte_order + "f4", count * columns)
        return np.asarray(flat.reshape(count, columns), np.float32)
    rows = np.fromfile(file, row, count)
    with np.errstate(over="ignore"):
        return np.stack([rows[field].astype(np.float32) for field, _ in properties], 1)


def _splats_from_table(table: NDArray[np.float32], fields: list[str], name: str) -> Splats:
    column = {field: i for i, field in enumerate(fields)}

    def pick(names: tuple[str, ...]) -> NDArray[np.float32]:
        first = column[names[0]]
        where = [column[n] for n in names]
        in_a_row = where == list(range(first, first + len(where)))
        picked: NDArray[np.float32] = table[:, first : first + len(where)] if in_a_row else table[:, where]
        return picked

    rest = tuple(f"f_rest_{i}" for i in range(sum(f.startswith("f_rest_") for f in fields)))
    count, others = len(table), len(rest) // 3
    colours = np.empty((count, 3, 1 + others), np.float32)  # channel by channel, as the file has them
    colours[:, :, 0] = pick(_DC)
    if rest:
        colours[:, :, 1:] = pick(rest).reshape(count, 3, others)
    splats = Splats(
        positions=np.ascontiguousarray(pick(_POSITION)),
        log_scales=np.ascontiguousarray(pick(_SCALE)),
        rotations=np.ascontiguousarray(pick(_ROTATION)),
        opacity_logits=np.ascontiguousarray(table[:, column["opacity"]]),
        sh=colours.transpose(0, 2, 1),
    )
    arrays = (splats.positions, splats.log_scales, splats.rotations, splats.opacity_logits, colours)
    if not all(np.isfinite(array).all() for array in arrays):
        raise SplatsError(f"'{name}' holds numbers that are not finite; the file is damaged.")
    if splats.log_scales.max() > LARGEST_LOG_SCALE:
        raise SplatsError(f"'{name}' has splats of absurd size; scales are expected as logarithms.")
    if not splats.rotations.any(axis=1).all():
        raise SplatsError(f"'{name}' has splats without a rotation (0, 0, 0, 0); the file is damaged.")
    return splats


def _quaternion_of(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion ``(4,)``, w first, of a 3×3 rotation: the eigenvector that the matrix leaves alone."""
    r = rotation
    symmetric = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0.0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [0.0, 0.0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [0.0, 0.0, 0.0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    return np.asarray(np.linalg.eigh(symmetric, UPLO="U")[1][:, -1])


def _quaternion_product(first: NDArray[np.float64], second: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """``first`` after each of ``second`` ``(N, 4)``, w first."""
    w, x, y, z = first
    matrix = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    product: NDArray[np.float64] = np.asarray(second, np.float64) @ matrix.T
    return product
