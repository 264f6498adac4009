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
STRETCH = (0.5, 5.0)  # least and greatest of a splat against the photographed face
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
    rest: NDArray[np.float32] | None = None  # (N, 3) ``spans_of`` the triangle on the photographed face

    def __len__(self) -> int:
        return len(self.corners)

    def placed(self, splats: Splats, vertices: NDArray[np.floating[Any]]) -> Splats:
        """``splats`` on the mesh's ``vertices`` ``(V, 3)``, as wide as the skin under them; same colours."""
        frames = frames_of(vertices, self.corners)
        at = np.einsum("nk,nkc->nc", self.barycentric, np.asarray(vertices, np.float64)[self.corners])
        positions = at + np.einsum("nij,nj->ni", frames, self.offset)
        axes = _matrices(self.rotation)
        own = np.einsum("nij,njk->nik", frames, axes)
        log_scales = splats.log_scales
        if self.rest is not None:
            stretch = stretches(self.rest, spans_of(vertices, self.corners), axes)
            log_scales = (log_scales + np.log(stretch)).astype(np.float32)
        return Splats(
            positions.astype(np.float32),
            log_scales,
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


def spans_of(vertices: NDArray[np.floating[Any]], corners: NDArray[np.int32]) -> NDArray[np.float64]:
    """Triangles ``(N, 3)`` in their own frames: length of the first edge, where the third corner lies along
    and across it; metres ``(N, 3)``."""
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[corners], 1, 0)
    first = np.linalg.norm(b - a, axis=1)
    unit = (b - a) / np.maximum(first, 1e-12)[:, None]
    along = np.einsum("nc,nc->n", c - a, unit)
    across = np.linalg.norm((c - a) - along[:, None] * unit, axis=1)
    return np.stack([first, along, across], 1)


def stretches(
    rest: NDArray[np.floating[Any]], now: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How much longer each of three ``axes`` (columns of ``(N, 3, 3)``, in the triangle's frame) became.

    ``rest`` and ``now`` are ``spans_of`` the triangles. Skin that unfolds, as lids do, must not tear.
    """
    a, b, c = np.maximum(np.asarray(rest, np.float64), [1e-6, -np.inf, 1e-6]).T
    p, r = now[:, 0] / a, now[:, 2] / c
    q = (now[:, 1] - p * b) / c
    x, y, z = axes[:, 0], axes[:, 1], axes[:, 2]
    squared = (p[:, None] * x + q[:, None] * y) ** 2 + (r[:, None] * y) ** 2 + z**2
    return np.asarray(np.clip(np.sqrt(squared), *STRETCH))


def write_binding(folder: Path, binding: SplatBinding) -> None:
    """Write ``splats.npz`` into ``folder``. Raises: OSError."""
    arrays = {name: getattr(binding, name) for name in _ARRAYS}
    if binding.rest is not None:
        arrays["rest"] = binding.rest
    write_arrays(folder / BINDING_NAME, **arrays)


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
            rest = archive["rest"].astype(np.float32) if "rest" in archive.files else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged from error
    shapes = all(arrays[name].shape == (len(splats), *more) for name, (more, _) in _ARRAYS.items())
    numbers = [*arrays.values()] if rest is None else [*arrays.values(), rest]
    shapes = shapes and (rest is None or rest.shape == (len(splats), 3))
    if not shapes or not all(np.isfinite(array).all() for array in numbers):
        raise damaged
    if arrays["corners"].min() < 0 or arrays["corners"].max() >= vertex_count:
        raise SplatsError(f"The splats of '{folder.name}' belong to another mesh; reconstruct it again.")
    return splats, SplatBinding(**arrays, rest=rest)


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
