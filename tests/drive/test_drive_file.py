"""Keyframes of a face: what is written is read, captures of others are read, damage is one line."""

from __future__ import annotations

import csv
import math

import msgspec
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.head.arkit import ARKIT_NAMES
from blender_addon.drive_file import (
    DriveFile,
    DriveFileError,
    Frame,
    VideoRecord,
    angles_of,
    from_angles,
    matrix_of,
    quaternion_of,
    read_drive,
    write_arkit_csv,
    write_drive,
)


def made(frames: int = 40, rate: float = 30.0) -> DriveFile:
    rng = np.random.default_rng(1)
    turns = Rotation.from_euler("YXZ", rng.uniform(-40, 40, (frames, 3)), degrees=True).as_quat()
    return DriveFile(
        created_by="test",
        video=VideoRecord(name="take.mp4", width_px=640, height_px=480),
        frames_per_second=rate,
        focal_px=700.0,
        expression_names=ARKIT_NAMES,
        frames=tuple(
            Frame(
                time_s=k / rate,
                weights=tuple(float(w) for w in rng.uniform(0, 1, 52).round(5)),
                rotation=(float(q[3]), float(q[0]), float(q[1]), float(q[2])),
                translation_m=(0.01, 0.02, -0.8),
                gaze_deg=((3.0, -4.0), (2.0, -4.5)),
                held=("mouth",) if k == 3 else (),
            )
            for k, q in enumerate(turns)
        ),
    )


def test_json_gives_back_what_was_written(tmp_path) -> None:
    drive = made()
    write_drive(tmp_path / "take.json", drive)
    assert read_drive(tmp_path / "take.json") == drive
    assert len((tmp_path / "take.json").read_text().splitlines()) > len(drive.frames)


def test_rotations_agree_with_another_library() -> None:
    """Quaternions and angles against scipy: yaw about +y, then pitch about −x, then roll about +z."""
    rng = np.random.default_rng(2)
    for yaw, pitch, roll in rng.uniform(-1.3, 1.3, (50, 3)):
        reference = Rotation.from_euler("YXZ", [yaw, -pitch, roll])
        quaternion = from_angles(yaw, pitch, roll)
        np.testing.assert_allclose(matrix_of(quaternion), reference.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(angles_of(quaternion), (yaw, pitch, roll), atol=1e-9)
        np.testing.assert_allclose(quaternion_of(reference.as_matrix()), quaternion, atol=1e-9)


def test_a_look_up_and_to_the_left_has_positive_angles() -> None:
    ahead = matrix_of(from_angles(0.3, 0.2, 0.0)) @ [0, 0, 1]
    assert ahead[0] > 0.2  # the subject's left
    assert ahead[1] > 0.1


@pytest.mark.parametrize("rate", [24.0, 25.0, 29.97, 30.0, 60.0])
def test_csv_has_the_columns_of_captures_and_comes_back(tmp_path, rate: float) -> None:
    drive = made(frames=200, rate=rate)
    path = tmp_path / "take.csv"
    write_arkit_csv(path, drive, ARKIT_NAMES)
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert rows[0][-9:-6] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert rows[1][1] == "61"
    again = read_drive(path)
    assert again.frames_per_second == round(rate)
    assert set(again.expression_names) == set(ARKIT_NAMES)
    order = [again.expression_names.index(name) for name in drive.expression_names]
    np.testing.assert_allclose(again.weights()[:, order], drive.weights(), atol=1e-5)
    np.testing.assert_allclose(again.times(), drive.times(), atol=2e-4)
    for one, other in zip(again.frames, drive.frames, strict=True):
        np.testing.assert_allclose(matrix_of(one.rotation), matrix_of(other.rotation), atol=1e-5)
        np.testing.assert_allclose(one.gaze_deg, other.gaze_deg, atol=1e-3)


def test_a_capture_in_degrees_with_gaps_and_other_order_is_read(tmp_path) -> None:
    lines = ["Timecode,BlendShapeCount,JawOpen,EyeBlinkLeft,HeadYaw,HeadPitch,HeadRoll"]
    lines += [
        f"10:20:{30 + k // 60:02d}:{k % 60:02d}.500,61,0.5,{k / 200},20.0,0,0" for k in range(0, 180, 2)
    ]
    (tmp_path / "phone.csv").write_text("\n".join(lines))
    read = read_drive(tmp_path / "phone.csv")
    assert read.expression_names == ("jawOpen", "eyeBlinkLeft")
    assert read.frames[0].time_s == 0.0
    assert read.frames[-1].time_s == pytest.approx(178 / 60, abs=1e-6)
    assert math.degrees(angles_of(read.frames[0].rotation)[0]) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "no json", "holds no keyframes"),
        ("a.json", '{"format": "else", "schema": 1}', "holds no keyframes"),
        ("a.json", '{"format": "likeness-drive", "schema": 7}', "newer Likeness"),
        ("a.json", '{"format": "likeness-drive", "schema": 0}', "older Likeness"),
        ("a.json", '{"format": "likeness-drive", "schema": 1}', "is damaged"),
        ("a.csv", "Time,Value\n1,2", "has not the columns"),
        ("a.csv", "Timecode,EyeBlinkLeft\n00:00:00:01,x", "line 2 is damaged"),
        ("a.csv", "Timecode,EyeBlinkLeft\n1.5,0.1", "line 2 is damaged"),
        ("a.csv", "Timecode,EyeBlinkLeft\n00:00:00:01,nan", "not finite"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line(tmp_path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DriveFileError, match=said) as raised:
        read_drive(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_times_must_grow_and_weights_must_fit(tmp_path) -> None:
    drive = made(frames=3)
    for frames, said in (
        ((drive.frames[1], drive.frames[0]), "do not grow"),
        ((msgspec.structs.replace(drive.frames[0], weights=(0.1,)),), "other weights"),
        ((), "no frames"),
    ):
        write_drive(tmp_path / "x.json", msgspec.structs.replace(drive, frames=frames))
        with pytest.raises(DriveFileError, match=said):
            read_drive(tmp_path / "x.json")
