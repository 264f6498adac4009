"""How an avatar's splats are tied to its mesh: ``splats.npz`` beside ``splats.ply``; no bpy, no backend.

A splat's triangle has a frame: its first edge, the cross product of normal and edge, its normal. The splat
keeps its barycentric place, its offset and its rotation in that frame, so whatever moves the mesh moves it.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import write_arrays
from .splats import Splats, SplatsError, read_ply

SPLATS_NAME = "splats.ply"  # on the photographed face, head space, metres; colours as in the photo
BINDING_NAME = "splats.npz"
HAIR_PART = 255  # in ``SplatBinding.part``: no part of the mesh

_ARRAYS: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "corners": ((3,), np.int32),
    "barycentric": ((3,), np.float32),
    "offset": ((3,), np.float32),
    "rotation": ((4,), np.float32),
    "part": ((), np.uint8),
    "albedo_srgb": ((3,), np.uint8),
    "normal": ((3,), np.float32),
}


@dataclass(frozen=True)
class SplatBinding:
    """The tie of N splats, in the order of ``splats.ply``."""

    corners: NDArray[np.int32]  # (N, 3) rows of Mesh.vertices_neutral_head: the triangle
    barycentric: NDArray[np.float32]  # (N, 3)
    offset: NDArray[np.float32]  # (N, 3) metres in the triangle's frame
    rotation: NDArray[np.float32]  # (N, 4) quaternion w, x, y, z from own axes to the triangle's frame
    part: NDArray[np.uint8]  # (N,) index into Mesh.part_names; HAIR_PART for hair
    albedo_srgb: NDArray[np.uint8]  # (N, 3) for new light
    normal: NDArray[np.float32]  # (N, 3) unit, in the triangle's frame

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, splats: Splats, vertices: NDArray[np.floating[Any]]) -> Splats:
        """``splats`` on the mesh's ``vertices`` ``(V, 3)``, their shapes and colours as they are."""
        frames = frames_of(vertices, self.corners)
        at = np.einsum("nk,nkc->nc", self.barycentric, np.asarray(vertices, np.float64)[self.corners])
        positions = at + np.einsum("nij,nj->ni", frames, self.offset)
        own = np.einsum("nij,njk->nik", frames, _matrices(self.rotation))
        return Splats(
            positions.astype(np.float32),
            splats.log_scales,
            _quaternions(own).astype(np.float32),
            splats.opacity_logits,
            splats.sh,
        )


def frames_of(vertices: NDArray[np.floating[Any]], corners: NDArray[np.int32]) -> NDArray[np.float64]:
    """Frames ``(N, 3, 3)`` of triangles ``(N, 3)``; columns are edge, cross product, normal."""
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[corners], 1, 0)
    edge, normal = b - a, np.cross(b - a, c - a)
    edge /= np.maximum(np.linalg.norm(edge, axis=1, keepdims=True), 1e-12)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-18)
    return np.stack([edge, np.cross(normal, edge), normal], 2)


def write_binding(folder: Path, binding: SplatBinding) -> None:
    """Write ``splats.npz`` into ``folder``. Raises: OSError."""
    write_arrays(folder / BINDING_NAME, **{name: getattr(binding, name) for name in _ARRAYS})


def has_splats(folder: Path) -> bool:
    """Whether the avatar in ``folder`` has splats (they may still be damaged)."""
    return (folder / SPLATS_NAME).is_file() and (folder / BINDING_NAME).is_file()


def read_bound_splats(folder: Path, vertex_count: int) -> tuple[Splats, SplatBinding]:
    """The avatar's splats and their tie to its mesh of ``vertex_count`` vertices.

    Raises: SplatsError when there are none, or they are damaged or of another mesh.
    """
    if not has_splats(folder):
        raise SplatsError(f"'{folder.name}' has no splats; reconstruct it with --splats.")
    splats = read_ply(folder / SPLATS_NAME)
    damaged = SplatsError(f"'{folder.name}/{BINDING_NAME}' is damaged; reconstruct the avatar again.")
    try:
        with np.load(folder / BINDING_NAME, allow_pickle=False) as archive:
            arrays = {name: archive[name].astype(kind, copy=False) for name, (_, kind) in _ARRAYS.items()}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged from error
    shapes = all(arrays[name].shape == (len(splats), *rest) for name, (rest, _) in _ARRAYS.items())
    if not shapes or not all(np.isfinite(array).all() for array in arrays.values()):
        raise damaged
    if arrays["corners"].min() < 0 or arrays["corners"].max() >= vertex_count:
        raise SplatsError(f"The splats of '{folder.name}' belong to another mesh; reconstruct it again.")
    return splats, SplatBinding(**arrays)


def _matrices(quaternions: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rotations ``(N, 3, 3)`` of quaternions ``(N, 4)``, w first."""
    q = np.asarray(quaternions, np.float64)
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _quaternions(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions ``(N, 4)``, w first, of rotations ``(N, 3, 3)``: the largest row, normalised."""
    r = rotations
    t = np.trace(r, axis1=1, axis2=2)
    x, y, z = r[:, 0, 0], r[:, 1, 1], r[:, 2, 2]
    a, b, c = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    d, e, f = r[:, 1, 0] + r[:, 0, 1], r[:, 0, 2] + r[:, 2, 0], r[:, 2, 1] + r[:, 1, 2]
    rows = np.stack(
        [
            np.stack([1 + t, a, b, c], 1),
            np.stack([a, 1 + 2 * x - t, d, e], 1),
            np.stack([b, d, 1 + 2 * y - t, f], 1),
            np.stack([c, e, f, 1 + 2 * z - t], 1),
        ],
        1,
    )
    best = rows[np.arange(len(r)), np.argmax(np.stack([t, x, y, z], 1), 1)]
    unit: NDArray[np.float64] = best / np.linalg.norm(best, axis=1, keepdims=True)
    return unit
