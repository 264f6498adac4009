"""Which pictures hold a face, where it is, and which it is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import FaceBox, Photo, Run
from backend.errors import BadInput, Cancelled
from backend.photo.detect import _turn_back, detect_faces, prominence
from backend.photo.observe import observe, observe_all

FACE_BOX = (179, 68, 272, 178)  # of the astronaut, about 92×110 px


def _close(face: FaceBox, box: tuple[float, ...], tolerance: float) -> None:
    assert np.abs(np.array([face.x0, face.y0, face.x1, face.y1]) - box).max() < tolerance


def _scaled(rgb: np.ndarray, scale: float) -> np.ndarray:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=method)


def test_one_face(astronaut: Photo) -> None:
    (face,) = detect_faces(astronaut)
    _close(face, FACE_BOX, 6)
    assert 0.5 < face.score <= 1


def test_face_of_400_px_in_a_picture_of_12_megapixels(astronaut_u8: np.ndarray) -> None:
    scale = 400 / 110
    portrait = _scaled(astronaut_u8[:300, 100:400], scale)
    canvas = np.full((3000, 4000, 3), 90, np.uint8)
    top, left = 1500, 2700
    canvas[top : top + portrait.shape[0], left : left + portrait.shape[1]] = portrait
    (face,) = detect_faces(as_photo(canvas))
    box = (np.array(FACE_BOX) - (100, 0, 100, 0)) * scale + (left, top, left, top)
    _close(face, tuple(box), 25)


def test_small_face_in_a_large_picture(astronaut_u8: np.ndarray) -> None:
    portrait = _scaled(astronaut_u8[:300, 100:400], 75 / 110)
    canvas = np.full((2600, 3400, 3), 90, np.uint8)
    canvas[400 : 400 + portrait.shape[0], 3000 : 3000 + portrait.shape[1]] = portrait
    (face,) = detect_faces(as_photo(canvas))
    assert face.x0 > 3000
    assert 65 < max(face.size) < 85


@pytest.mark.parametrize("margin", [0.05, -0.05])
def test_face_that_fills_the_frame(astronaut_u8: np.ndarray, margin: float) -> None:
    x0, y0, x1, y1 = FACE_BOX
    m = round(margin * (y1 - y0))
    (face,) = detect_faces(as_photo(_scaled(astronaut_u8[y0 - m : y1 + m, x0 - m : x1 + m], 4)))
    assert max(face.size) > 380


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_lying_pictures(astronaut_u8: np.ndarray, quarters: int) -> None:
    photo = as_photo(np.rot90(astronaut_u8[:380, 60:460], quarters))
    run = Run()
    seen = observe(photo, run)
    upright = np.array(FACE_BOX) - (60, 0, 60, 0)
    # the corners of the upright box, turned with the picture
    h, w = 380, 400
    turned = {
        1: (upright[1], w - upright[2], upright[3], w - upright[0]),
        2: (w - upright[2], h - upright[3], w - upright[0], h - upright[1]),
        3: (h - upright[3], upright[0], h - upright[1], upright[2]),
    }[quarters]
    _close(seen.face_box, turned, 8)
    assert any("upright" in w for w in run.warnings)


def test_turning_boxes_back() -> None:
    photo = as_photo(np.zeros((30, 50, 3), np.uint8))
    marked = np.zeros((30, 50), bool)
    marked[4:9, 20:32] = True
    for quarters in (1, 2, 3):
        rows, columns = np.nonzero(np.rot90(marked, quarters))
        box = FaceBox(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.5)
        _close(_turn_back(box, quarters, photo), (20, 4, 32, 9), 1e-9)


# ---- several faces -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_faces(astronaut_u8: np.ndarray) -> Photo:
    head = astronaut_u8[:300, 100:400]
    canvas = np.full((400, 700, 3), 120, np.uint8)
    canvas[60:360, 20:320] = head
    small = _scaled(head, 0.8)
    canvas[100 : 100 + small.shape[0], 400 : 400 + small.shape[1]] = small
    return as_photo(canvas, "two")


def test_largest_face_is_taken_and_named(two_faces: Photo) -> None:
    run = Run()
    seen = observe(two_faces, run)
    assert len(seen.faces) == 2
    assert seen.face_index == 0
    assert seen.face_box.x1 < 350
    assert prominence(two_faces, seen.faces[0]) > prominence(two_faces, seen.faces[1])
    assert len(run.warnings) == 1
    assert "2 faces" in run.warnings[0]
    assert "--face" in run.warnings[0]


def test_chosen_face(two_faces: Photo) -> None:
    run = Run()
    seen = observe(two_faces, run, face=1)
    assert seen.face_box.x0 > 350
    assert np.median(seen.landmarks_px[:, 0]) > 350
    assert seen.skin_mask[:, :350].max() == 0
    assert run.warnings == []


@pytest.mark.parametrize("face", [2, -1])
def test_face_that_is_not_there(two_faces: Photo, face: int) -> None:
    with pytest.raises(BadInput, match="it has 2"):
        observe(two_faces, Run(), face=face)


def test_all_faces(two_faces: Photo) -> None:
    seen = observe_all(two_faces, Run())
    assert [s.face_index for s in seen] == [0, 1]


# ---- what is refused ---------------------------------------------------------------------------------


def _smiley() -> np.ndarray:
    n = 600
    picture = np.full((n, n, 3), (120, 180, 230), np.uint8)
    cv2.circle(picture, (n // 2, n // 2), n * 2 // 5, (240, 200, 60), -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(picture, (n // 2 + side * n // 7, n * 2 // 5), n // 22, (20, 20, 20), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (n // 2, n // 2), (n // 5, n // 5), 0, 20, 160, (20, 20, 20), n // 40, cv2.LINE_AA)
    return picture


def _cartoon() -> np.ndarray:
    """A flat-coloured face with eyes, brows, nose, mouth and hair: Face Mesh itself takes it for one."""
    n, line = 600, cv2.LINE_AA
    picture = np.full((n, n, 3), (120, 180, 230), np.uint8)
    cv2.circle(picture, (300, 300), 240, (240, 200, 170), -1, line)
    for side in (-1, 1):
        x, y = 300 + side * 85, 240
        cv2.ellipse(picture, (x, y), (42, 25), 0, 0, 360, (255, 255, 255), -1, line)
        cv2.circle(picture, (x, y), 20, (80, 50, 20), -1, line)
        cv2.circle(picture, (x, y), 10, (0, 0, 0), -1, line)
        cv2.line(picture, (x - 42, y - 42), (x + 42, y - 46), (60, 40, 20), 10, line)
    cv2.line(picture, (300, 240), (285, 330), (200, 150, 120), 7, line)
    cv2.line(picture, (285, 330), (315, 330), (200, 150, 120), 7, line)
    cv2.ellipse(picture, (300, 400), (60, 20), 0, 0, 360, (190, 70, 70), -1, line)
    cv2.ellipse(picture, (300, 180), (240, 120), 0, 180, 360, (50, 30, 20), -1, line)
    return picture


def _landscape() -> np.ndarray:
    rng = np.random.default_rng(5)
    height, width = 500, 800
    ridge = 250 + cv2.GaussianBlur(rng.normal(0, 900, (1, width)), (0, 0), 25)[0]
    rows = np.arange(height)[:, None]
    sky = np.stack(
        [120 + 0.2 * rows + 0 * ridge, 160 + 0.15 * rows + 0 * ridge, 230 + 0 * rows + 0 * ridge], -1
    )
    ground = np.array([90, 120, 60]) + rng.normal(0, 18, (height, width, 1))
    return np.clip(np.where((rows > ridge)[..., None], ground, sky), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["cat", "smiley", "cartoon", "noise", "landscape", "coffee", "grey"])
def test_no_human_face(kind: str) -> None:
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's pictures (extra `demo`)")
    pictures = {
        "cat": data.chelsea,
        "coffee": data.coffee,
        "smiley": _smiley,
        "cartoon": _cartoon,
        "landscape": _landscape,
        "noise": lambda: np.random.default_rng(0).integers(0, 255, (500, 700, 3)).astype(np.uint8),
        "grey": lambda: np.full((300, 300, 3), 127, np.uint8),
    }
    with pytest.raises(BadInput) as caught:
        observe(as_photo(pictures[kind](), kind), Run())
    assert str(caught.value).startswith(f"no human face found in {kind}")
    assert "\n" not in str(caught.value)


def test_face_under_64_px(astronaut_u8: np.ndarray) -> None:
    photo = as_photo(_scaled(astronaut_u8, 0.45), "small")
    with pytest.raises(BadInput) as caught:
        observe(photo, Run())
    assert "64" in str(caught.value)
    assert "small is 4" in str(caught.value)  # 42×50 pixels
    with pytest.raises(BadInput, match="64"):
        observe_all(photo, Run())


def test_cancel(astronaut: Photo) -> None:
    with pytest.raises(Cancelled):
        observe(astronaut, Run(is_cancelled=lambda: True))
