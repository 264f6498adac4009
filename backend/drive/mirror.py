"""The avatar as a camera sees it, drawn without Blender: its splats, or its mesh in the photo's light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.shading import sh
from backend.shading.parts import EYE_PARTS, eye_albedo, iris_coordinates, plain_material
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from backend.uvspace.sampling import sample_bilinear
from blender_addon import bundle
from blender_addon.splat_binding import has_splats, read_bound_splats
from blender_addon.splats import SplatsError

U8 = NDArray[np.uint8]
Mirror = Callable[[F32, Camera], U8]  # vertices (V, 3) head space, camera → (H, W, 3) sRGB
_BACKDROP = 0.5
_BRIGHT = 0.6  # linear value that the brightest skin is exposed to


def mirror_of(avatar: Path, head: ParametricHead) -> Mirror:
    """What draws the ``avatar``; ``head`` is its own, the mean being its neutral face. Raises: BadInput."""
    try:
        return _splat_mirror(avatar, head) if has_splats(avatar) else _mesh_mirror(avatar, head)
    except (bundle.BundleError, SplatsError) as error:
        raise BadInput(str(error)) from error


def _splat_mirror(avatar: Path, head: ParametricHead) -> Mirror:
    from backend.gaussians.turntable import draw

    splats, tie = read_bound_splats(avatar, len(head.mean_vertices))
    return lambda vertices, camera: draw(tie.placed(splats, vertices), camera)


def _mesh_mirror(avatar: Path, head: ParametricHead) -> Mirror:
    import cv2

    manifest = bundle.read_manifest(avatar)
    stored = cv2.imread(str(bundle.map_path(avatar, "albedo")), cv2.IMREAD_COLOR)
    if stored is None:
        raise BadInput(f"'{avatar}' has no readable albedo map; reconstruct the avatar again")
    albedo = srgb_to_linear(stored[..., ::-1].astype(np.float32) / 255).astype(np.float32)
    light = np.array(manifest.light.radiance_sh)
    iris_srgb = np.array(manifest.eyes.iris_srgb, np.float32)
    across, part = iris_coordinates(head), head.triangle_part
    plain = np.array([plain_material(name)[0] for name in head.part_names], np.float32)
    opaque = head.opaque_triangles

    def draw(vertices: F32, camera: Camera) -> U8:
        seen = rasterise_camera(vertices, opaque, camera)
        values = np.concatenate([vertex_normals(vertices, head.triangles), across], 1)
        surface = seen.interpolate(values.astype(np.float32), head.triangles)
        ids = np.maximum(seen.triangle, 0)
        colour = plain[part[ids]]
        skin = seen.covered & (part[ids] == 0)
        uv = np.einsum("nk,nkc->nc", seen.barycentric[skin], head.uvs[head.triangle_uvs[ids[skin]]])
        at = np.stack([uv[:, 0] * len(albedo), (1 - uv[:, 1]) * len(albedo)], 1).astype(np.float32)
        colour[skin] = sample_bilinear(albedo, at)
        for name in EYE_PARTS:
            if name in head.part_names:
                here = seen.covered & (part[ids] == head.part_names.index(name))
                colour[here] = eye_albedo(surface[here][:, 3:5], iris_srgb)
        normals = surface[..., :3].reshape(-1, 3)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        lit = np.maximum(sh.irradiance(light, normals), 0).reshape(*colour.shape) * colour
        bright = float(np.quantile(lit[skin].mean(-1), 0.95)) if skin.any() else 1.0
        picture = linear_to_srgb(np.clip(lit * (_BRIGHT / max(bright, 1e-6)), 0, 1))
        picture = np.where(seen.covered[..., None], picture, _BACKDROP)
        return np.asarray(np.rint(255 * picture), np.uint8)

    return draw
