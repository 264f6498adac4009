"""Writing the open head's file (layout documented in ``backend.head.open_head``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.head.base import SurfacePoints
from backend.head.open_head import FORMAT_VERSION
from blender_addon.arrays import SparseOffsets
from blender_addon.correctives import Correctives
from synthdata.headmodel.assemble import Whole

LICENCE = "MIT (shape, motion, the faces of ears and nostrils from ICT-FaceKit, USC ICT); the rest CC0"
SHORT = ("quads", "quad_uvs", "mirror_vertex", "half_vertices", "expression_vertex", "corrective_vertex")
NEGLIGIBLE_M = 5e-6  # expression offsets below this are not stored


def write_open_head(
    path: Path,
    whole: Whole,
    identity: tuple[NDArray[np.float64], NDArray[np.int8]],
    expressions: NDArray[np.float32],
    expression_names: tuple[str, ...],
    albedo: tuple[NDArray[np.float64], NDArray[np.float64]],
    regions: dict[str, NDArray[np.float64]],
    points: SurfacePoints,
    eye_centres: NDArray[np.floating[Any]],
    ibug: SurfacePoints | None = None,
) -> None:
    """Write the file; the same input gives the same bytes."""
    modes = albedo[1][:, whole.half]
    arrays = {
        "mean_vertices": whole.vertices.astype(np.float32),
        "quads": whole.quads,
        "quad_uvs": whole.quad_uvs,
        "quad_part": whole.quad_part,
        "uvs": whole.uvs.astype(np.float32),
        "mirror_vertex": whole.mirror,
        "half_vertices": whole.half,
        "identity_half": identity[0].astype(np.float16),
        "identity_parity": identity[1],
        **_motion_arrays(expressions),
        "albedo_mean": albedo[0].astype(np.float16),
        "albedo_half": modes.astype(np.float16),
        "regions": np.round(np.stack(list(regions.values())) * 255).astype(np.uint8),
        **point_arrays("mediapipe", points),
        "eye_centres": np.asarray(eye_centres, np.float32),
    }
    if ibug is not None:
        arrays |= point_arrays("ibug", ibug)
    metadata = {
        "format_version": FORMAT_VERSION,
        "part_names": json.dumps(whole.part_names),
        "expression_names": json.dumps(expression_names),
        "region_names": json.dumps(list(regions)),
        "licence": LICENCE,
    }
    write_stored(path, arrays, metadata)


def point_arrays(name: str, points: SurfacePoints) -> dict[str, NDArray[Any]]:
    """``points`` as the file names them."""
    return {
        f"{name}_triangle": points.triangle,
        f"{name}_barycentric": points.barycentric,
        f"{name}_trust": points.trust,
    }


def rewrite_identity(
    source: Path,
    path: Path,
    identity: tuple[NDArray[np.float64], NDArray[np.int8]],
    metadata: dict[str, str],
) -> None:
    """Write the head in ``source`` with another identity basis (as ``write_open_head``) and more metadata."""
    arrays, known = read_stored(source)
    arrays["identity_half"], arrays["identity_parity"] = identity[0].astype(np.float16), identity[1]
    write_stored(path, arrays, known | metadata)


def rewrite_motion(
    source: Path, path: Path, expressions: NDArray[np.floating[Any]], correctives: Correctives
) -> None:
    """Write the head in ``source`` with other expression offsets ``(E, V, 3)`` and these correctives."""
    arrays, metadata = read_stored(source)
    arrays |= _motion_arrays(expressions)
    arrays["corrective_factors"] = correctives.factors
    arrays |= _sparse_arrays("corrective", correctives.offsets)
    write_stored(path, arrays, metadata)


def _short_indices(indices: NDArray[Any]) -> NDArray[Any]:
    """In two bytes each where they fit; those of older files' sparse rows do not."""
    fits = indices.size == 0 or (indices.min() >= 0 and indices.max() < 2**16)
    return np.ascontiguousarray(indices.astype(np.uint16) if fits else indices)


def _motion_arrays(expressions: NDArray[np.floating[Any]]) -> dict[str, NDArray[Any]]:
    return _sparse_arrays("expression", SparseOffsets.from_dense(expressions, NEGLIGIBLE_M))


def _sparse_arrays(name: str, offsets: SparseOffsets) -> dict[str, NDArray[Any]]:
    return {
        f"{name}_start": offsets.start.astype(np.int32),
        f"{name}_vertex": offsets.vertex,
        f"{name}_offset": offsets.offset.astype(np.float16),
    }


def read_stored(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The file's arrays as they are stored, and its metadata."""
    from safetensors.numpy import load

    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return load(data), json.loads(data[8 : 8 + size])["__metadata__"]


def write_stored(path: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    """Write arrays and metadata as the file holds them; the same input gives the same bytes."""
    from safetensors.numpy import save

    stored = {k: _short_indices(v) if k in SHORT else np.ascontiguousarray(v) for k, v in arrays.items()}
    data = save(stored, metadata)
    # safetensors writes metadata in hash order; a sorted header keeps the file reproducible.
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
