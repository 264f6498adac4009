"""Which pixels of the photo show hair, and how far it stands off the fitted head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera, HeadFit, Observation
from backend.uvspace.buffers import RasterBuffers
from backend.uvspace.rasterise import cropped_camera, rasterise_camera

WINDOW_PX = 384  # side of the window about the head in which hair is found and Gaussians are fitted
_REACH = 0.32  # of the head's extent: how far the window goes beyond it
_LEAST_SHARE = 0.015  # of the head's pixels: less is no hair
_LIKE_HAIR = 2.8  # Mahalanobis distance in Lab up to which pixels below the ears count as hair
_BESIDE = 3.5  # the same beside the fitted head
_MARGIN_M = 0.0015  # by which person masks are wide
_THICK_M = 0.010  # hair that stands off further is no scalp
_REACHES_PX = (4.0, 8.0)
_LEAST_STEP = 7.0  # in Lab: bald heads have up to 5, cropped hair at least 8
_RIM_M = 0.010  # what is seen only so near to the outline is a bald head's shade; hair reaches 13 mm and more
_ANGLES = 48  # directions around the head's middle


@dataclass(frozen=True)
class HeadWindow:
    """The photo about the head, at most WINDOW_PX a side."""

    camera: Camera
    rgb_srgb: F32  # (H, W, 3)
    skin: F32  # (H, W) in [0, 1]
    person: F32  # (H, W) in [0, 1]
    in_photo: NDArray[np.bool_]  # (H, W) whether the photo reaches here
    drawn: RasterBuffers  # the fitted mesh


@dataclass(frozen=True)
class HairSeen:
    """What the window shows of hair."""

    mask: NDArray[np.bool_]  # (H, W)
    clean: NDArray[
        np.bool_
    ]  # (H, W) where the mask's pixels have hair's colours: no background between strands
    hangs: bool  # whether hair is seen beside the neck
    thickness_m: F32  # (_ANGLES,) how far hair stands off the head around its middle, in the picture
    usual_m: float  # the same, typical of the upper head
    middle_head: F64  # (3,) middle of the skull
    is_bald: bool  # what the mask shows is scalp that the skin mask left out


def head_window(observation: Observation, fit: HeadFit) -> HeadWindow:
    """The window about the fitted head."""
    import cv2

    pixels, _ = fit.camera.project(fit.vertices_head)
    low, high = pixels.min(0), pixels.max(0)
    reach = _REACH * float(max(high - low))
    left, top = low - [reach, reach]
    side = high - low + [2 * reach, reach]
    scale = min(WINDOW_PX / float(max(side)), 1.5)
    width, height = (max(16, round(float(s) * scale)) for s in side)
    camera = cropped_camera(fit.camera, float(left), float(top), width, height, scale)
    matrix = np.array(
        [[scale, 0, 0.5 * scale - left * scale - 0.5], [0, scale, 0.5 * scale - top * scale - 0.5]]
    )

    def cut(image: F32) -> F32:
        shrink = max(1, int(1 / scale))
        small = image
        here = matrix
        if shrink > 1:  # averaged first, so that fine hair does not alias
            size = (image.shape[1] // shrink, image.shape[0] // shrink)
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            fx, fy = image.shape[1] / size[0], image.shape[0] / size[1]
            here = np.array(
                [
                    [scale * fx, 0, 0.5 * scale * fx - left * scale - 0.5],
                    [0, scale * fy, 0.5 * scale * fy - top * scale - 0.5],
                ]
            )
        warped = cv2.warpAffine(small, here, (width, height), flags=cv2.INTER_LINEAR, borderValue=0.0)
        return np.asarray(warped, np.float32)

    inside = cut(np.ones(observation.skin_mask.shape, np.float32)) > 0.99
    return HeadWindow(
        camera=camera,
        rgb_srgb=cut(observation.photo.rgb_srgb),
        skin=cut(observation.skin_mask),
        person=cut(observation.person_mask),
        in_photo=inside,
        drawn=rasterise_camera(fit.vertices_head, fit.head.opaque_triangles, camera),
    )


def find_hair(window: HeadWindow, fit: HeadFit) -> HairSeen | None:
    """The hair that the window shows; None where there is too little to be hair."""
    import cv2

    head = fit.head
    vertices = fit.vertices_head.astype(np.float64)
    drawn = window.drawn
    weights = np.stack([head.regions[n] for n in ("scalp", "forehead", "neck", "ears", "face")], 1)
    on_scalp, on_forehead, _, on_ear, on_face = np.moveaxis(drawn.interpolate(weights, head.triangles), -1, 0)
    person = (window.person > 0.5) & window.in_photo
    bare = window.skin > 0.4
    # Inside the face what is no skin is eyes, mouth or glasses; only the forehead may lie under a fringe.
    features = (on_face > 0.5) & (on_forehead < 0.5) & (on_scalp < 0.5)
    candidate = person & ~bare & ~features & (on_ear < 0.5)
    ears_y = vertices[head.regions["ears"] > 0.5].mean(0)
    ears_y[0] = 0.0
    level = float(window.camera.project(ears_y)[0][1])
    rows = np.arange(len(person))[:, None] + 0.5
    upper = candidate & (rows < level)
    head_pixels = int((drawn.covered & (rows < level)).sum())
    if upper.sum() < _LEAST_SHARE * max(head_pixels, 1):
        return None
    lab = cv2.cvtColor(window.rgb_srgb, cv2.COLOR_RGB2Lab)
    lab[..., 1:] *= 2.0  # hue tells hair from skin, light does not
    seeds = upper & ((on_face < 0.3) | (on_scalp > 0.7))
    if seeds.sum() < 0.5 * _LEAST_SHARE * max(head_pixels, 1):
        return None
    core = seeds & (cv2.erode(upper.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
    to_hair = _distance(lab, core if core.sum() > 0.3 * seeds.sum() else seeds)
    to_skin = _distance(lab, bare & (on_face > 0.5) & (on_forehead < 0.3))
    # The skin mask leaves a margin of skin out: nearer to skin's colours than to hair's is no hair.
    # Person masks are some pixels wide: beside the fitted head, what is unlike hair is background.
    upper &= drawn.covered | (to_hair < _BESIDE)
    hair = (upper & (to_hair < np.maximum(to_skin, 1.0))) | (
        candidate & (rows >= level) & (to_hair < _LIKE_HAIR)
    )
    hair = np.asarray(hair, np.uint8)
    hair = cv2.morphologyEx(hair, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    hair = cv2.morphologyEx(hair, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels = cv2.connectedComponents(hair)
    touching = np.unique(labels[upper & (hair > 0)])
    sizes = np.bincount(labels.ravel(), minlength=count)
    kept = [k for k in touching if k and sizes[k] > 0.004 * head_pixels]
    mask = np.isin(labels, kept)
    if mask.sum() < _LEAST_SHARE * max(head_pixels, 1):
        return None
    # Beside the neck, not on it, a hand's breadth below the ears: hair hangs.
    metres = float(np.median(drawn.depth[drawn.covered])) / window.camera.focal_px
    low = mask & (rows > level + 0.045 / metres) & ~drawn.covered
    hangs = bool(low.sum() * metres**2 > 8e-4)
    skull = vertices[(head.regions["scalp"] > 0.5)]
    centre = 0.5 * (skull.min(0) + skull.max(0))
    centre[1] = vertices[head.regions["ears"] > 0.5][:, 1].max()
    thickness, usual = _stand_off(mask, drawn.covered, window.camera, centre, metres)
    bare &= drawn.covered & ~mask
    plain = lab * np.array([1, 0.5, 0.5], np.float32)
    is_shade = _step(plain, mask, bare) < _LEAST_STEP or _depth_m(mask, window, metres) < _RIM_M
    is_bald = not hangs and usual < _THICK_M and is_shade
    if is_bald:
        scalp = upper & drawn.covered & (on_scalp > 0.5)
        return HairSeen(scalp, scalp, hangs, thickness, usual, centre, is_bald)
    return HairSeen(mask, mask & (to_hair < _LIKE_HAIR), hangs, thickness, usual, centre, is_bald=False)


def _depth_m(mask: NDArray[np.bool_], window: HeadWindow, metres: float) -> float:
    """How far into the person most of ``mask`` reaches from the outline: its upper quartile."""
    import cv2

    person = (window.person > 0.5) & window.in_photo
    return (
        float(np.quantile(cv2.distanceTransform(person.astype(np.uint8), cv2.DIST_L2, 5)[mask], 0.75))
        * metres
    )


def _step(lab: F32, mask: NDArray[np.bool_], bare: NDArray[np.bool_]) -> float:
    """How far colours jump where ``mask`` meets ``bare`` skin; far where they do not meet.

    Colours are compared over two distances, and the jump is what is left at none: a scalp only shades off.
    """
    near, far = (_contrast(lab, mask, bare, reach) for reach in _REACHES_PX)
    return 2 * near - far


def _contrast(lab: F32, mask: NDArray[np.bool_], bare: NDArray[np.bool_], reach_px: float) -> float:
    import cv2

    gaps = [cv2.distanceTransform((~side).astype(np.uint8), cv2.DIST_L2, 5) for side in (mask, bare)]
    means, weights = [], []
    for side, to_other in ((mask, gaps[1]), (bare, gaps[0])):
        chosen = (side & (to_other > 2)).astype(np.float32)
        weight = cv2.GaussianBlur(chosen, (0, 0), reach_px)
        mean = cv2.GaussianBlur(lab * chosen[..., None], (0, 0), reach_px)
        means.append(mean / np.maximum(weight, 1e-6)[..., None])
        weights.append(weight)
    edge = (gaps[0] + gaps[1] < 1.5 * reach_px) & (np.minimum(*weights) > 0.1)
    if edge.sum() < 50:
        return 1e3
    return float(np.median(np.linalg.norm((means[0] - means[1])[edge], axis=1)))


def _distance(lab: F32, among: NDArray[np.bool_]) -> F32:
    """Mahalanobis distance ``(H, W)`` of every pixel to the colours of ``among``; far without any."""
    sample = lab[among]
    if len(sample) < 20:
        return np.full(lab.shape[:2], 1e3, np.float32)
    off = lab - np.median(sample, 0)
    inverse = np.linalg.inv(np.cov(sample.T) + np.diag([25.0, 16.0, 16.0]))
    square = np.einsum("hwi,ij,hwj->hw", off, inverse, off)
    return np.asarray(np.sqrt(np.maximum(square, 0)), np.float32)


def around(camera: Camera, points: F64, middle: F64) -> F64:
    """Angle of ``points`` ``(..., 3)`` around ``middle`` in the picture, in turns [0, 1)."""
    offset = (points - middle) @ camera.world_to_camera[:2, :3].T
    return np.asarray(np.arctan2(offset[..., 1], offset[..., 0]) / (2 * np.pi) % 1.0)


def _stand_off(
    mask: NDArray[np.bool_], covered: NDArray[np.bool_], camera: Camera, centre: F64, metres: float
) -> tuple[F32, float]:
    """Thickness by angle and its usual value, from hair outside the mesh's outline."""
    import cv2

    distance = cv2.distanceTransform((~covered).astype(np.uint8), cv2.DIST_L2, 5) * metres
    at = camera.project(centre)[0]
    rows, columns = np.nonzero(mask & ~covered)
    turn = np.arctan2(rows + 0.5 - at[1], columns + 0.5 - at[0]) / (2 * np.pi) % 1.0
    bins = np.minimum((turn * _ANGLES).astype(int), _ANGLES - 1)
    found = np.zeros(_ANGLES)
    for k in range(_ANGLES):
        here = distance[rows[bins == k], columns[bins == k]]
        found[k] = np.quantile(here, 0.97) if len(here) > 3 else 0.0
    wrapped = np.concatenate([found[-2:], found, found[:2]])
    smooth = np.convolve(wrapped, [0.1, 0.2, 0.4, 0.2, 0.1], "valid")
    thickness = np.clip(np.maximum(smooth, found) - _MARGIN_M, 0.002, 0.14).astype(np.float32)
    upper = np.arange(_ANGLES) >= _ANGLES // 2  # rows grow downwards: the second half lies above the middle
    return thickness, float(np.clip(np.median(thickness[upper]), 0.002, 0.09))
