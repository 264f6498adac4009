"""Pictures in OpenEXR, read by OpenCV."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from backend.artifacts import F32
from backend.errors import BadInput

_SWITCH = "OPENCV_IO_ENABLE_OPENEXR"  # OpenCV reads the format only where this is set


def read_exr(path: Path) -> F32:
    """Linear light ``(H, W, 3)`` in RGB, or ``(H, W)`` of one channel, as it is stored.

    Raises: BadInput when the file is missing or cannot be read.
    """
    import cv2

    os.environ.setdefault(_SWITCH, "1")
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"cannot read {path.name}: {error.strerror or error}") from error
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        picture = None
    if picture is None:
        raise BadInput(f"{path.name} is not an OpenEXR picture that can be read; export it again")
    if picture.ndim == 2 or picture.shape[2] == 1:
        return np.ascontiguousarray(picture.reshape(picture.shape[:2]), np.float32)
    return np.ascontiguousarray(picture[..., 2::-1], np.float32)
