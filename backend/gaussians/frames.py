"""Decoded frames: an avatar's splats for any pose of its mesh, from the whole decoder.

What Blender moves by itself is ``SplatBinding.placed``: places, turns and sizes, with the photo's colours. A
decoded frame has these and the colours of the pose besides (``relighting``). The view is in the harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from backend.artifacts import F32
from backend.errors import BadInput
from backend.gaussians.relighting import Relighting, relighting_of, relit
from blender_addon import bundle
from blender_addon.splat_binding import SplatBinding, read_bound_splats
from blender_addon.splat_frames import pixels_of
from blender_addon.splats import Splats, SplatsError

_FASTEST = 1  # of PNG's levels of compression; the low bytes are noise, higher ones hardly gain


@dataclass(frozen=True)
class FrameDecoder:
    """One avatar, ready to be decoded frame by frame."""

    splats: Splats
    tie: SplatBinding
    relighting: Relighting
    vertex_count: int

    def decode(self, vertices: F32) -> Splats:
        """Splats in head space on the posed ``vertices`` ``(V, 3)``, metres. Raises: BadInput."""
        if vertices.shape != (self.vertex_count, 3) or not np.isfinite(vertices).all():
            raise BadInput(f"this avatar's mesh has {self.vertex_count} vertices; import the head again")
        placed = self.tie.placed(self.splats, vertices)
        return relit(placed, self.relighting.factors(np.ascontiguousarray(vertices, np.float32)))


class Decoder(Protocol):
    """What decodes an avatar's frames."""

    def decode(self, vertices: F32) -> Splats:
        """Splats in head space on the posed ``vertices`` ``(V, 3)``, metres. Raises: BadInput."""
        ...


def decoder_of(avatar: Path) -> Decoder:
    """The decoder that made the splats of the ``avatar`` folder.

    Raises: BadInput (no avatar, no splats, another version, networks of its own gone or changed).
    """
    try:
        found = bundle.read_bundle(avatar)
        if found.manifest.splats is not None and found.manifest.splats.decoder is not None:
            from backend.fica.frames import frames_of  # torch and the networks are for those who have them

            return frames_of(found)
        count = len(found.mesh.vertices_neutral_head)
        splats, tie = read_bound_splats(avatar, count)
    except (bundle.BundleError, SplatsError) as error:
        raise BadInput(str(error)) from error
    relighting = relighting_of(found.mesh, tie, found.manifest.light)
    return FrameDecoder(splats, tie, relighting, count)


def frame_png(splats: Splats) -> bytes:
    """``splats`` as the PNG of one frame (``blender_addon.splat_frames``). Raises: BadInput (far away)."""
    try:
        pixels = pixels_of(splats)
    except SplatsError as error:
        raise BadInput(str(error)) from error
    done, data = cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, _FASTEST])
    if not done:
        raise RuntimeError("OpenCV cannot write PNG")
    return data.tobytes()
