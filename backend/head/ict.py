"""Loader of USC ICT-FaceKit "light" (Li et al. 2020, MIT licence) as a `ParametricHead`.

The folder or archive holds arrays `vertices (26719, 3)` in centimetres, `faces`/`face_uvs (26384, 4)`
(−1 pads triangles), `uvs`, `identity_offsets (100, 26719, 3)`, `expression_offsets (57, …)` and
`expression_names`; either one `ict_facekit.npz` or the same arrays as `.npy` files in the folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput, Missing
from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from backend.head.meshing import mirror_by_position, no_landmarks, triangulate

METRES_PER_UNIT = 0.01
KEYS = (
    "vertices",
    "uvs",
    "faces",
    "face_uvs",
    "identity_offsets",
    "expression_offsets",
    "expression_names",
)
VERTEX_COUNT = 26719
# First vertex of each part, and the part it opens (shared/data/README of the model; components of its mesh).
PART_STARTS: tuple[tuple[int, str], ...] = (
    (0, "skin"),
    (11248, "mouth"),
    (13294, "sockets"),
    (14062, "gums"),
    (17039, "teeth"),
    (21451, "eye_left"),
    (23021, "eye_right"),
    (24591, "lacrimal_fluid"),
    (24999, "eye_blend"),
    (25047, "eye_occlusion"),
    (25351, "lashes"),
)
EYE_RANGES = ((21451, 22221), (23021, 23791))  # inner spheres: subject's left, right
NEUTRAL_ALBEDO = (0.55, 0.36, 0.27)  # linear light skin, until an albedo model is attached


def load_ict(path: Path) -> ParametricHead:
    """ICT-FaceKit from an ``.npz`` file or from the folder that holds it.

    Expressions carry ARKit names; ICT's left/right halves of one ARKit shape are added up. ICT has no
    ``tongueOut``; its ``PupilDilate`` is dropped. The skin chart is ICT's two UDIM tiles side by side.
    The 478 Face Mesh points are not part of ICT: ``mediapipe`` is empty (triangle −1).
    Raises: Missing (no such file), BadInput (not ICT-FaceKit).
    """
    arrays = _read(Path(path))
    vertices = arrays["vertices"].astype(np.float32) * METRES_PER_UNIT
    quads = arrays["faces"].astype(np.int32)
    quad_uvs = arrays["face_uvs"].astype(np.int32)
    part_names = tuple(name for _, name in PART_STARTS)
    quad_part = _quad_parts(quads)
    names, expressions = merge_expressions(
        [str(n) for n in arrays["expression_names"]],
        arrays["expression_offsets"].astype(np.float32) * METRES_PER_UNIT,
    )
    triangles, triangle_uvs, triangle_quad = triangulate(quads, quad_uvs)
    layer = np.searchsorted([s for s, _ in PART_STARTS], np.arange(len(vertices)), side="right")
    layer[layer == part_names.index("eye_right") + 1] = part_names.index("eye_left") + 1
    return ParametricHead(
        name="ict",
        mean_vertices=vertices,
        quads=quads,
        quad_uvs=quad_uvs,
        quad_part=quad_part,
        part_names=part_names,
        uvs=_pack_uvs(arrays["uvs"].astype(np.float32), quad_uvs, quad_part),
        triangles=triangles,
        triangle_uvs=triangle_uvs,
        triangle_quad=triangle_quad,
        identity_basis=arrays["identity_offsets"].astype(np.float32) * METRES_PER_UNIT,
        expression_names=names,
        expression_basis=expressions,
        albedo_mean=np.tile(np.array(NEUTRAL_ALBEDO, np.float32), (len(vertices), 1)),
        albedo_basis=np.zeros((0, len(vertices), 3), np.float32),
        mediapipe=no_landmarks(),
        mirror_vertex=mirror_by_position(vertices, layer),
        regions={},
        eye_centres=np.stack([_sphere_centre(vertices[a:b]) for a, b in EYE_RANGES]),
        weights_file=None,
        weights_sha256=None,
        licence="MIT (USC Institute for Creative Technologies, ICT-FaceKit)",
    )


def merge_expressions(
    names: list[str], offsets: NDArray[np.float32]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """ICT's shapes ``(E, V, 3)`` under ARKit names, in ARKit order; halves of one shape are summed.

    Raises: BadInput when a name is neither ARKit's nor one of ICT's splits.
    """
    known = set(ARKIT_NAMES)
    merged: dict[str, NDArray[np.float32]] = {}
    for name, offset in zip(names, offsets, strict=True):
        if name.startswith(("PupilDilate", "cheekRaiser")):
            continue  # neither is an ARKit shape; cheekSquint is ARKit's cheek raise
        stem, _, side = name.partition("_")
        sided = stem + {"L": "Left", "R": "Right", "": ""}.get(side, side)
        target = sided if sided in known else stem
        if target not in known:
            raise BadInput(f"'{name}' is not an ICT-FaceKit expression; use the light model's data")
        merged[target] = merged[target] + offset if target in merged else offset
    order = tuple(n for n in ARKIT_NAMES if n in merged)
    return order, np.stack([merged[n] for n in order])


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    if not path.exists():
        raise Missing(f"no ICT-FaceKit at '{path}'; give its npz file or its folder")
    try:
        if path.is_dir() and not (path / "ict_facekit.npz").is_file():
            arrays = {k: np.load(path / f"{k}.npy", allow_pickle=False) for k in KEYS}
        else:
            file = path / "ict_facekit.npz" if path.is_dir() else path
            with np.load(file, allow_pickle=False) as archive:
                arrays = {k: archive[k] for k in KEYS}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadInput(f"'{path}' is not ICT-FaceKit data ({error}); it needs {', '.join(KEYS)}") from error
    shapes = {
        "vertices": (VERTEX_COUNT, 3),
        "identity_offsets": (None, VERTEX_COUNT, 3),
        "expression_offsets": (len(arrays["expression_names"]), VERTEX_COUNT, 3),
        "faces": (None, 4),
        "face_uvs": (len(arrays["faces"]), 4),
        "uvs": (None, 2),
    }
    for key, shape in shapes.items():
        got = arrays[key].shape
        if len(got) != len(shape) or any(w is not None and w != g for w, g in zip(shape, got, strict=True)):
            raise BadInput(f"ICT-FaceKit array '{key}' in '{path}' has shape {got}; expected {shape}")
    return arrays


def _quad_parts(quads: NDArray[np.int32]) -> NDArray[np.uint8]:
    """A face belongs to the innermost part that it touches: rims of sockets are not skin."""
    starts = [s for s, _ in PART_STARTS]
    return np.asarray((np.searchsorted(starts, quads.max(axis=1), side="right") - 1).astype(np.uint8))


def _pack_uvs(
    uvs: NDArray[np.float32], quad_uvs: NDArray[np.int32], quad_part: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """UDIM tiles into [0, 1]: tiles 0 and 1 (face, head with the sockets) side by side, others alone."""
    in_head = np.zeros(len(uvs), bool)
    head_corners = quad_uvs[quad_part <= 2]
    in_head[head_corners[head_corners >= 0]] = True
    packed = np.where(in_head[:, None], uvs * np.array([0.5, 1.0], np.float32), uvs - np.floor(uvs))
    return np.clip(packed, 0.0, 1.0).astype(np.float32)


def _sphere_centre(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Least-squares centre of points on a sphere: |p|² = 2 p·c + k is linear in c and k."""
    p = points.astype(np.float64)
    solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(1), rcond=None)[0]
    return np.asarray(solution[:3], np.float32)
