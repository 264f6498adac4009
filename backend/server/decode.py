"""One decoded frame of an avatar's splats; the avatar decoded last stays in memory."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.errors import BadInput
from backend.gaussians.frames import Decoder, decoder_of, frame_png
from blender_addon.bundle import MANIFEST_NAME


def decode(directory: Path, vertices: bytes) -> tuple[int, bytes]:
    """Number of splats and the PNG of the avatar in ``directory`` on float32 ``vertices`` ``(V, 3)``, metres.

    Raises: BadInput (no avatar, no splats, vertices of another mesh).
    """
    manifest = directory / MANIFEST_NAME
    if not manifest.is_file():
        raise BadInput(f"'{directory}' is no avatar folder (any more); import the head again")
    decoder = _decoder(directory, manifest.stat().st_mtime_ns)
    splats = decoder.decode(np.frombuffer(vertices, "<f4").reshape(-1, 3))
    return len(splats), frame_png(splats)


@lru_cache(maxsize=1)
def _decoder(directory: Path, changed: int) -> Decoder:
    return decoder_of(directory)
