"""Keyframes of a face: a JSON file of our own, and the CSV of ARKit face captures. No Blender, no backend.

Axes are the avatar's head space turned with the camera: +x to the subject's left as they face the camera, +y
up, +z towards the camera. A head that looks straight into the lens has the rotation 1, 0, 0, 0.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

SCHEMA = 1  # raised when a reader of the older schema would misread a file
FORMAT = "likeness-drive"
TAKE_NAME = "take.json"  # of a server's job; its CSV beside it
Part = Literal["face", "mouth", "left eye", "right eye"]
F64 = NDArray[np.float64]

_ROTATIONS = (
    *("HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll"),
    *("RightEyeYaw", "RightEyePitch", "RightEyeRoll"),
)
_USUAL_RATES = (24, 25, 30, 48, 50, 60, 120)
_MAX_BYTES = 1 << 30


class DriveFileError(ValueError):
    """The file is no face capture that this version can read; the text is one line for the user."""


class VideoRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where the keyframes come from."""

    name: str  # file name
    sha256: str | None = None  # of the file; None: not a file of ours
    width_px: int = 0  # 0: unknown
    height_px: int = 0


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One moment."""

    time_s: float  # from the first frame's on
    weights: tuple[float, ...]  # in [0, 1], order of ``expression_names``
    rotation: tuple[float, float, float, float]  # of the head, unit quaternion w, x, y, z
    translation_m: tuple[float, float, float]  # of the middle between the eyes from the camera
    gaze_deg: tuple[tuple[float, float], tuple[float, float]]  # left, right eye in the head: yaw, pitch
    held: tuple[Part, ...] = ()  # what could not be seen here and was carried over from its neighbours


class DriveFile(msgspec.Struct, frozen=True, kw_only=True):
    """Keyframes for an avatar."""

    format: Literal["likeness-drive"] = "likeness-drive"
    schema: int = SCHEMA
    created_by: str
    video: VideoRecord
    frames_per_second: float  # of the video; frames say their own times
    focal_px: float | None = None  # of the camera; None: unknown
    expression_names: tuple[str, ...]
    frames: tuple[Frame, ...]
    warnings: tuple[str, ...] = ()

    def weights(self) -> F64:
        """``(F, E)``."""
        return np.array([frame.weights for frame in self.frames], np.float64)

    def times(self) -> F64:
        """``(F,)`` seconds."""
        return np.array([frame.time_s for frame in self.frames], np.float64)


def write_drive(path: Path, drive: DriveFile) -> None:
    """Write ``drive`` as JSON, one line per frame. Raises: OSError."""
    head = msgspec.structs.replace(drive, frames=())
    text = msgspec.json.format(msgspec.json.encode(head), indent=1).decode()
    lines = ",\n  ".join(msgspec.json.encode(frame).decode() for frame in drive.frames)
    path.write_text(text.replace('"frames": []', f'"frames": [\n  {lines}\n ]', 1) + "\n", encoding="utf-8")


def read_drive(path: Path) -> DriveFile:
    """Read keyframes: ours by their JSON, other captures by their CSV. Raises: DriveFileError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DriveFileError(f"'{path.name}' is too large for keyframes of a face; choose another file")
        data = path.read_bytes()
    except OSError as error:
        raise DriveFileError(f"'{path}' cannot be read ({error.strerror}); choose another file") from error
    if path.suffix.lower() == ".csv":
        return _from_csv(data, path.name)
    return _from_json(data, path.name)


def _from_json(data: bytes, name: str) -> DriveFile:
    not_ours = (
        f"'{name}' holds no keyframes of a face; choose a file of `likeness drive`, or a CSV of a capture"
    )
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.DecodeError as error:
        raise DriveFileError(not_ours) from error
    if head.format != FORMAT:
        raise DriveFileError(not_ours)
    if head.schema != SCHEMA:
        age, remedy = ("a newer", "update") if head.schema > SCHEMA else ("an older", "drive again with this")
        raise DriveFileError(
            f"'{name}' was made by {age} Likeness (schema {head.schema}, this one reads {SCHEMA}); "
            f"{remedy} Likeness"
        )
    try:
        drive = msgspec.json.decode(data, type=DriveFile)
    except msgspec.DecodeError as error:
        raise DriveFileError(f"'{name}' is damaged ({error}); make it again") from error
    problem = _inconsistency(drive)
    if problem:
        raise DriveFileError(f"'{name}' is damaged ({problem}); make it again")
    return drive


def _inconsistency(drive: DriveFile) -> str | None:
    if not drive.frames:
        return "it has no frames"
    if any(len(frame.weights) != len(drive.expression_names) for frame in drive.frames):
        return "a frame has other weights than there are expressions"
    numbers = [
        drive.weights(),
        drive.times(),
        np.array([frame.rotation for frame in drive.frames]),
        np.array([frame.translation_m for frame in drive.frames]),
        np.array([frame.gaze_deg for frame in drive.frames]),
    ]
    if not all(np.isfinite(a).all() for a in numbers):
        return "numbers that are not finite"
    if not (np.diff(drive.times()) > 0).all():
        return "times that do not grow"
    if (np.linalg.norm(numbers[2], axis=1) < 0.5).any():
        return "rotations that are none"
    return None if drive.frames_per_second > 0 else "no frame rate"


class _Head(msgspec.Struct):
    format: str
    schema: int


# ------------------------------------------------------------------------------------------- rotations


def quaternion_of(rotation: F64) -> tuple[float, float, float, float]:
    """The unit quaternion w, x, y, z, with w ≥ 0, of a rotation matrix ``(3, 3)``."""
    m = np.asarray(rotation, np.float64)
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [0, m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
            [0, 0, m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
            [0, 0, 0, m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    q = np.linalg.eigh(k + np.triu(k, 1).T)[1][:, -1]  # Bar-Itzhack (2000): the nearest quaternion
    q = q if q[0] >= 0 else -q
    return float(q[0]), float(q[1]), float(q[2]), float(q[3])


def matrix_of(quaternion: tuple[float, float, float, float] | F64) -> F64:
    """Rotation matrix ``(3, 3)`` of a quaternion w, x, y, z."""
    q = np.asarray(quaternion, np.float64)
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def angles_of(quaternion: tuple[float, float, float, float] | F64) -> tuple[float, float, float]:
    """Yaw, pitch, roll of a head in radians: R = Ry(yaw) Rx(−pitch) Rz(roll).

    Yaw is positive to the subject's left, pitch up, roll tips the crown to the subject's right.
    """
    m = matrix_of(quaternion)
    yaw = math.atan2(m[0, 2], m[2, 2])
    pitch = math.asin(float(np.clip(m[1, 2], -1, 1)))
    return yaw, pitch, math.atan2(m[1, 0], m[1, 1])


def from_angles(yaw: float, pitch: float, roll: float) -> tuple[float, float, float, float]:
    """The quaternion whose ``angles_of`` these are, radians."""
    (cy, sy), (cx, sx), (cz, sz) = ((math.cos(a), math.sin(a)) for a in (yaw, -pitch, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return quaternion_of(about_y @ about_x @ about_z)


# ------------------------------------------------------------------------------------------------- CSV


def write_arkit_csv(path: Path, drive: DriveFile, arkit_names: tuple[str, ...]) -> None:
    """Write the columns that face captures of ARKit have: timecode, 52 weights, rotations in radians.

    Expressions outside ``arkit_names`` are left out, missing ones are 0. Raises: OSError.
    """
    column = {name: k for k, name in enumerate(drive.expression_names)}
    rate = max(1, round(drive.frames_per_second))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [name[:1].upper() + name[1:] for name in arkit_names]
    writer.writerow(["Timecode", "BlendShapeCount", *names, *_ROTATIONS])
    for frame in drive.frames:
        weights = [frame.weights[column[name]] if name in column else 0.0 for name in arkit_names]
        eyes = [[math.radians(yaw), math.radians(pitch), 0.0] for yaw, pitch in frame.gaze_deg]
        numbers = [*weights, *angles_of(frame.rotation), *eyes[0], *eyes[1]]
        writer.writerow([_timecode(frame.time_s, rate), len(numbers), *(f"{x:.6f}" for x in numbers)])
    path.write_text(out.getvalue(), encoding="utf-8")


def _timecode(time_s: float, rate: int) -> str:
    """``hh:mm:ss:ff.fff``: frames of ``rate`` with their fraction."""
    thousandths = round(time_s * rate * 1000)
    seconds, within = divmod(thousandths, rate * 1000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}:{within // 1000:02d}.{within % 1000:03d}"


def _from_csv(data: bytes, name: str) -> DriveFile:
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DriveFileError(f"'{name}' is no CSV ({error}); export the capture again") from error
    rows = [row for row in rows if row]
    header = [cell.strip() for cell in rows[0]] if rows else []
    lower = {cell.lower(): k for k, cell in enumerate(header)}
    shapes = [k for k, cell in enumerate(header) if _is_shape(cell)]
    if "timecode" not in lower or not shapes or len(rows) < 2:
        raise DriveFileError(
            f"'{name}' has not the columns of a face capture (Timecode, EyeBlinkLeft, …); export it again"
        )
    codes, numbers = [], []
    for line, row in enumerate(rows[1:], start=2):
        try:
            codes.append(_read_timecode(row[lower["timecode"]]))
            numbers.append([float(row[k]) for k in shapes])
            angles = [float(row[lower[a.lower()]]) if a.lower() in lower else 0.0 for a in _ROTATIONS]
            numbers[-1].extend(angles)
        except (ValueError, IndexError) as error:
            raise DriveFileError(
                f"'{name}', line {line} is damaged ({error}); export the capture again"
            ) from error
    rate = _rate_of(codes)
    times = np.array([seconds + frames / rate for seconds, frames in codes])
    grows = np.concatenate([[True], np.diff(np.maximum.accumulate(times)) > 1e-6])
    values = np.array(numbers)[grows]
    times = times[grows] - times[0]
    if not np.isfinite(values).all():
        raise DriveFileError(f"'{name}' has numbers that are not finite; export the capture again")
    angles = values[:, len(shapes) :]
    if np.abs(angles).max(initial=0.0) > math.pi:  # some captures count in degrees
        angles = np.radians(angles)
    frames = tuple(
        Frame(
            time_s=float(time),
            weights=tuple(float(w) for w in np.clip(row[: len(shapes)], 0, 1)),
            rotation=from_angles(float(turn[0]), float(turn[1]), float(turn[2])),
            translation_m=(0.0, 0.0, 0.0),
            gaze_deg=tuple((math.degrees(turn[k]), math.degrees(turn[k + 1])) for k in (3, 6)),  # type: ignore[arg-type]
        )
        for time, row, turn in zip(times, values, angles, strict=True)
    )
    return DriveFile(
        created_by="a face capture",
        video=VideoRecord(name=name),
        frames_per_second=float(rate),
        expression_names=tuple(header[k][:1].lower() + header[k][1:] for k in shapes),
        frames=frames,
    )


def _is_shape(column: str) -> bool:
    starts = (
        "eyeblink",
        "eyelook",
        "eyesquint",
        "eyewide",
        "jaw",
        "mouth",
        "brow",
        "cheek",
        "nose",
        "tongue",
    )
    return column.lower().startswith(starts)


def _read_timecode(text: str) -> tuple[int, float]:
    """Whole seconds, and frames after them. Raises: ValueError."""
    parts = text.strip().replace(";", ":").split(":")
    if len(parts) != 4:
        raise ValueError(f"'{text}' is no timecode hh:mm:ss:ff")
    hours, minutes, seconds = (int(part) for part in parts[:3])
    return 3600 * hours + 60 * minutes + seconds, float(parts[3])


def _rate_of(codes: list[tuple[int, float]]) -> int:
    """Frames a second that timecodes count in: above their largest frame, by how rows come where unclear."""
    largest = max(frames for _, frames in codes)
    counts = Counter(seconds for seconds, _ in codes)
    inner = [n for s, n in counts.items() if s not in (codes[0][0], codes[-1][0])]
    rows = max(inner, default=0)
    candidates = [rate for rate in _USUAL_RATES if rate > largest]
    if not candidates:
        return math.ceil(largest + 1e-6)
    if rows > largest:
        return min(candidates, key=lambda rate: abs(rate - rows))
    return next((rate for rate in candidates if rate >= 30), candidates[-1])
