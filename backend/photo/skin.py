"""Skin in a levelled head crop: a colour segmentation seeded by the landmarks, minus eyes, mouth and glasses.

GrabCut (Rother, Kolmogorov & Blake 2004) separates skin from everything else with two colour mixtures
learned from this photo alone, so that light, exposure and skin tone need no model: certain skin are the
mesh's cheeks, nose and mid-forehead, on both sides, hence under both halves of a hard shadow; certain
not-skin is whatever lies outside the person, and what lies above the brows around the face's oval
without looking like the skin (hair, hats).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.photo import face_regions as regions
from backend.photo.crops import U8
from backend.photo.glasses import frame_mask

_GRABCUT_SIDE = 256
_GRABCUT_ROUNDS = 3
_CHROMA_GAIN = 3.0  # skin and hair differ more in chroma than GrabCut's contrast term would see
_PATCHES = (
    regions.RIGHT_CHEEK,
    regions.LEFT_CHEEK,
    regions.RIGHT_NOSE,
    regions.LEFT_NOSE,
    regions.RIGHT_FOREHEAD,
    regions.LEFT_FOREHEAD,
)


def skin_probability(rgb: U8, points: F64, visible: F32, person: F32, inside: NDArray[np.bool_]) -> F32:
    """Probability ``(S, S)`` in [0, 1] that a pixel is face, ear or neck skin, brow or lip.

    ``rgb`` ``(S, S, 3)`` is a crop with a level face, ``points`` ``(478, ≥ 2)`` its landmarks in crop
    pixels with their visibility ``(478,)``, ``person`` ``(S, S)`` the person's probability and ``inside``
    ``(S, S)`` False where the crop leaves the photo.
    """
    import cv2

    side = rgb.shape[0]
    low = side // _GRABCUT_SIDE
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    size = (side // low, side // low)
    coarse = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    texture = cv2.resize(_texture(lab[..., 0]), size, interpolation=cv2.INTER_AREA)
    skin = _segment_colour(
        coarse,
        texture,
        points[:, :2] / low,
        visible,
        cv2.resize(person, size, interpolation=cv2.INTER_AREA),
        cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
    )
    soft = cv2.resize(skin.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    guide = rgb.astype(np.float32) / 255
    soft = cv2.ximgproc.guidedFilter(guide, soft, radius=max(2, side // 100), eps=1e-3)
    soft = _fill_face_features(soft, points)
    soft *= 1.0 - _openings(rgb.shape[:2], points)
    soft *= 1.0 - frame_mask(lab[..., 0], points)
    return np.clip(np.where(inside, soft, 0.0), 0.0, 1.0).astype(np.float32)


def _texture(lightness: F32) -> F32:
    """Local contrast of fine detail, lightness units: hair and knitwear have much, skin little."""
    import cv2

    fine = lightness - cv2.GaussianBlur(lightness, (0, 0), 2.0)
    local: F32 = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 4.0))
    return local


def _segment_colour(
    lab: F32, texture: F32, points: F64, visible: F32, person: F32, inside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    import cv2

    shape = lab.shape[:2]
    oval = regions.fill(shape, points, regions.FACE_OVAL)
    face_height = float(np.ptp(points[list(regions.FACE_OVAL), 1]))
    seeds = _seeds(lab, points, visible)
    unlike = _unlike_skin(lab, texture, seeds)

    label = np.where(oval > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    label[(oval == 0) & unlike & _around(oval, points, face_height)] = cv2.GC_BGD
    far = regions.dilate(oval, 0.9 * face_height) == 0
    label[(person < 0.3) & (oval == 0) | far] = cv2.GC_BGD
    label[seeds] = cv2.GC_FGD
    label[~inside] = cv2.GC_BGD

    centre = np.median(lab[seeds], axis=0)
    spread = (lab - centre) * np.array([1.0, _CHROMA_GAIN, _CHROMA_GAIN], np.float32)
    picture = np.clip(spread + np.array([centre[0] * 2.0, 127, 127], np.float32), 0, 255)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)  # the mixtures start from a k-means
    cv2.grabCut(picture.astype(np.uint8), label, None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    skin = ((label & 1) > 0) & inside
    return _connected(skin, seeds)


def _seeds(lab: F32, points: F64, visible: F32) -> NDArray[np.bool_]:
    """Certain skin: the visible patches without the pixels that are unlike the rest of their patch."""
    shape = lab.shape[:2]
    seeds = np.zeros(shape, bool)
    for patch in _PATCHES:
        if float(visible[list(patch)].mean()) < 0.4:
            continue
        area = regions.dilate(regions.fill(shape, points, patch), -1) > 0
        if not area.any():
            continue
        values = lab[area]
        middle = np.median(values, axis=0)
        reach = 2.5 * 1.4826 * np.median(np.abs(values - middle), axis=0) + np.array([6.0, 3.0, 3.0])
        area[area] = (np.abs(values - middle) < reach).all(1)
        seeds |= area
    if not seeds.any():  # a face so small or turned that no patch is left
        seeds = regions.fill(shape, points, regions.FACE_OVAL) > 0
    return seeds


def _unlike_skin(lab: F32, texture: F32, seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that no seed resembles in colour, or of far more texture than the seeds."""
    import cv2

    values = lab[seeds].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    count = min(5, len(values))
    cv2.setRNGSeed(1)
    _, _, centres = cv2.kmeans(values, count, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    tolerance = np.array([7.0, 4.0, 4.5], np.float32)
    distance = np.min([(((lab - c) / tolerance) ** 2).sum(-1) for c in centres], axis=0)
    rough = texture > 3.0 * np.median(texture[seeds]) + 1.5
    unlike: NDArray[np.bool_] = (distance > 6.0) | rough
    return unlike


def _around(oval: U8, points: F64, face_height: float) -> NDArray[np.bool_]:
    """Above the eyes and clear of the oval: scalp, hair or hat, but not the ears."""
    eyes = float(points[[33, 263], 1].mean())
    rows = np.arange(oval.shape[0])[:, None] + 0.5
    near: NDArray[np.bool_] = (rows < eyes) & (regions.dilate(oval, 0.03 * face_height) == 0)
    return near


def _connected(skin: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The components that touch a seed, without holes smaller than 0.3 % of the picture."""
    import cv2

    _, labels = cv2.connectedComponents(skin.astype(np.uint8), connectivity=4)
    wanted = np.unique(labels[seeds & skin])
    kept = np.isin(labels, wanted[wanted > 0])
    _, holes, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.003 * skin.size
    small[0] = False
    filled: NDArray[np.bool_] = kept | small[holes]
    return filled


def _fill_face_features(soft: F32, points: F64) -> F32:
    """Lips belong to the skin; so do brows that skin surrounds."""
    shape = soft.shape[:2]
    lips = regions.fill(shape, points, regions.OUTER_LIPS)
    soft = np.maximum(soft, _feather(lips, 1.0))
    for brow in (regions.RIGHT_BROW, regions.LEFT_BROW):
        area = regions.fill(shape, points, brow)
        height = float(np.ptp(points[list(brow), 1]))
        area = regions.dilate(area, 0.12 * height)
        ring = (regions.dilate(area, 0.3 * height) > 0) & (area == 0)
        if ring.any() and float(soft[ring].mean()) > 0.75:
            soft = np.maximum(soft, _feather(area, 1.0))
    return soft


def _openings(shape: tuple[int, int], points: F64) -> F32:
    """Eyes with their lashes, and the open mouth."""
    mask = np.zeros(shape, np.float32)
    for eye, corners in ((regions.RIGHT_EYE, (33, 133)), (regions.LEFT_EYE, (263, 362))):
        width = float(np.linalg.norm(points[corners[0], :2] - points[corners[1], :2]))
        area = regions.dilate(regions.fill(shape, points, eye), max(1.0, 0.07 * width))
        mask = np.maximum(mask, _feather(area, 1.0))
    gap = float(np.linalg.norm(points[13, :2] - points[14, :2]))
    width = float(np.linalg.norm(points[78, :2] - points[308, :2]))
    if gap > 0.04 * width:
        inner = regions.dilate(regions.fill(shape, points, regions.INNER_LIPS), max(1.0, 0.015 * width))
        mask = np.maximum(mask, _feather(inner, 0.7))
    return mask


def _feather(mask: U8, sigma: float) -> F32:
    import cv2

    soft: F32 = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)
    return soft
