"""Which parts of the face something hides: a mask or a hand over the mouth, dark lenses or hair over an eye.

Face Mesh puts its points there all the same, and colours decide what is skin. So it is asked whether the
parts look like what they are: a mouth has lips of another colour than the skin around, or a line between
them; an eye does not lie in a black field. What is hidden counts neither as skin nor as landmarks. Thresholds
were found on portraits, renders and both with masks, hands and sunglasses painted over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Photo
from backend.photo import face_regions as regions
from backend.photo.crops import Crop, square_crop
from backend.photo.landmarks import Landmarks
from backend.photo.mesh_topology import IRIS_CENTRES
from backend.photo.skin import shading_invariant

_SIDE, _EXTENT = 256, 1.35  # of the crop, pixels; over the face's larger extent
_SEEN = 0.4  # mean visibility of a part's points below which its looks say nothing
# Forehead and the nose's root, which neither masks nor lenses reach.
_BARE = (regions.RIGHT_FOREHEAD, regions.LEFT_FOREHEAD, (168, 122, 6, 351), (6, 196, 197, 419))
_MIN_LIGHTNESS = 12.0  # L* of bare skin: in the dark nothing stands out
# Lips against the ring around them: difference of shading-free a, b; of L*; of the line between them over L*.
_LIP_COLOUR, _LIP_LIGHTNESS, _LIP_LINE = 1.0, 2.0, 0.12
# Looser where chin and cheeks are unlike the forehead as no skin is.
_ODD_COLOUR, _ODD_LIGHTNESS, _LOOSE_COLOUR, _LOOSE_LINE = 11.0, 0.3, 3.0, 0.25
_EYE_DARK, _EYE_CONTRAST = 0.25, 0.7  # lids and surroundings over bare skin; eyeball's range of L* over it
_EYE_REACH = 2.5  # eye widths within which what is dark and connected hides the face as well
_ABOVE_LIP = 164  # Face Mesh point between nose and upper lip
_EYES = (
    (regions.RIGHT_EYE, (33, 133), 468),
    (regions.LEFT_EYE, (263, 362), 473),
)


@dataclass(frozen=True)
class Hidden:
    """Parts of the face that cannot be seen, and where they are."""

    mouth: bool
    right_eye: bool
    left_eye: bool
    points: NDArray[np.bool_]  # (478,) Face Mesh points that are guesses
    mask: F32  # (H, W) in [0, 1] of the photo: not skin


def find_hidden(photo: Photo, landmarks: Landmarks) -> Hidden:
    """Judge mouth and eyes of a face by their looks; parts that face away are left alone."""
    import cv2

    crop = _face_crop(photo, landmarks)
    linear, offset = crop.to_photo[:, :2], crop.to_photo[:, 2]
    points: F64 = np.asarray((landmarks.points_px.astype(np.float64) - offset) @ np.linalg.inv(linear).T)
    lab = shading_invariant(cv2.cvtColor(crop.rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab))
    bare = np.zeros(lab.shape[:2], bool)
    for patch in _BARE:
        bare |= regions.fill(lab.shape, points, patch) > 0
    hidden = np.zeros(lab.shape[:2], np.uint8)
    guessed = np.zeros(len(points), bool)
    mouth, eyes = False, [False, False]
    skin: F64 = np.median(lab[bare], axis=0) if bare.any() else np.zeros(3)
    if skin[0] >= _MIN_LIGHTNESS:
        if _shown(landmarks, regions.OUTER_LIPS):
            mouth = _mouth_hidden(lab, points, skin)
        eyes = [
            _shown(landmarks, eye) and _eye_hidden(lab, points, skin, eye, corners)
            for eye, corners, _ in _EYES
        ]
    if mouth:
        area = _lower_face(lab, points, skin)
        hidden |= area
        guessed |= _inside(area, points) & (points[:, 1] > points[IRIS_CENTRES[0], 1])
    for is_hidden, (eye, corners, iris) in zip(eyes, _EYES, strict=True):
        if is_hidden:
            area = _dark_field(lab, points, skin, eye, corners)
            hidden |= area
            guessed |= _inside(area, points)
            guessed[[*eye, *range(iris, iris + 5)]] = True
    return Hidden(mouth, eyes[0], eyes[1], guessed, _on_photo(hidden, crop, photo))


def _face_crop(photo: Photo, landmarks: Landmarks) -> Crop:
    x0, y0, x1, y1 = landmarks.box
    side = _EXTENT * max(x1 - x0, y1 - y0)
    return square_crop(photo.rgb_srgb, ((x0 + x1) / 2, (y0 + y1) / 2), side, landmarks.roll, _SIDE)


def _shown(landmarks: Landmarks, part: tuple[int, ...]) -> bool:
    return float(landmarks.visible[list(part)].mean()) > _SEEN


def _width(points: F64) -> float:
    return float(np.linalg.norm(points[454] - points[234]))


def _mouth_hidden(lab: F32, points: F64, skin: F64) -> bool:
    width = _width(points)
    outer = regions.fill(lab.shape, points, regions.OUTER_LIPS)
    inner = regions.dilate(regions.fill(lab.shape, points, regions.INNER_LIPS), 1) > 0
    lips = (outer > 0) & ~inner
    ring = (regions.dilate(outer, 0.10 * width) > 0) & (regions.dilate(outer, 0.02 * width) == 0)
    chin = _below_lips(lab.shape, points) & (regions.dilate(outer, 0.03 * width) == 0)
    if not (lips.any() and ring.any() and chin.any()):
        return False
    lip, around, low = (np.median(lab[area], axis=0) for area in (lips, ring, chin))
    colour = float(np.hypot(*(lip - around)[1:]))
    lightness = abs(float(lip[0] - around[0]))
    line = abs(float(around[0]) - _line_lightness(lab[..., 0], points)) / max(float(skin[0]), 1.0)
    if colour < _LIP_COLOUR and lightness < _LIP_LIGHTNESS and line < _LIP_LINE:
        return True
    odd = float(np.hypot(*(low - skin)[1:])) > _ODD_COLOUR or low[0] < _ODD_LIGHTNESS * skin[0]
    return bool(odd and colour < _LOOSE_COLOUR and line < _LOOSE_LINE)


def _line_lightness(lightness: F32, points: F64) -> float:
    """L* of what lies between the lips: darkest of five short columns, the middle one of them."""
    between = 0.5 * (points[[82, 13, 312, 81, 311]] + points[[87, 14, 317, 178, 402]])
    darkest = []
    for x, y in between[:, :2].astype(int):
        column = lightness[max(y - 2, 0) : y + 3, np.clip(x, 0, lightness.shape[1] - 1)]
        darkest.append(float(column.min()) if column.size else 100.0)
    return float(np.median(darkest))


def _eye_hidden(lab: F32, points: F64, skin: F64, eye: tuple[int, ...], corners: tuple[int, int]) -> bool:
    width = float(np.linalg.norm(points[corners[0]] - points[corners[1]]))
    opening = regions.fill(lab.shape, points, eye)
    around = (regions.dilate(opening, 0.32 * width) > 0) & (regions.dilate(opening, 0.12 * width) == 0)
    for brow in (regions.RIGHT_BROW, regions.LEFT_BROW):
        around &= regions.dilate(regions.fill(lab.shape, points, brow), 2) == 0
    if not around.any() or np.median(lab[..., 0][around]) > _EYE_DARK * skin[0]:
        return False
    ball = lab[..., 0][opening > 0]
    return ball.size == 0 or float(np.ptp(np.percentile(ball, (8, 92)))) < _EYE_CONTRAST * skin[0]


def _below_lips(shape: tuple[int, ...], points: F64) -> NDArray[np.bool_]:
    oval = regions.dilate(regions.fill(shape, points, regions.FACE_OVAL), -0.04 * _width(points)) > 0
    below: NDArray[np.bool_] = oval & (np.arange(shape[0])[:, None] + 0.5 > points[0, 1])
    return below


def _lower_face(lab: F32, points: F64, skin: F64) -> NDArray[np.uint8]:
    """All below the nose, and above it what has the colour of that rather than the forehead's."""
    shape = lab.shape[:2]
    width = _width(points)
    rows = np.arange(shape[0])[:, None] + 0.5
    face = regions.dilate(regions.fill(shape, points, regions.FACE_OVAL), 0.08 * width) > 0
    low = face & (rows > points[_ABOVE_LIP, 1] - 0.03 * width)
    cover = np.median(lab[low & _below_lips(shape, points)], axis=0)
    nearer = ((lab - cover) ** 2).sum(-1) < ((lab - skin) ** 2).sum(-1)
    reach = face & (rows > points[[33, 263], 1].mean() + 0.06 * width)
    grown = regions.dilate((low | (reach & nearer)).astype(np.uint8), 0.03 * width)
    # Chin straps and fingers go on over the jaw; the neck below is skin again, or is not known to be.
    return np.asarray(grown * (rows < points[152, 1] + 0.15 * width), np.uint8)


def _dark_field(
    lab: F32, points: F64, skin: F64, eye: tuple[int, ...], corners: tuple[int, int]
) -> NDArray[np.uint8]:
    """The eye with what is dark about it and connected."""
    import cv2

    width = float(np.linalg.norm(points[corners[0]] - points[corners[1]]))
    opening = regions.fill(lab.shape, points, eye)
    near = regions.dilate(opening, _EYE_REACH * width) > 0
    core = regions.dilate(opening, 0.35 * width) > 0
    dark = ((lab[..., 0] < 0.5 * skin[0]) & near) | core
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=8)
    field = np.isin(labels, np.unique(labels[core])).astype(np.uint8)
    return regions.dilate(field, 0.10 * width)


def _inside(area: NDArray[np.uint8], points: F64) -> NDArray[np.bool_]:
    column, row = np.clip(points[:, :2].astype(int), 0, area.shape[0] - 1).T
    inside: NDArray[np.bool_] = area[row, column] > 0
    return inside


def _on_photo(area: NDArray[np.uint8], crop: Crop, photo: Photo) -> F32:
    import cv2

    if not area.any():
        return np.zeros((photo.height, photo.width), np.float32)
    linear = np.linalg.inv(crop.to_photo[:, :2])
    offset = linear @ (0.5 - crop.to_photo[:, 2]) - 0.5
    mask: F32 = cv2.warpAffine(
        area.astype(np.float32),
        np.column_stack([linear, offset]),
        (photo.width, photo.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    return mask
