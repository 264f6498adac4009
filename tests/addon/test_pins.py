"""Pins on the photo: picking, dragging, when to re-solve; the painted mask's PNG."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from blender_addon.grey_png import encode_grey
from blender_addon.pins import GROUPS, HANDLES, LINES, RESOLVE_SECONDS, PinBoard, handle_name, to_px, to_view


@pytest.fixture
def board():
    solved = np.random.default_rng(3).uniform(20, 380, (478, 2)).astype(np.float32)
    return PinBoard(solved, (400, 300))


def test_the_handles_are_a_readable_subset():
    assert 60 <= len(HANDLES) <= 80
    assert len(set(HANDLES)) == len(HANDLES)
    assert all(0 <= i < 478 for i in HANDLES)
    assert {i for pair in LINES for i in pair} <= set(HANDLES)
    assert {handle_name(i) for i in HANDLES} == {name for name, _, _ in GROUPS}


def test_left_and_right_handles_mirror_each_other_on_the_face_mesh():
    """The subset against MediaPipe's own contours, an independent list."""
    face_mesh = pytest.importorskip("mediapipe").solutions.face_mesh_connections
    for name, contour in (
        ("Right eye", face_mesh.FACEMESH_RIGHT_EYE),
        ("Left eye", face_mesh.FACEMESH_LEFT_EYE),
        ("Jaw line", face_mesh.FACEMESH_FACE_OVAL),
        ("Right brow", face_mesh.FACEMESH_RIGHT_EYEBROW),
        ("Left brow", face_mesh.FACEMESH_LEFT_EYEBROW),
        ("Upper and lower lip", face_mesh.FACEMESH_LIPS),
        ("Mouth opening", face_mesh.FACEMESH_LIPS),
    ):
        known = {i for pair in contour for i in pair}
        own = next(group for group_name, group, _ in GROUPS if group_name == name)
        assert set(own) <= known | {71, 301}, name  # the brows' outer ends lie beside the contour


def test_view_is_the_picture_upside_down_in_fractions():
    np.testing.assert_allclose(to_view(np.array([[0.0, 0.0], [400.0, 300.0]]), (400, 300)), [[0, 1], [1, 0]])
    points = np.random.default_rng(1).uniform(0, 300, (9, 2))
    np.testing.assert_allclose(to_px(to_view(points, (400, 300)), (400, 300)), points)


def test_a_drag_moves_one_handle_and_keeps_its_distance_to_the_mouse(board):
    landmark = HANDLES[5]
    x, y = board.place(landmark)
    assert board.nearest(x + 1, y, 5.0) == landmark
    assert board.nearest(-1000.0, 0.0, 5.0) is None
    board.grab(landmark, x + 1, y)
    board.drag(x + 11, y + 4, now_s=1.0)
    assert board.place(landmark) == pytest.approx((x + 10, y + 4))
    board.drag(5000.0, -5000.0, now_s=1.1)
    assert board.place(landmark) == (400.0, 0.0)
    board.release()
    board.drag(0.0, 0.0, now_s=1.2)  # nothing is held
    assert board.place(landmark) == (400.0, 0.0)
    (pin,) = board.pins()
    assert (pin.landmark, pin.x_px, pin.y_px) == (landmark, 400.0, 0.0)


def test_a_drag_can_be_put_back_and_pins_given_back(board):
    board.pinned[HANDLES[0]] = (1.0, 2.0)
    board.grab(HANDLES[1], *board.place(HANDLES[1]))
    board.drag(9.0, 9.0, now_s=0.0)
    board.put_back(0.1)
    assert board.pinned == {HANDLES[0]: (1.0, 2.0)}
    assert board.held is None
    board.unpin(HANDLES[0], 0.2)
    assert board.pinned == {}


def test_resolves_are_rare_and_one_at_a_time(board):
    assert not board.due(0.0)
    board.grab(HANDLES[2], 0.0, 0.0)
    sent = []
    for tick in range(100):  # five seconds of dragging, an answer after 0.45 s
        now = 0.05 * tick
        board.drag(float(tick), 0.0, now)
        if board.due(now):
            board.send(now)
            sent.append(now)
        if board.waiting and now - sent[-1] >= 0.45:
            board.solved(board.solved_px)
    gaps = np.diff(sent)
    assert len(sent) > 5
    assert gaps.min() >= RESOLVE_SECONDS
    assert gaps.min() >= 0.45 - 1e-9
    board.solved(board.solved_px)
    board.drag(200.0, 100.0, 10.0)
    board.send(10.0)
    board.lost()
    assert not board.due(20.0)  # nothing changed since
    board.drag(210.0, 100.0, 21.0)
    assert board.due(21.0)


def test_the_png_is_what_another_library_reads():
    pixels = np.random.default_rng(2).integers(0, 256, (37, 53), np.uint8)
    image = Image.open(io.BytesIO(encode_grey(pixels)))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), pixels)
    with pytest.raises(ValueError, match="grey"):
        encode_grey(pixels.astype(np.float32))
