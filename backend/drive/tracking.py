"""Face Mesh landmarks of one person through a video: found once, then followed from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, FaceBox, Photo, Run
from backend.errors import BadInput
from backend.photo.crops import square_crop
from backend.photo.detect import FoundFace, find_faces
from backend.photo.hidden import find_hidden
from backend.photo.landmarks import CROP_MARGIN, LEFT_EYE, RIGHT_EYE, Landmarks
from backend.photo.mediapipe_graphs import DETECTOR_SIDE, MESH_SIDE, FaceNetworks
from backend.photo.mesh_topology import visibility

U8 = NDArray[np.uint8]
MIN_PRESENCE = 0.5  # Face Mesh's confidence below which a face counts as lost
MIN_FACE_PX = 48
_SAME_SIZE = 0.5  # another face at least so large beside the largest makes the video ambiguous
_DETECTOR_SCORE = 0.5
_FARTHEST = 1.2  # from where the face was lost, over its size, that it may turn up again
_STRAYED = 0.5  # move of the face's centre from one frame to the next, over its size
_TILE_SHARES = (1.0, 0.5)  # of the longer side: windows that a lost face is looked for in


@dataclass(frozen=True)
class Seen:
    """The face in one frame."""

    landmarks: Landmarks
    mouth_hidden: bool
    eyes_hidden: tuple[bool, bool]  # subject's left, right


class Tracker:
    """Follows one face. ``face`` counts from the largest and most central one; None: there must be one."""

    def __init__(self, networks: FaceNetworks, name: str, face: int | None) -> None:
        self._networks = networks
        self._name = name
        self._face = face
        self._last: Landmarks | None = None
        self._is_lost = True

    def see(self, rgb: U8, run: Run) -> Seen | None:
        """The face in the next frame ``rgb`` ``(H, W, 3)``; None where it cannot be seen.

        Raises: BadInput (several people, no such face), Cancelled.
        """
        photo = _photo(self._name, rgb)
        found = self._found(photo, rgb, run) if self._is_lost else self._followed(photo)
        self._is_lost = found is None
        if found is None:
            return None
        self._last = found
        return _judged(photo, found)

    def _found(self, photo: Photo, rgb: U8, run: Run) -> Landmarks | None:
        if self._last is None:
            faces = find_faces(photo, run, self._networks) if self._may_hold_a_face(rgb) else ()
            return _chosen(self._name, faces, self._face)
        for box in self._detected(rgb):
            near = math.dist(_centre(box), _centre(_box(self._last)))
            if near > _FARTHEST * max(max(box.size), max(_box(self._last).size)):
                continue
            start = square_crop(photo.rgb_srgb, _centre(box), CROP_MARGIN * max(box.size), 0.0, MESH_SIDE)
            points = start.points_to_photo(self._networks.mesh(start.rgb)[0])
            again = _measured(photo, points, self._networks)
            if again is not None:
                return again
        return None

    def _may_hold_a_face(self, rgb: U8) -> bool:
        """Whether the detector sees one at a glance: the thorough search costs a second where none is."""
        return bool(self._detected(rgb))

    def _followed(self, photo: Photo) -> Landmarks | None:
        assert self._last is not None
        around = np.column_stack([self._last.points_px, self._last.depth_px]).astype(np.float64)
        found = _measured(photo, around, self._networks)
        if found is None:
            return None
        moved = math.dist(_centre(_box(found)), _centre(_box(self._last)))
        return found if moved <= _STRAYED * max(_box(self._last).size) else None

    def _detected(self, rgb: U8) -> list[FaceBox]:
        """Faces by the detector alone, the surest first; the whole frame, then its overlapping halves."""
        import cv2

        height, width = rgb.shape[:2]
        longer = max(height, width)
        boxes: list[FaceBox] = []
        for share in _TILE_SHARES:
            side = round(longer * share)
            for top in _starts(height, side):
                for left in _starts(width, side):
                    tile = np.full((side, side, 3), 127, np.uint8)
                    part = rgb[top : top + side, left : left + side]
                    tile[: part.shape[0], : part.shape[1]] = part
                    small = cv2.resize(tile, (DETECTOR_SIDE, DETECTOR_SIDE), interpolation=cv2.INTER_AREA)
                    scale = side / DETECTOR_SIDE
                    for one in self._networks.detect(np.asarray(small, np.uint8), _DETECTOR_SCORE):
                        x0, y0, x1, y1 = (float(v) * scale for v in one.box)
                        boxes.append(FaceBox(x0 + left, y0 + top, x1 + left, y1 + top, one.score))
            if boxes:
                break
        return sorted(boxes, key=lambda box: -box.score)


def measured(rgb: U8, about_px: F64, networks: FaceNetworks) -> Landmarks | None:
    """The face of ``rgb`` ``(H, W, 3)`` near the points ``about_px`` ``(478, 2)``, None where none is."""
    return _measured(_photo("", rgb), np.column_stack([about_px, np.zeros(len(about_px))]), networks)


def _measured(photo: Photo, around: F64, networks: FaceNetworks) -> Landmarks | None:
    """Face Mesh about earlier points: once to centre and level, once more to measure."""
    points, _ = _pass(photo, around, networks)
    points, presence = _pass(photo, points, networks)
    found = Landmarks(
        points_px=points[:, :2].astype(np.float32),
        depth_px=points[:, 2].astype(np.float32),
        visible=visibility(points, photo.width, photo.height),
        presence=presence,
        spread=0.0,
    )
    is_large = max(_box(found).size) >= MIN_FACE_PX
    return found if presence >= MIN_PRESENCE and is_large else None


def _pass(photo: Photo, around: F64, networks: FaceNetworks) -> tuple[F64, float]:
    right, left = around[list(RIGHT_EYE), :2].mean(0), around[list(LEFT_EYE), :2].mean(0)
    roll = math.atan2(left[1] - right[1], left[0] - right[0])
    axes = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    level = around[:468, :2] @ axes
    low, high = level.min(0), level.max(0)
    middle = axes @ ((low + high) / 2)
    side = CROP_MARGIN * float((high - low).max())
    crop = square_crop(photo.rgb_srgb, (float(middle[0]), float(middle[1])), side, roll, MESH_SIDE)
    points, presence = networks.mesh(crop.rgb)
    return crop.points_to_photo(points), presence


def _starts(extent: int, side: int) -> list[int]:
    if extent <= side:
        return [0]
    count = math.ceil((extent - side) / (side / 2)) + 1
    return [round(k * (extent - side) / (count - 1)) for k in range(count)]


def _chosen(name: str, faces: tuple[FoundFace, ...], face: int | None) -> Landmarks | None:
    """The face to follow among those of the first frame that shows any."""
    large = [found for found in faces if max(found.box.size) >= MIN_FACE_PX]
    if not large:
        return None
    if face is not None:
        if face >= len(faces):
            raise BadInput(f"there is no face {face} in {name}; it shows {len(faces)}, numbered from 0")
        return faces[face].landmarks
    largest = max(max(found.box.size) for found in large)
    rivals = [found for found in large if max(found.box.size) >= _SAME_SIZE * largest]
    if len(rivals) > 1:
        raise BadInput(
            f"{name} shows {len(rivals)} people; choose one with --face 0 to {len(faces) - 1}, "
            "0 being the largest and most central"
        )
    return rivals[0].landmarks


def _judged(photo: Photo, landmarks: Landmarks) -> Seen:
    """What of the face something hides; points there are not believed."""
    hidden = find_hidden(photo, landmarks)
    visible = np.where(hidden.points, 0, landmarks.visible).astype(np.float32)
    known = Landmarks(landmarks.points_px, landmarks.depth_px, visible, landmarks.presence, landmarks.spread)
    return Seen(known, hidden.mouth, (hidden.left_eye, hidden.right_eye))


def _photo(name: str, rgb: U8) -> Photo:
    picture: F32 = rgb.astype(np.float32) / np.float32(255)
    return Photo(name, "", picture, None, (rgb.shape[1], rgb.shape[0]))


def _box(landmarks: Landmarks) -> FaceBox:
    return FaceBox(*landmarks.box, score=landmarks.presence)


def _centre(box: FaceBox) -> tuple[float, float]:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
