"""Skin in a levelled head crop: a colour segmentation seeded by the landmarks, minus eyes, mouth and glasses.

GrabCut (Rother, Kolmogorov & Blake 2004) separates skin from everything else with two colour mixtures
learned from this photo alone, so that light, exposure and skin tone need no model: certain skin are the
mesh's cheeks, nose and mid-forehead, on both sides, hence under both halves of a hard shadow; certain
not-skin is whatever lies outside the person, what lies above the brows around the face's oval without
looking like the skin (hair, hats), and whatever has another chroma (cloth).
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
_CHROMA_SCALE = 76.0  # L* + 16 of a mid-tone, so that chroma keeps its usual numbers
_CHROMA_GAIN = 3.0  # skin and hair differ more in chroma than GrabCut's contrast term would see
_TOLERANCE = np.array(
    [7.0, 4.0, 4.5], np.float32
)  # in L and shading-free a, b: one step of skin's own spread
_MAX_SHADING_SLOPE = 4.0  # lightness units per pixel of the 256-pixel crop; an edge above
# Local contrast of the forehead by that of certain skin, factor and offset in lightness units: skin has less
# than the first, fringes more than the second and are darker by this.
_SMOOTH, _STRANDS = (1.5, 0.3), (1.8, 0.4)
_STRANDS_DARKER = 12.0
_FRINGE_SHARE = 0.15  # of the forehead; a hair line alone has less
_TIPS, _LIDS = 0.10, 0.04  # of the face's height: how far strands hang below a fringe, what lashes take
_LOCKS = 0.25  # of the face's height: how far they hang beside the eyes, before temple, ear and cheek
_STRAND, _BETWEEN = 0.05, 0.02  # of the face's width: a strand's greatest width, how far gaps are closed
_BROKEN = 0.05  # of the face's width: how far a strand may be lost from sight
_STRAND_DARKER = 2.5  # lightness units, than the skin beside it …
_LIGHT_SKIN, _LEAST_SCALE = 60.0, 0.25  # … of this lightness; less beside darker skin
_DENSE = 0.25  # share of strands above which nothing between them is skin
_SHADED = 0.15  # share of the certain skin, its darkest, that is no measure of the forehead
_SURE_PATCHES = (regions.RIGHT_CHEEK, regions.LEFT_CHEEK, regions.RIGHT_NOSE, regions.LEFT_NOSE)
_LIKELY_PATCHES = (regions.RIGHT_FOREHEAD, regions.LEFT_FOREHEAD)  # unless a fringe covers them


def skin_probability(rgb: U8, points: F64, visible: F32, person: F32, inside: NDArray[np.bool_]) -> F32:
    """Probability ``(S, S)`` in [0, 1] that a pixel is face, ear or neck skin, brow or lip.

    Eyes, mouth and spectacles inside the face count as skin here; see ``covered_probability``.

    ``rgb`` ``(S, S, 3)`` is a crop with a level face, ``points`` ``(478, ≥ 2)`` its landmarks in crop
    pixels with their visibility ``(478,)``, ``person`` ``(S, S)`` the person's probability and ``inside``
    ``(S, S)`` False where the crop leaves the photo.
    """
    import cv2

    side = rgb.shape[0]
    low = side // _GRABCUT_SIDE
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    size = (side // low, side // low)
    coarse = shading_invariant(cv2.resize(lab, size, interpolation=cv2.INTER_AREA))
    texture, relative = (
        cv2.resize(_texture(lightness), size, interpolation=cv2.INTER_AREA)
        for lightness in (lab[..., 0], relative_lightness(lab[..., 0]))
    )
    skin, fringe = _segment_colour(
        coarse,
        (texture, relative),
        points[:, :2] / low,
        visible,
        cv2.resize(person, size, interpolation=cv2.INTER_AREA),
        cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
    )
    soft = cv2.resize(skin.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    guide = rgb.astype(np.float32) / 255
    soft = cv2.ximgproc.guidedFilter(guide, soft, radius=max(2, side // 100), eps=1e-3)
    # The filter spreads over flat surroundings; a pixel that is half background must not count as skin.
    soft = _smoothstep(soft, 0.35, 0.85)
    soft = _fill_face_features(soft, points)
    fringe = cv2.resize(fringe.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0
    soft *= 1.0 - _hanging_strands(lab[..., 0], fringe, soft < 0.5, points)
    return np.clip(np.where(inside, soft, 0.0), 0.0, 1.0).astype(np.float32)


def covered_probability(rgb: U8, points: F64) -> F32:
    """``(S, S)`` in [0, 1]: eyes with their lashes, the open mouth and spectacle frames."""
    import cv2

    lightness = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[..., 0]
    return np.maximum(_openings(rgb.shape[:2], points), frame_mask(lightness, points))


def shading_invariant(lab: F32) -> F32:
    """Lab with a and b over (L + 16): for one surface these two do not change with the amount of light."""
    scaled = lab.copy()
    scaled[..., 1:] *= (_CHROMA_SCALE / (lab[..., :1] + 16.0)).astype(np.float32)
    return scaled


def relative_lightness(lightness: F32) -> F32:
    """Lightness whose steps are ratios of light, alike in shadow and sun; L* itself about a mid-tone."""
    middle = np.float32(_CHROMA_SCALE)
    return np.asarray(middle * np.log((lightness + 16.0) / middle) + middle - 16.0, np.float32)


def _texture(lightness: F32) -> F32:
    """Local contrast of fine detail, lightness units: hair and knitwear have much, skin little."""
    import cv2

    fine = lightness - cv2.GaussianBlur(lightness, (0, 0), 2.0)
    local: F32 = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 4.0))
    return local


def _segment_colour(
    lab: F32, textures: tuple[F32, F32], points: F64, visible: F32, person: F32, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Skin, and what of the forehead a fringe covers (nothing where there is none).

    ``textures`` are of the lightness and of ``relative_lightness``.
    """
    import cv2

    texture, texture_relative = textures
    shape = lab.shape[:2]
    oval = regions.fill(shape, points, regions.FACE_OVAL)
    face_height = float(np.ptp(points[list(regions.FACE_OVAL), 1]))
    seeds = _seeds(lab, points, visible)
    colour, chroma = _distances(lab, seeds)
    rough = texture > 3.0 * np.median(texture[seeds]) + 1.5
    outside = regions.dilate(oval, 0.03 * face_height) == 0
    rows = np.arange(shape[0])[:, None] + 0.5
    above_brows = rows < float(points[[105, 334], 1].mean())

    label = np.where(oval > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    label[(oval > 0) & above_brows & (colour > 8.0)] = cv2.GC_PR_BGD  # a fringe, perhaps
    label[outside & above_brows & ((colour > 6.0) | rough)] = cv2.GC_BGD
    label[outside & (chroma > 9.0)] = cv2.GC_BGD
    # Hair that hangs from above into the face may have a colour of the cheeks, but not the forehead's,
    # and an edge lies between; a forehead that only shades off or reddens is reached without one.
    unlike_forehead = above_brows & (person > 0.3) & (_forehead_chroma(lab, seeds, points) > 6.0)
    smooth = (_slope(lab[..., 0]) < _MAX_SHADING_SLOPE) | seeds
    fringe = unlike_forehead & _reached(outside & unlike_forehead, unlike_forehead)
    label[fringe & ~outside & ~_reached(seeds, smooth)] = cv2.GC_BGD
    bare, strands = _forehead(lab, texture_relative, seeds, (oval > 0) & above_brows)
    label[bare] = cv2.GC_FGD
    label[strands] = cv2.GC_BGD
    far = cv2.distanceTransform(1 - oval, cv2.DIST_L2, 3) > 0.9 * face_height
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
    is_fringe = strands.sum() > _FRINGE_SHARE * ((oval > 0) & above_brows).sum()
    fringe = strands if is_fringe else np.zeros_like(strands)
    return _connected(skin, seeds, oval > 0), fringe


def _forehead(
    lab: F32, texture: F32, seeds: NDArray[np.bool_], forehead: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What of the ``forehead`` is certainly bare, and what a fringe covers.

    A forehead in another light than the cheeks is as smooth as they are, and no edge parts it from them.
    Strands let its colour through, but not its smoothness. Hair in the shade is nearly as dark as shaded
    skin: all is told from ``relative_lightness``, of which ``texture`` ``(S, S)`` is the fine detail.
    """
    ratios = lab.copy()
    ratios[..., 0] = relative_lightness(lab[..., 0])
    lightness = ratios[..., 0]
    lit = seeds & (lightness >= np.quantile(lightness[seeds], _SHADED))
    colour, _ = _distances(ratios, lit)
    smooth = (_slope(lightness) < _MAX_SHADING_SLOPE) | seeds
    typical = float(np.median(texture[seeds]))
    dark = lightness < np.median(lightness[seeds]) - _STRANDS_DARKER
    even = smooth & (texture < _SMOOTH[0] * typical + _SMOOTH[1]) & (colour < 6.0)
    bare = forehead & _reached(seeds, even)
    strands = forehead & dark & ~bare & (texture > _STRANDS[0] * typical + _STRANDS[1])
    if strands.sum() > _FRINGE_SHARE * forehead.sum():
        strands = forehead & dark & ~bare  # between its strands as well
    return bare, strands


def _hanging_strands(
    lightness: F32, fringe: NDArray[np.bool_], covered: NDArray[np.bool_], points: F64
) -> F32:
    """``(S, S)`` in [0, 1]: single strands that hang from the ``fringe`` over brows and temples.

    In a level face they run down and are thin; brows and wrinkles run across, lids have lashes.
    """
    import cv2

    if not fringe.any():
        return np.zeros(lightness.shape, np.float32)
    x, y = points[:, 0], points[:, 1]
    height, width = (
        float(np.ptp(y[list(regions.FACE_OVAL)])),
        float(np.linalg.norm(points[454] - points[234])),
    )
    columns, rows = np.arange(lightness.shape[1])[None] + 0.5, np.arange(lightness.shape[0])[:, None] + 0.5
    above_lids = rows < y[[159, 386]].mean() - _LIDS * height
    beside = ((columns < x[33] - _LIDS * height) | (columns > x[263] + _LIDS * height)) & (rows < y[13])
    hair = _reached(fringe, covered | fringe)
    near, beside = (
        area & (regions.dilate(hair.astype(np.uint8), reach * height) > 0)
        for area, reach in ((above_lids, _TIPS), (beside, _LOCKS))
    )
    across = np.ones((1, round(_STRAND * width) | 1), np.uint8)
    line = cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, across)
    scale = np.clip((lightness + line) / _LIGHT_SKIN, _LEAST_SCALE, 1.0)
    found = (line > _STRAND_DARKER * scale) & (near | beside)
    for patch in _SURE_PATCHES:
        found &= regions.fill(lightness.shape, points, patch) == 0
    # A brow's hairs are as thin and dark; they do not hang from the fringe.
    along = cv2.dilate(found.astype(np.uint8), np.ones((round(_BROKEN * width) | 1, 1), np.uint8)) > 0
    strand = (found & _reached(hair, along | hair)).astype(np.float32)
    dense = cv2.GaussianBlur(strand, (0, 0), _BETWEEN * width)
    return _feather(((strand > 0) | (dense > _DENSE)).astype(np.uint8), 0.7)


def _slope(lightness: F32) -> F32:
    """Magnitude of the lightness gradient, units per pixel."""
    import cv2

    blurred = cv2.GaussianBlur(lightness, (0, 0), 1.0)
    dx, dy = (cv2.Sobel(blurred, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    slope: F32 = np.hypot(dx, dy)
    return slope


def _forehead_chroma(lab: F32, seeds: NDArray[np.bool_], points: F64) -> F32:
    """Squared chroma distance, in tolerances, to the nearer of the forehead's two halves.

    Cheeks are redder and shaded more deeply: light hair can have their colours, but not the forehead's.
    """
    distances = []
    for half in _LIKELY_PATCHES:
        own = seeds & (regions.fill(lab.shape, points, half) > 0)
        if own.any():
            middle = np.median(lab[own], axis=0)
            distances.append((((lab - middle) / _TOLERANCE)[..., 1:] ** 2).sum(-1))
    if not distances:
        return np.zeros(lab.shape[:2], np.float32)
    nearest: F32 = np.min(distances, axis=0)
    return nearest


def _reached(start: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The components of ``allowed`` that touch ``start``."""
    import cv2

    _, labels = cv2.connectedComponents(allowed.astype(np.uint8), connectivity=8)
    wanted = np.unique(labels[start & allowed])
    reached: NDArray[np.bool_] = np.isin(labels, wanted[wanted > 0])
    return reached


def _seeds(lab: F32, points: F64, visible: F32) -> NDArray[np.bool_]:
    """Certain skin: cheeks and nose, and what of the forehead has their colours."""
    sure = np.zeros(lab.shape[:2], bool)
    for patch in _SURE_PATCHES:
        sure |= _homogeneous(lab, points, visible, patch)
    if not sure.any():  # cheeks and nose are covered
        for likely in _LIKELY_PATCHES:
            sure |= _homogeneous(lab, points, visible, likely)
    if not sure.any():  # a face so small or turned that no patch is left
        return regions.fill(lab.shape, points, regions.FACE_OVAL) > 0
    colour, chroma = _distances(lab, sure)
    alike = (colour < 4.0) & (chroma < 1.0)
    for likely in _LIKELY_PATCHES:
        sure = sure | (_homogeneous(lab, points, visible, likely) & alike)
    return sure


def _homogeneous(lab: F32, points: F64, visible: F32, patch: tuple[int, ...]) -> NDArray[np.bool_]:
    """A patch, where it is seen, without the pixels that stand out from it (moles, strands, highlights)."""
    area = regions.dilate(regions.fill(lab.shape, points, patch), -1) > 0
    if not area.any() or float(visible[list(patch)].mean()) < 0.4:
        return np.zeros(lab.shape[:2], bool)
    values = lab[area]
    middle = np.median(values, axis=0)
    reach = 2.5 * 1.4826 * np.median(np.abs(values - middle), axis=0) + np.array([6.0, 3.0, 3.0])
    area[area] = (np.abs(values - middle) < reach).all(1)
    return area


def _distances(lab: F32, seeds: NDArray[np.bool_]) -> tuple[F32, F32]:
    """Squared distance to the nearest of five seed colours in tolerances: whole colour, chroma alone."""
    import cv2

    values = lab[seeds].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    cv2.setRNGSeed(1)
    _, _, centres = cv2.kmeans(values, min(5, len(values)), None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    squares = [((lab - centre) / _TOLERANCE) ** 2 for centre in centres]
    colour: F32 = np.min([d.sum(-1) for d in squares], axis=0)
    chroma: F32 = np.min([d[..., 1:].sum(-1) for d in squares], axis=0)
    return colour, chroma


def _connected(
    skin: NDArray[np.bool_], seeds: NDArray[np.bool_], face: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The components that touch a seed; inside the face holes under 0.3 % of the picture are closed."""
    import cv2

    kept = _reached(seeds, skin)
    _, holes, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.003 * skin.size
    small[0] = False
    filled: NDArray[np.bool_] = kept | (small[holes] & face)
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


def _openings(shape: tuple[int, ...], points: F64) -> F32:
    """Eyes with their lashes, and the open mouth."""
    mask = np.zeros(shape[:2], np.float32)
    for eye, corners in ((regions.RIGHT_EYE, (33, 133)), (regions.LEFT_EYE, (263, 362))):
        width = float(np.linalg.norm(points[corners[0], :2] - points[corners[1], :2]))
        area = regions.dilate(regions.fill(shape, points, eye), max(1.0, 0.07 * width))
        mask = np.maximum(mask, _feather(area, 1.0))
    gap = float(np.linalg.norm(points[13, :2] - points[14, :2]))
    width = float(np.linalg.norm(points[78, :2] - points[308, :2]))
    if gap > 0.04 * width:
        # Lips that smile are thin; what is unsure beside the teeth, unwrapping feathers anyway.
        inner = regions.dilate(regions.fill(shape, points, regions.INNER_LIPS), max(1.0, 0.012 * width))
        mask = np.maximum(mask, _feather(inner, 0.7))
    return mask


def _smoothstep(x: F32, low: float, high: float) -> F32:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def _feather(mask: U8, sigma: float) -> F32:
    import cv2

    soft: F32 = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma)
    return soft
