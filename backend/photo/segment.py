"""Masks of skin and person at the photo's resolution, from one levelled crop about the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Photo
from backend.photo.crops import Crop, square_crop
from backend.photo.hands import hand_mask
from backend.photo.landmarks import Landmarks
from backend.photo.mediapipe_graphs import SELFIE_SIDE, FaceNetworks
from backend.photo.skin import covered_probability, skin_probability

CROP_SIDE = 512
_CROP_EXTENT = 2.3  # of the face's larger extent: hair, ears, neck and some shoulder


def segment(photo: Photo, landmarks: Landmarks, networks: FaceNetworks | None = None) -> tuple[F32, F32]:
    """Skin and person masks ``(H, W)`` in [0, 1] for one face.

    Skin is face, ears and neck with lips and brows; without hair, beard where it hides the skin, eyes,
    open mouth, cloth, hands and spectacle frames. It is found at 512² about the head and brought to the
    photo's resolution by a guided filter (He & Sun 2015, the fast form) along the photo's own edges. The
    person is MediaPipe's selfie segmentation on the head crop, elsewhere on the whole picture.
    """
    if networks is None:
        with FaceNetworks() as own:
            return segment(photo, landmarks, own)
    crop = _head_crop(photo, landmarks)
    points = _to_crop(crop, landmarks.points_px)
    inside = _inside(crop, photo)
    person = _resize(networks.person(_shrink(crop.rgb, SELFIE_SIDE)), CROP_SIDE, CROP_SIDE)
    skin = skin_probability(crop.rgb, points, landmarks.visible, person, inside)
    full = _skin_to_photo(skin, crop, photo)
    # What is cut out inside the face has no edge that the guided filter could follow.
    covered = np.maximum(
        covered_probability(crop.rgb, points), hand_mask(crop.rgb.shape, networks.hands(crop.rgb), points)
    )
    x0, y0, x1, y1 = box = _reach(crop, photo)
    full[y0:y1, x0:x1] *= 1.0 - _warp_back(covered, crop, box)
    return full, _person_to_photo(person, crop, photo, networks)


def _head_crop(photo: Photo, landmarks: Landmarks) -> Crop:
    x0, y0, x1, y1 = landmarks.box
    side = _CROP_EXTENT * max(x1 - x0, y1 - y0)
    return square_crop(photo.rgb_srgb, ((x0 + x1) / 2, (y0 + y1) / 2), side, landmarks.roll, CROP_SIDE)


def _to_crop(crop: Crop, points_px: F32) -> F64:
    linear, offset = crop.to_photo[:, :2], crop.to_photo[:, 2]
    return np.asarray((points_px.astype(np.float64) - offset) @ np.linalg.inv(linear).T)


def _inside(crop: Crop, photo: Photo) -> NDArray[np.bool_]:
    grid = np.arange(CROP_SIDE) + 0.5
    x, y = np.meshgrid(grid, grid)
    xy = np.einsum("ij,jhw->ihw", crop.to_photo[:, :2], np.stack([x, y])) + crop.to_photo[:, 2, None, None]
    within: NDArray[np.bool_] = (xy[0] >= 0) & (xy[0] < photo.width) & (xy[1] >= 0) & (xy[1] < photo.height)
    return within


def _skin_to_photo(skin: F32, crop: Crop, photo: Photo) -> F32:
    """Guided upsampling: local affine models of the mask in the crop's colours, evaluated on the photo."""
    import cv2

    full: F32 = np.zeros((photo.height, photo.width), np.float32)
    rows, columns = np.nonzero(skin > 0.02)
    if len(rows) == 0:
        return full
    box = _reach(crop, photo, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        return full
    if crop.scale <= 1.5:  # the crop is as fine as the photo
        full[y0:y1, x0:x1] = _warp_back(skin, crop, box)
        return full
    grey = cv2.cvtColor(crop.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    slope, offset = _local_affine(grey, skin, radius=4, epsilon=1e-3)
    photo_grey = cv2.cvtColor(photo.rgb_srgb[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    value = _warp_back(slope, crop, box) * photo_grey + _warp_back(offset, crop, box)
    full[y0:y1, x0:x1] = np.clip(value, 0.0, 1.0)
    return full


def _reach(
    crop: Crop, photo: Photo, area: tuple[int, int, int, int] = (0, 0, CROP_SIDE, CROP_SIDE)
) -> tuple[int, int, int, int]:
    """Bounds x0, y0, x1, y1 in the photo of a rectangle of the crop, two pixels wider."""
    left, top, right, bottom = area
    corners = crop.points_to_photo(np.array([[x, y] for x in (left, right) for y in (top, bottom)], float))
    low, high = np.floor(corners.min(0)) - 2, np.ceil(corners.max(0)) + 2
    x0, y0 = np.clip(low, 0, [photo.width, photo.height]).astype(int)
    x1, y1 = np.clip(high, 0, [photo.width, photo.height]).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _local_affine(guide: F32, mask: F32, radius: int, epsilon: float) -> tuple[F32, F32]:
    """Slope and offset of ``mask ≈ a·guide + b`` in every window, averaged over windows (He & Sun 2015)."""
    import cv2

    def mean(x: F32) -> F32:
        blurred: F32 = cv2.blur(x, (2 * radius + 1, 2 * radius + 1))
        return blurred

    guide_mean, mask_mean = mean(guide), mean(mask)
    variance = mean(guide * guide) - guide_mean * guide_mean
    slope = (mean(guide * mask) - guide_mean * mask_mean) / (variance + epsilon)
    return mean(slope), mean(mask_mean - slope * guide_mean)


def _warp_back(values: F32, crop: Crop, box: tuple[int, int, int, int]) -> F32:
    """Values of the crop ``(S, S)`` sampled at the photo's pixels in ``box``; 0 outside the crop."""
    import cv2

    x0, y0, x1, y1 = box
    linear = np.linalg.inv(crop.to_photo[:, :2])
    offset = linear @ (np.array([x0 + 0.5, y0 + 0.5]) - crop.to_photo[:, 2]) - 0.5
    warped: F32 = cv2.warpAffine(
        values,
        np.column_stack([linear, offset]),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0.0,
    )
    return warped


def _person_to_photo(person: F32, crop: Crop, photo: Photo, networks: FaceNetworks) -> F32:
    """The head crop's mask where the crop reaches, faded over its border into the whole picture's."""
    import cv2

    scale = SELFIE_SIDE / max(photo.width, photo.height)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    small = cv2.resize(photo.rgb_srgb, size, interpolation=cv2.INTER_AREA)
    levels = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)
    whole = _resize(networks.person(levels), photo.width, photo.height)
    fade = np.minimum(np.arange(CROP_SIDE), np.arange(CROP_SIDE)[::-1]) / (0.08 * CROP_SIDE)
    weight = np.clip(np.minimum.outer(fade, fade), 0.0, 1.0).astype(np.float32)
    x0, y0, x1, y1 = box = _reach(crop, photo)
    whole[y0:y1, x0:x1] *= 1.0 - _warp_back(weight, crop, box)
    whole[y0:y1, x0:x1] += _warp_back(person * weight, crop, box)
    return whole


def _shrink(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    import cv2

    small: NDArray[np.uint8] = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
    return small


def _resize(mask: F32, width: int, height: int) -> F32:
    import cv2

    resized: F32 = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized
