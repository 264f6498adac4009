"""Loader of the published HiFi3D++ basis (`hifi3dpp_model_info.mat`; Chai et al. 2022, REALY).

The file (MATLAB level 5) holds, for N vertices: ``meanshape``, ``meantex`` ``(1, 3N)``; ``idBase``
``(3N, 532)``, ``exBase`` ``(3N, 45)``, ``texBase`` ``(3N, 439)``; 1-based ``head_tri``, ``head_tri_vt``
``(T, 3)`` into ``vt_list`` ``(U, 2)`` (v up) and ``keypoints`` ``(68, 1)``. Shapes are interleaved xyz in
decimetres, textures 0…255 RGB. Coefficients are used raw: the basis is not whitened.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.colour import srgb_to_linear
from backend.errors import BadInput, Missing
from backend.head.base import ParametricHead, SurfacePoints
from backend.head.meshing import mirror_by_position, no_landmarks, triangulate

METRES_PER_UNIT = 0.1
IDENTITY, EXPRESSION, TEXTURE = 532, 45, 439
KEYS = (
    "meanshape",
    "meantex",
    "idBase",
    "exBase",
    "texBase",
    "head_tri",
    "head_tri_vt",
    "vt_list",
    "keypoints",
)
LEFT_EYE_KEYPOINTS, RIGHT_EYE_KEYPOINTS = slice(42, 48), slice(36, 42)  # iBUG 68 order
EYE_DEPTH_M = 0.012  # from the lids' middle back to the eyeball's centre; the basis has no eyeballs


def load_hifi3dpp(path: Path) -> ParametricHead:
    """The full head (``head_tri``) of the published ``.mat``.

    Texture modes are linearised at the mean texture: sRGB offsets times the transfer curve's slope there.
    ``expression_names`` are ``exp_00`` … in the file's order; they are not ARKit shapes. The 478 Face Mesh
    points are unknown here (triangle −1); iBUG's 68 are its keypoints.
    ``eye_centres`` are estimated from the lids.
    Raises: Missing (no such file), BadInput (not this file).
    """
    arrays, digest = _read(Path(path))
    count = arrays["meanshape"].size // 3
    mean = arrays["meanshape"].reshape(count, 3).astype(np.float64)
    mean = ((mean - mean.mean(0)) * METRES_PER_UNIT).astype(np.float32)
    faces = _faces(arrays["head_tri"], count, "head_tri")
    face_uvs = _faces(arrays["head_tri_vt"], len(arrays["vt_list"]), "head_tri_vt")
    quads, quad_uvs = (np.c_[t, np.full(len(t), -1)].astype(np.int32) for t in (faces, face_uvs))
    triangles, triangle_uvs, triangle_quad = triangulate(quads, quad_uvs)
    texture_srgb = np.clip(arrays["meantex"].reshape(count, 3) / 255.0, 0.0, 1.0)
    slope = (srgb_to_linear(texture_srgb + 1e-3) - srgb_to_linear(texture_srgb - 1e-3)) / 2e-3
    keypoint_rows = arrays["keypoints"].astype(np.int64).ravel() - 1
    keypoints = mean[keypoint_rows]
    return ParametricHead(
        name="hifi3dpp",
        mean_vertices=mean,
        quads=quads,
        quad_uvs=quad_uvs,
        quad_part=np.zeros(len(quads), np.uint8),
        part_names=("skin",),
        uvs=np.clip(arrays["vt_list"], 0.0, 1.0).astype(np.float32),
        triangles=triangles,
        triangle_uvs=triangle_uvs,
        triangle_quad=triangle_quad,
        identity_basis=_modes(arrays["idBase"], METRES_PER_UNIT),
        expression_names=tuple(f"exp_{k:02d}" for k in range(EXPRESSION)),
        expression_basis=_modes(arrays["exBase"], METRES_PER_UNIT),
        albedo_mean=srgb_to_linear(texture_srgb),
        albedo_basis=_modes(arrays["texBase"], 1 / 255.0) * slope.astype(np.float32),
        mediapipe=no_landmarks(),
        mirror_vertex=mirror_by_position(mean),
        regions={},
        eye_centres=np.stack(
            [
                keypoints[eye].mean(0) - np.array([0.0, 0.0, EYE_DEPTH_M], np.float32)
                for eye in (LEFT_EYE_KEYPOINTS, RIGHT_EYE_KEYPOINTS)
            ]
        ).astype(np.float32),
        weights_file=None,
        weights_sha256=digest,
        licence="HiFi3D++ (research use; see its publisher's terms)",
        ibug=_at_vertices(keypoint_rows, triangles),
    )


def _at_vertices(rows: NDArray[np.int64], triangles: NDArray[np.int32]) -> SurfacePoints:
    """The vertices ``rows`` as surface points; a vertex without a triangle is a point that is not there."""
    uses = triangles == rows[:, None, None]  # (N, T, 3)
    triangle = np.where(uses.any((1, 2)), uses.any(2).argmax(1), -1).astype(np.int32)
    corner = uses[np.arange(len(rows)), triangle] & (triangle >= 0)[:, None]
    barycentric = corner / np.maximum(corner.sum(1, keepdims=True), 1)
    return SurfacePoints(triangle, barycentric.astype(np.float32), (triangle >= 0).astype(np.float32))


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    import io

    from scipy.io import loadmat

    if not path.is_file():
        raise Missing(f"no HiFi3D++ file at '{path}'; give the published hifi3dpp_model_info.mat")
    data = path.read_bytes()
    try:
        content = loadmat(io.BytesIO(data), variable_names=KEYS)
    except Exception as error:  # scipy raises a dozen kinds, struct.error and zlib.error among them
        raise BadInput(
            f"'{path.name}' cannot be read as a MATLAB file ({type(error).__name__}: {error})"
        ) from error
    missing = [k for k in KEYS if k not in content]
    if missing:
        raise BadInput(f"'{path.name}' is not hifi3dpp_model_info.mat: it lacks {', '.join(missing)}")
    size = content["meanshape"].size
    expected = {
        "meanshape": (1, size),
        "meantex": (1, size),
        "idBase": (size, IDENTITY),
        "exBase": (size, EXPRESSION),
        "texBase": (size, TEXTURE),
        "keypoints": (68, 1),
        "head_tri": (len(content["head_tri"]), 3),
        "head_tri_vt": (len(content["head_tri"]), 3),
        "vt_list": (len(content["vt_list"]), 2),
    }
    if size == 0 or size % 3:
        raise BadInput(f"'{path.name}': meanshape holds {size} numbers, not three per vertex")
    for key, shape in expected.items():
        if content[key].shape != shape:
            raise BadInput(f"'{path.name}': {key} has shape {content[key].shape}; expected {shape}")
        if not np.issubdtype(content[key].dtype, np.number) or not np.isfinite(content[key]).all():
            raise BadInput(f"'{path.name}': {key} holds values that are not finite numbers")
    keypoints = content["keypoints"]
    if keypoints.min() < 1 or keypoints.max() > size // 3:
        raise BadInput(f"'{path.name}': keypoints must be 1-based vertices up to {size // 3}")
    return {k: content[k] for k in KEYS}, hashlib.sha256(data).hexdigest()


def _faces(one_based: NDArray[Any], count: int, name: str) -> NDArray[np.int32]:
    faces = one_based.astype(np.int64) - 1
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= count:
        raise BadInput(f"{name} must hold 1-based indices up to {count}")
    return faces.astype(np.int32)


def _modes(base: NDArray[Any], scale: float) -> NDArray[np.float32]:
    """Columns ``(3N, K)`` as ``(K, N, 3)``."""
    return (np.asarray(base, np.float32).T * np.float32(scale)).reshape(base.shape[1], -1, 3)
