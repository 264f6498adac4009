"""Where hair ends on the skin: the shell thins out towards bare skin, and skin under hair takes its colour.

A shell that kept its thickness up to its edge would hang over the forehead as soon as the head turns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.artifacts import F32, F64, HeadFit
from backend.gaussians.hair_mask import HairSeen, HeadWindow
from backend.gaussians.surface import BoundGaussians, triangle_frames
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.sampling import sample_bilinear
from blender_addon import splat_sh

Scalar = TypeVar("Scalar", bound=np.generic)

MIRROR = np.array([-1.0, 1.0, 1.0], np.float32)  # head space: the other side
_LEAST_M = 0.001  # how far hair stands off the skin at its edge
_RISE = 0.7  # metres off the skin for every metre away from bare skin
_BARE = 0.4  # of the skin mask
_EVERY = 2  # pixels
_SAME_DEPTH_M = 0.004
_EAR_PX, _SOFT_PX = 13, 2.5
_ASLANT, _FRONTAL = 0.15, 0.45  # cosines from which, and above which, the photo's colours are taken


def room_for_hair(window: HeadWindow, seen: HairSeen, points: F64, off_skin_m: F64) -> F64:
    """How far, metres ``(N,)``, hair may stand off the skin at ``points`` ``(N, 3)``, now ``off_skin_m``."""
    bare = _bare_points(window, seen)
    if len(bare) == 0:
        return np.full(len(points), np.inf)
    away, _ = cKDTree(bare).query(points)
    along = np.sqrt(np.maximum(away**2 - off_skin_m**2, 0))
    return np.asarray(_LEAST_M + _RISE * along)


def painted(
    skin: BoundGaussians, positions: F32, known: F32, window: HeadWindow, seen: HairSeen, fit: HeadFit
) -> BoundGaussians:
    """``skin`` at ``positions`` ``(N, 3)`` in the photo's colours under hair, and up to it on the upper head.

    ``known`` ``(N,)`` in [0, 1] says how far its colours are the photo's already. Where the photo does not
    reach, hair on the other side of the head lends its colours.
    """
    shown = (window.person > 0.5) & (seen.clean | ~seen.mask)
    pixels, is_shown = _places(positions, window)
    there = _at(shown, pixels) & is_shown
    only_other = ~is_shown & (known < 0.5)
    other_pixels, is_shown = _places(positions * MIRROR, window)
    on_other = only_other & is_shown & _at(shown & seen.mask, other_pixels)
    rows = np.flatnonzero((skin.part == 0) & (there | on_other))
    pixels = np.where(on_other[:, None], other_pixels, pixels)[rows]
    side = np.where(on_other[rows, None], MIRROR, 1.0)
    frames = triangle_frames(fit.vertices_head, fit.head.triangles[skin.triangle[rows]])
    normal = side * np.einsum("nij,nj->ni", frames, skin.normal[rows])
    towards = fit.camera.centre_head - side * positions[rows]
    cosine = (normal * towards).sum(1) / np.linalg.norm(towards, axis=1)
    share = np.clip((cosine - _ASLANT) / (_FRONTAL - _ASLANT), 0, 1)
    # Not on the neck and cheeks, which hair hangs before.
    upper = np.clip(2 * (fit.head.regions["scalp"] + fit.head.regions["forehead"]), 0, 1)[:, None]
    on_upper = interpolate_at(skin.triangle[rows], skin.barycentric[rows], upper, fit.head.triangles)[:, 0]
    share *= on_upper * np.where(_at(seen.mask, pixels), 1, 1 - known[rows])
    share = share[:, None].astype(np.float32)
    photo = (sample_bilinear(window.rgb_srgb, pixels) - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    harmonics = skin.sh.copy()
    harmonics[rows] *= 1 - share[..., None]
    harmonics[rows, 0] += share * photo
    return replace(skin, sh=harmonics)


def bare_on_the_other_side(positions: F32, window: HeadWindow, seen: HairSeen, fit: HeadFit) -> F32:
    """How far the photo shows bare skin on the other side of the head, ``(N,)`` in [0, 1].

    ``positions`` ``(N, 3)`` are on the skin. Where a hairline is not seen, the seen one is mirrored; the
    surroundings of ears say nothing, since these seldom lie where the photo has them.
    """
    import cv2

    ears = window.drawn.interpolate(fit.head.regions["ears"][:, None], fit.head.triangles)[..., 0]
    far = cv2.dilate(ears, np.ones((_EAR_PX, _EAR_PX), np.uint8)) < 0.2
    bare = ((window.skin > _BARE) & ~seen.mask & far).astype(np.float32)
    pixels, is_shown = _places(positions * MIRROR, window)
    soft = sample_bilinear(cv2.GaussianBlur(bare, (0, 0), _SOFT_PX)[..., None], pixels)[:, 0]
    return np.asarray(soft * is_shown, np.float32)


def _places(points: F32, window: HeadWindow) -> tuple[F32, NDArray[np.bool_]]:
    """Where points ``(N, 3)`` of the skin lie in the window, ``(N, 2)``, and whether the photo shows them."""
    pixels, depth = window.camera.project(points.astype(np.float64))
    height, width = window.in_photo.shape
    inside = (pixels > 0).all(1) & (pixels < [width, height]).all(1)
    within = np.clip(pixels, 0, [width - 0.5, height - 0.5]).astype(np.float32)
    is_near = np.abs(depth - _at(window.drawn.depth, within)) < _SAME_DEPTH_M
    return within, inside & _at(window.drawn.covered & window.in_photo, within) & is_near


def _at(picture: NDArray[Scalar], pixels: F32) -> NDArray[Scalar]:
    """Values ``(N,)`` of ``picture`` ``(H, W)`` at ``pixels`` ``(N, 2)``, which lie in it."""
    c, r = np.floor(pixels.T).astype(int)
    return np.asarray(picture[r, c])


def _bare_points(window: HeadWindow, seen: HairSeen) -> F64:
    """Points ``(N, 3)`` of the fitted head that the photo shows without hair."""
    bare = window.drawn.covered & (window.skin > _BARE) & ~seen.mask & window.in_photo
    rows, columns = np.nonzero(bare)
    chosen = (rows % _EVERY == 0) & (columns % _EVERY == 0)
    rows, columns = rows[chosen], columns[chosen]
    camera = window.camera
    depth = window.drawn.depth[rows, columns].astype(np.float64)
    across = (columns + 0.5 - camera.principal_px[0]) / camera.focal_px
    down = (rows + 0.5 - camera.principal_px[1]) / camera.focal_px
    there = np.stack([across, down, np.ones(len(rows))], 1) * depth[:, None]
    back: F64 = (there - camera.world_to_camera[:, 3]) @ camera.world_to_camera[:, :3]
    return back
