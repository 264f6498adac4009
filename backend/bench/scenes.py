"""What is worked on: a ball, a photo, an avatar folder. The same on every machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Camera
from backend.bench.sheet import Setting
from backend.errors import Missing


class Scene(NamedTuple):
    """Triangles as a camera sees them."""

    vertices: F64  # (V, 3) metres
    triangles: NDArray[np.int32]  # (T, 3)
    camera: Camera


def ball(rows: int, columns: int, size_px: int) -> Scene:
    """A ball that fills as much of a square picture as a head does in a portrait: 45 %."""
    latitude = np.linspace(0, np.pi, rows)[:, None]
    longitude = np.arange(columns) / columns * 2 * np.pi
    at = np.broadcast_arrays(
        np.sin(latitude) * np.sin(longitude), np.cos(latitude), np.sin(latitude) * np.cos(longitude)
    )
    r, c = (a.ravel() for a in np.mgrid[: rows - 1, :columns])
    a, b = r * columns + c, r * columns + (c + 1) % columns
    below, above = np.stack([a, a + columns, b + columns], -1), np.stack([a, b + columns, b], -1)
    triangles = np.concatenate([below[r < rows - 2], above[r > 0]])  # those at the poles have no area
    camera = facing((0.0, 0.0, 0.0), size_px, 2.23 * size_px)
    return Scene(0.1 * np.stack(at, -1).reshape(-1, 3), triangles.astype(np.int32), camera)


def facing(target: tuple[float, float, float], size_px: int, focal_px: float) -> Camera:
    """A camera 0.6 m in front of ``target`` (head space), looking at it."""
    x, y, z = target
    return Camera(
        focal_px=focal_px,
        principal_px=(size_px / 2, size_px / 2),
        width_px=size_px,
        height_px=size_px,
        world_to_camera=np.array([[1.0, 0, 0, -x], [0, -1, 0, y], [0, 0, -1, z + 0.6]]),
    )


def photo_of(setting: Setting) -> Path:
    """The photo asked for, or scikit-image's public-domain astronaut. Raises: Missing."""
    if setting.photo is not None:
        return setting.photo
    try:
        from skimage import data
    except ImportError as error:
        raise Missing("the astronaut comes with scikit-image; install it, or give --photo") from error
    from PIL import Image

    path = setting.folder / "astronaut.png"
    if not path.exists():
        Image.fromarray(data.astronaut()).save(path)
    return path


def avatar_of(setting: Setting) -> Path:
    """The avatar folder asked for, or one made of ``photo_of`` in a process of its own. Raises: Missing."""
    if setting.avatar is not None:
        return setting.avatar
    photo, out = photo_of(setting), setting.folder / "avatars"
    out.mkdir()
    code = "import sys; from backend.cli import main; sys.exit(main())"
    maps = "512" if setting.quick else "1024"
    arguments = ["reconstruct", str(photo), "-o", str(out), "--maps", maps, "--no-blend"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"no avatar to import ({done.stderr.strip().splitlines()[-1:]}); give --avatar")
    return out / photo.stem
