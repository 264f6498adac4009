"""Videos: frames with their times, one face followed, and one clear line for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from portraits import DATA, astronaut

from backend.artifacts import Run
from backend.drive.take import check_output, track
from backend.drive.video import MOST_SIDE, Video
from backend.errors import BadInput, Cancelled
from backend.photo.mediapipe_graphs import FaceNetworks


def write_video(path: Path, pictures: list[np.ndarray], rate: float = 25.0) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    for picture in pictures:
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path


def face() -> np.ndarray:
    return np.ascontiguousarray(astronaut()[0:300, 60:380])


def refused(clip: Path, number: int | None = None) -> str:
    """The one line with which ``clip`` is refused."""
    with Video(clip) as video, FaceNetworks() as networks, pytest.raises(BadInput) as raised:
        track(video, networks, Run(), number)
    return str(raised.value)


def test_frames_come_in_order_with_their_times(tmp_path) -> None:
    shades = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(10)]
    with Video(write_video(tmp_path / "a.mp4", shades)) as video:
        frames = list(video.frames())
        assert video.frame_count == 10
    assert [round(float(f.rgb.mean()) / 20) for f in frames] == list(range(10))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(10) / 25, atol=1e-6)


def test_large_frames_are_made_smaller(tmp_path) -> None:
    with Video(write_video(tmp_path / "a.mp4", [np.zeros((720, 2560, 3), np.uint8)])) as video:
        frame = next(video.frames())
    assert frame.rgb.shape == (round(720 * MOST_SIDE / 2560), MOST_SIDE, 3)


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_video_is_refused(tmp_path, content: bytes, capfd) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(BadInput, match="convert it to MP4"):
        Video(tmp_path / "bad.mp4")
    assert capfd.readouterr().err == ""
    with pytest.raises(BadInput, match="not a file"):
        Video(tmp_path / "absent.mp4")


def test_a_face_is_followed_lost_and_found_again(tmp_path) -> None:
    """It drifts across the frame, is away for three frames, and comes back elsewhere nearby."""
    here, away = face(), np.full((300, 320, 3), 90, np.uint8)

    def moved(dx: int) -> np.ndarray:
        return np.roll(here, dx, 1)

    pictures = [moved(4 * k) for k in range(4)] + [away] * 3 + [moved(24)] * 2
    with Video(write_video(tmp_path / "a.mp4", pictures)) as video, FaceNetworks() as networks:
        tracked = track(video, networks, Run())
    assert [one is not None for one in tracked.seen] == [True] * 4 + [False] * 3 + [True] * 2
    nose = [one.landmarks.points_px[4, 0] for one in tracked.seen if one is not None]
    np.testing.assert_allclose(np.diff(nose)[:3], 4.0, atol=1.5)
    assert nose[4] - nose[0] == pytest.approx(24.0, abs=3.0)


def test_a_video_without_faces_is_refused(tmp_path) -> None:
    pictures = [np.full((120, 160, 3), 90, np.uint8)] * 3
    clip = write_video(tmp_path / "a.mp4", pictures)
    assert refused(clip).startswith("no face is seen in any frame")


@pytest.mark.slow
def test_several_people_must_be_told_apart(tmp_path) -> None:
    other = cv2.imread(str(DATA / "portrait_front.jpg"))[..., ::-1]
    other = cv2.resize(np.ascontiguousarray(other), (300, 300), interpolation=cv2.INTER_AREA)
    both = np.concatenate([cv2.resize(face(), (320, 300)), other], 1)
    clip = write_video(tmp_path / "a.mp4", [both] * 2)
    assert "shows 2 people; choose one with --face" in refused(clip)
    for number in (0, 1):
        with Video(clip) as video, FaceNetworks() as networks:
            tracked = track(video, networks, Run(), number)
        assert all(one is not None for one in tracked.seen)
    assert "there is no face 5" in refused(clip, 5)


def test_cancelling_stops_between_frames(tmp_path) -> None:
    write_video(tmp_path / "a.mp4", [face()] * 3)
    with Video(tmp_path / "a.mp4") as video, FaceNetworks() as networks, pytest.raises(Cancelled):
        track(video, networks, Run(is_cancelled=lambda: True))


def test_destinations_are_checked_before_the_work(tmp_path) -> None:
    check_output(tmp_path / "a.json")
    with pytest.raises(BadInput, match="must end in"):
        check_output(tmp_path / "a.txt")
    with pytest.raises(BadInput, match="does not exist"):
        check_output(tmp_path / "nowhere" / "a.json")
