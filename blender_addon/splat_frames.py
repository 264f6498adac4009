"""Decoded frames of splats as 16-bit PNG pictures that geometry nodes read; no bpy, no backend.

A frame is an RGB picture ``WIDTH`` texels wide with eight planes below each other, each of ``rows`` =
⌈N / WIDTH⌉ lines; splat i lies in column i mod WIDTH of line ⌊i / WIDTH⌋ of every plane. A value v of the
range [low, high] is stored as round(65535 · (v − low) / (high − low)), without any colour management:

    plane 0     position, metres, head space      [−1, 1]
    plane 1     quaternion x, y, z                [−1, 1]
    plane 2     quaternion w [−1, 1], opacity as logit / 16 [−1, 1], 0
    plane 3     ln of the standard deviations     [−16, 0]
    plane 4–7   harmonics 0 to 3, red green blue  [−4, 4]

``frames.json`` beside them says whose they are and which pose each frame shows.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from .splats import Splats, SplatsError

WIDTH = 512
PLANES = 8
POSITION, TURN, TURN_AND_OPACITY, SCALE, HARMONICS = 0, 1, 2, 3, 4  # planes; HARMONICS the first of four
RANGES: tuple[tuple[float, float], ...] = (
    *((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0), (-16.0, 0.0)),
    *(((-4.0, 4.0),) * 4),
)
LOGIT_UNIT = 16.0
COEFFICIENTS = 4  # harmonics to degree 1
RECORD_NAME = "frames.json"
SCHEMA = 1
_POSE_UNIT_M = 1e-6  # poses that differ by less are one


def frame_name(frame: int) -> str:
    """File name of a frame of the scene, from 0 on; Blender finds a sequence by these digits."""
    return f"frame_{frame:04d}.png"


def pixels_of(splats: Splats) -> NDArray[np.uint16]:
    """The picture ``(8·rows, WIDTH, 3)`` of ``splats``.

    Raises: SplatsError when they lie more than a metre from the head's origin or have finer colours than
    degree 1.
    """
    if splats.sh.shape[1] > COEFFICIENTS:
        raise SplatsError("Frames hold splats with harmonics to degree 1; reconstruct the avatar again.")
    if np.abs(splats.positions).max() > 1.0:
        raise SplatsError("The pose carries splats more than a metre from the head; move its root instead.")
    count, rows = len(splats), -(-len(splats) // WIDTH)
    turn = splats.quaternions()
    values = np.zeros((PLANES, rows * WIDTH, 3), np.float32)
    values[POSITION, :count] = splats.positions
    values[TURN, :count] = turn[:, 1:]
    values[TURN_AND_OPACITY, :count, 0] = turn[:, 0]
    values[TURN_AND_OPACITY, :count, 1] = splats.opacity_logits / LOGIT_UNIT
    values[SCALE, :count] = splats.log_scales
    values[HARMONICS : HARMONICS + splats.sh.shape[1], :count] = splats.sh.transpose(1, 0, 2)
    low, high = (np.array(side, np.float32)[:, None, None] for side in zip(*RANGES, strict=True))
    shares = np.clip((values - low) / (high - low), 0, 1)
    pixels: NDArray[np.uint16] = np.rint(65535 * shares).astype(np.uint16)
    return pixels.reshape(PLANES * rows, WIDTH, 3)


def splats_of(pixels: NDArray[np.uint16], count: int) -> Splats:
    """The ``count`` splats of a picture. Raises: SplatsError when it is no such picture."""
    rows = -(-count // WIDTH)
    if pixels.shape != (PLANES * rows, WIDTH, 3) or pixels.dtype != np.uint16:
        raise SplatsError(f"The picture is no frame of {count} splats; bake it again.")
    low, high = (np.array(side, np.float32)[:, None, None] for side in zip(*RANGES, strict=True))
    values = pixels.reshape(PLANES, rows * WIDTH, 3)[:, :count] / np.float32(65535) * (high - low) + low
    return Splats(
        positions=values[POSITION],
        log_scales=values[SCALE],
        rotations=np.concatenate([values[TURN_AND_OPACITY, :, :1], values[TURN]], 1),
        opacity_logits=values[TURN_AND_OPACITY, :, 1] * np.float32(LOGIT_UNIT),
        sh=np.ascontiguousarray(values[HARMONICS:].transpose(1, 0, 2)),
    )


class FramesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``frames.json``."""

    format: Literal["likeness-splat-frames"] = "likeness-splat-frames"
    schema: int = SCHEMA
    splats_sha256: str  # of the avatar's splats.ply
    poses: dict[int, str]  # frame: ``pose_digest`` of what it shows


def pose_digest(vertices: NDArray[np.floating[Any]]) -> str:
    """Tells poses apart: of vertices ``(V, 3)``, head space, metres."""
    steps = np.rint(np.asarray(vertices, np.float64) / _POSE_UNIT_M).astype("<i4")
    return hashlib.blake2b(steps.tobytes(), digest_size=16).hexdigest()


def read_record(folder: Path, splats_sha256: str) -> FramesRecord:
    """What lies in ``folder`` of these splats; without frames where there is nothing, or of others.

    Raises: OSError.
    """
    nothing = FramesRecord(splats_sha256=splats_sha256, poses={})
    try:
        found = msgspec.json.decode((folder / RECORD_NAME).read_bytes(), type=FramesRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return nothing
    if found.schema != SCHEMA or found.splats_sha256 != splats_sha256:
        return nothing
    kept = {frame: pose for frame, pose in found.poses.items() if (folder / frame_name(frame)).is_file()}
    return msgspec.structs.replace(found, poses=kept)


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data``, whole or not at all. Raises: OSError."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def write_record(folder: Path, record: FramesRecord) -> None:
    """Write ``frames.json``. Raises: OSError."""
    write_whole(folder / RECORD_NAME, msgspec.json.encode(record))
