"""The `open` head shipped with Likeness: one safetensors file, half the modes stored, mirrored on load.

File layout (format version 1), V vertices, H of them on the x ≥ 0 half, K modes, Q quads, U UV rows:

=====================  ==========  ==========================================================
mean_vertices          (V,3) f32   metres, head space, exactly symmetric
quads, quad_uvs        (Q,4) u16   anticlockwise from outside
quad_part              (Q,) u8     index into metadata ``part_names``
uvs                    (U,2) f32   origin bottom-left
mirror_vertex          (V,) u16
half_vertices          (H,) u16    the stored half of every mode
identity_half          (K,H,3) f16 metres per standard deviation
identity_parity        (K,) i8     +1 symmetric, −1 antisymmetric under reflection in x = 0
expression_start       (E+1,) i32  expression e owns the stored offsets start[e]:start[e + 1]
expression_vertex      (N,) u16    vertex of each stored offset
expression_offset      (N,3) f16   metres at weight 1
albedo_mean            (V,3) f16   linear
albedo_half            (B,H,3) f16 linear per standard deviation, symmetric
regions                (R,V) u8    weight · 255
mediapipe_triangle     (478,) i32
mediapipe_barycentric  (478,3) f32
mediapipe_trust        (478,) f32
eye_centres            (2,3) f32
ibug_triangle          (68,) i32   iBUG's 300-W points; these three are absent in older files
ibug_barycentric       (68,3) f32
ibug_trust             (68,) f32
corrective_factors     (C,3) i32   as ``Correctives.factors``; absent in older files
corrective_start       (C+1,) i32  as for expressions
corrective_vertex      (M,) u16
corrective_offset      (M,3) f16   metres where all the expressions have weight 1
=====================  ==========  ==========================================================

Older files number vertices in i32 and have no ``…_start``: their ``…_vertex`` is row · V + vertex.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput, Missing
from backend.head.base import ParametricHead, SurfacePoints
from backend.head.meshing import triangulate
from blender_addon.arrays import SparseOffsets
from blender_addon.correctives import Correctives

FORMAT_VERSION = "1"
WEIGHTS_FILE = "embedded/open_head.safetensors"
MIRROR_X = np.array([-1.0, 1.0, 1.0], np.float32)


def load_open_head(path: Path | None = None) -> ParametricHead:
    """The shipped head, or one built by ``python -m synthdata.headmodel`` at ``path``.

    Raises: Missing (no file), BadInput (not an open head of this version).
    """
    file = Path(__file__).resolve().parents[1] / "weights" / WEIGHTS_FILE if path is None else Path(path)
    if not file.is_file() and path is not None:
        raise Missing(f"there is no head file '{path}'; build one with python -m synthdata.headmodel")
    if not file.is_file():
        raise Missing(
            f"the open head '{file.name}' is missing from backend/weights/embedded; reinstall Likeness"
        )
    arrays, metadata, digest = _read(file)
    try:
        return _decode(arrays, metadata, digest)
    except (KeyError, IndexError, ValueError) as error:
        raise BadInput(f"'{file.name}' is not an open head of format {FORMAT_VERSION} ({error})") from error


def _read(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str], str]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = file.read_bytes()
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise BadInput(f"'{file.name}' is not a safetensors file ({error})") from error
    if metadata.get("format_version") != FORMAT_VERSION:
        raise BadInput(
            f"'{file.name}' is not an open head of format {FORMAT_VERSION}; "
            f"build it with python -m synthdata.headmodel"
        )
    return arrays, metadata, hashlib.sha256(data).hexdigest()


def _decode(arrays: dict[str, NDArray[Any]], metadata: dict[str, str], digest: str) -> ParametricHead:
    mean = arrays["mean_vertices"]
    mirror, half, quads, quad_uvs = (
        arrays[name].astype(np.int32) for name in ("mirror_vertex", "half_vertices", "quads", "quad_uvs")
    )
    names = tuple(json.loads(metadata["expression_names"]))
    expressions = np.zeros((len(names), len(mean), 3), np.float32)
    stored = _offsets(arrays, "expression", len(names), len(mean))
    for k in range(len(names)):
        vertex, offset = stored.rows(k)
        expressions[k, vertex] = offset
    triangles, triangle_uvs, triangle_quad = triangulate(quads, quad_uvs)
    albedo_modes = arrays["albedo_half"]
    regions = {
        name: arrays["regions"][k].astype(np.float32) / 255.0
        for k, name in enumerate(json.loads(metadata["region_names"]))
    }
    return ParametricHead(
        name="open",
        mean_vertices=mean,
        quads=quads,
        quad_uvs=quad_uvs,
        quad_part=arrays["quad_part"],
        part_names=tuple(json.loads(metadata["part_names"])),
        uvs=arrays["uvs"],
        triangles=triangles,
        triangle_uvs=triangle_uvs,
        triangle_quad=triangle_quad,
        identity_basis=unfold(arrays["identity_half"], half, mirror, arrays["identity_parity"], MIRROR_X),
        expression_names=names,
        expression_basis=expressions,
        albedo_mean=arrays["albedo_mean"].astype(np.float32),
        albedo_basis=unfold(
            albedo_modes, half, mirror, np.ones(len(albedo_modes), np.int8), np.ones(3, np.float32)
        ),
        mediapipe=_points(arrays, "mediapipe"),
        mirror_vertex=mirror,
        regions=regions,
        eye_centres=arrays["eye_centres"],
        weights_file=WEIGHTS_FILE,
        weights_sha256=digest,
        licence=metadata["licence"],
        ibug=_points(arrays, "ibug") if "ibug_triangle" in arrays else None,
        correctives=_correctives(arrays, len(names), len(mean)),
    )


def _correctives(arrays: dict[str, NDArray[Any]], expressions: int, vertices: int) -> Correctives:
    if "corrective_factors" not in arrays:
        return Correctives.none()
    factors = arrays["corrective_factors"]
    offsets = _offsets(arrays, "corrective", len(factors), vertices)
    correctives = Correctives(factors, offsets)
    problem = correctives.inconsistency(expressions, vertices)
    if problem:
        raise ValueError(problem)
    return correctives


def _offsets(arrays: dict[str, NDArray[Any]], name: str, rows: int, vertices: int) -> SparseOffsets:
    vertex, offset = arrays[f"{name}_vertex"], arrays[f"{name}_offset"].astype(np.float32)
    if f"{name}_start" in arrays:
        start = arrays[f"{name}_start"]
        if len(start) != rows + 1:
            raise ValueError(f"{name} rows and their names differ in number")
    else:
        start = np.searchsorted(vertex, np.arange(rows + 1, dtype=np.int64) * vertices)
        vertex = vertex % vertices
    return SparseOffsets(start.astype(np.int64), vertex.astype(np.int32), offset)


def _points(arrays: dict[str, NDArray[Any]], name: str) -> SurfacePoints:
    return SurfacePoints(*(arrays[f"{name}_{part}"] for part in ("triangle", "barycentric", "trust")))


def unfold(
    stored: NDArray[np.floating[Any]],
    half: NDArray[np.int32],
    mirror: NDArray[np.int32],
    parity: NDArray[np.int8],
    reflection: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Modes ``(K, H, 3)`` of the x ≥ 0 half on the whole head ``(K, V, 3)``.

    A mode of parity p has, across the plane, p × its ``reflection``. Midline vertices keep only the part
    that is its own mirror image.
    """
    full = np.zeros((len(stored), len(mirror), 3), np.float32)
    values = stored.astype(np.float32)
    sign = parity.astype(np.float32)[:, None, None] * reflection
    middle = mirror[half] == half
    values[:, middle] = 0.5 * (values[:, middle] + sign * values[:, middle])
    full[:, mirror[half]] = values * sign
    full[:, half] = values
    return full
