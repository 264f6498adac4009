"""Face detection over an image pyramid, with false alarms rejected by Face Mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, FaceBox, Photo, Run
from backend.photo.landmarks import Landmarks, face_landmarks
from backend.photo.mediapipe_graphs import DETECTOR_SIDE, Detection, FaceNetworks
from backend.photo.plausible import is_human_face

U8 = NDArray[np.uint8]

MIN_SCORE = 0.4  # detector confidence, for one window
MAX_FACES = 24
_ALWAYS = 3  # levels that are searched whatever the first ones find
_SMALLEST_WINDOW = 500.0  # photo pixels: a 64 px face is then 13 % of the window
_OVERLAP_LIMIT = 0.35  # boxes sharing more than that (of the smaller) are one face


@dataclass(frozen=True)
class FoundFace:
    """A face that Face Mesh confirmed."""

    box: FaceBox
    landmarks: Landmarks


@dataclass(frozen=True)
class _Level:
    """One picture of the pyramid: windows of ``window`` photo pixels are one detector input."""

    window: float
    padding: float  # mid-grey border on every side, of the photo's longer side


def detect_faces(
    photo: Photo, run: Run | None = None, networks: FaceNetworks | None = None
) -> tuple[FaceBox, ...]:
    """Every face of the photograph, best first by size × centrality; empty when there is none.

    The full-range detector sees the whole picture with a wide and a narrow border (faces that fill the
    frame), then overlapping windows of half the side; while nothing is found, ever smaller windows
    follow, then the picture lying on either side and upside down. Boxes are the bounds of the Face Mesh
    points in photo pixels. Raises: Cancelled.
    """
    with FaceNetworks() as own:
        return tuple(found.box for found in find_faces(photo, run or Run(), networks or own))


def find_faces(photo: Photo, run: Run, networks: FaceNetworks) -> tuple[FoundFace, ...]:
    """The faces of ``detect_faces`` with the landmarks that confirmed them."""
    faces: list[FoundFace] = []
    for number, level in enumerate(_levels(photo)):
        if number >= _ALWAYS and faces:
            break
        run.progress("observation", 0.1)
        _collect(photo, _search(photo, level, networks), faces, networks)
    for quarters in (1, 3, 2):
        if faces:
            break
        run.progress("observation", 0.2)
        lying = replace(photo, rgb_srgb=np.ascontiguousarray(np.rot90(photo.rgb_srgb, quarters)))
        for level in _levels(lying)[:_ALWAYS]:
            boxes = [_turn_back(box, quarters, photo) for box in _search(lying, level, networks)]
            _collect(photo, boxes, faces, networks)
    return tuple(sorted(faces, key=lambda face: -prominence(photo, face.box)))


def _collect(photo: Photo, candidates: list[FaceBox], faces: list[FoundFace], networks: FaceNetworks) -> None:
    """Add to ``faces`` those candidates that are new and human."""
    for box in _suppress(candidates)[:MAX_FACES]:
        if any(_overlap(box, face.box) > _OVERLAP_LIMIT for face in faces):
            continue
        landmarks = face_landmarks(photo, box, networks)
        checked = FaceBox(*landmarks.box, score=box.score)
        new = all(_overlap(checked, face.box) < _OVERLAP_LIMIT for face in faces)
        if new and is_human_face(photo, landmarks):
            faces.append(FoundFace(checked, landmarks))


def _turn_back(box: FaceBox, quarters: int, photo: Photo) -> FaceBox:
    """A box found in the photo turned by ``quarters`` × 90° counter-clockwise, in the photo's own frame."""
    width, height = photo.width, photo.height
    x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
    if quarters == 1:
        x0, y0, x1, y1 = width - y1, x0, width - y0, x1
    elif quarters == 2:
        x0, y0, x1, y1 = width - x1, height - y1, width - x0, height - y0
    elif quarters == 3:
        x0, y0, x1, y1 = y0, height - x1, y1, height - x0
    return FaceBox(x0, y0, x1, y1, box.score)


def prominence(photo: Photo, face: FaceBox) -> float:
    """Size × centrality: the box's mean side times a Gaussian of its distance from the picture's centre."""
    dx = ((face.x0 + face.x1) / 2 - photo.width / 2) / photo.width
    dy = ((face.y0 + face.y1) / 2 - photo.height / 2) / photo.height
    return math.sqrt(face.size[0] * face.size[1]) * math.exp(-(dx * dx + dy * dy) / (2 * 0.35**2))


def _levels(photo: Photo) -> list[_Level]:
    longer = float(max(photo.width, photo.height))
    levels = [_Level(longer * 2.0, 0.5), _Level(longer * 1.2, 0.1)]
    window = longer * 0.6
    while window >= _SMALLEST_WINDOW:
        levels.append(_Level(window, 0.1))
        window /= 2
    return levels


def _search(photo: Photo, level: _Level, networks: FaceNetworks) -> list[FaceBox]:
    import cv2

    scale = DETECTOR_SIDE / level.window
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    picture = cv2.resize(
        photo.rgb_srgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    levels: U8 = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    border = round(level.padding * max(size))
    padded = cv2.copyMakeBorder(levels, border, border, border, border, cv2.BORDER_CONSTANT, value=(127,) * 3)
    boxes = []
    for top in _starts(padded.shape[0]):
        for left in _starts(padded.shape[1]):
            window = _window(padded, top, left)
            for detection in networks.detect(window, MIN_SCORE):
                origin = np.array([left - border, top - border], np.float64)
                boxes.append(_to_photo(detection, origin, size, photo))
    return boxes


def _starts(extent: int) -> list[int]:
    """Left edges of half-overlapping windows that cover ``extent`` pixels."""
    if extent <= DETECTOR_SIDE:
        return [0]
    count = math.ceil((extent - DETECTOR_SIDE) / (DETECTOR_SIDE / 2)) + 1
    return [round(i * (extent - DETECTOR_SIDE) / (count - 1)) for i in range(count)]


def _window(picture: U8, top: int, left: int) -> U8:
    part = picture[top : top + DETECTOR_SIDE, left : left + DETECTOR_SIDE]
    window = np.full((DETECTOR_SIDE, DETECTOR_SIDE, 3), 127, np.uint8)
    window[: part.shape[0], : part.shape[1]] = part
    return window


def _to_photo(detection: Detection, origin: F64, size: tuple[int, int], photo: Photo) -> FaceBox:
    box = np.asarray(detection.box, np.float64).reshape(2, 2) + origin
    box = box * np.array([photo.width / size[0], photo.height / size[1]])
    x0, y0, x1, y1 = (float(v) for v in box.ravel())
    return FaceBox(x0, y0, x1, y1, detection.score)


def _suppress(boxes: list[FaceBox]) -> list[FaceBox]:
    kept: list[FaceBox] = []
    for box in sorted(boxes, key=lambda b: -b.score):
        if all(_overlap(box, other) < _OVERLAP_LIMIT for other in kept):
            kept.append(box)
    return kept


def _overlap(a: FaceBox, b: FaceBox) -> float:
    """Shared area over the smaller box's."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / max(min(a.size[0] * a.size[1], b.size[0] * b.size[1]), 1e-9)
