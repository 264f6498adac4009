"""A scene drawn by traced transfer: no Blender."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.shading import transferred
from backend.uvspace.render import GBuffer
from synthdata.run.lit_head import LitHead, backdrop
from synthdata.transfer.trace import trace_transfer
from synthdata.views.scene import Drawn, Scene, Seen


def draw(scenes: Iterable[Scene], cameras: Sequence[Camera]) -> Iterator[Seen]:
    """Each scene as it comes: the posed head is traced once and lit."""
    for scene in scenes:
        transfer = trace_transfer(scene.person.vertices_head, scene.head.opaque_triangles)
        lit = LitHead(scene.head, scene.person, transfer, scene.shown)
        light = transferred.sky_light(scene.surroundings, lit.degree)
        factor = np.array(scene.factor, np.float32)
        views = tuple(_seen(scene, lit, light, camera) for camera in cameras)
        yield Seen(scene, views, lit.on_chart(light, None, scene.turn_degrees) * factor)


def _seen(scene: Scene, lit: LitHead, light: transferred.SkyLight, camera: Camera) -> Drawn:
    buffer, radiance = lit.seen_by(camera, light, scene.turn_degrees)
    behind = backdrop(scene.surroundings, camera, scene.turn_degrees)
    coverage = buffer.coverage()
    factor = np.array(scene.factor, np.float32)
    return Drawn(buffer.resolve(radiance, behind) * factor, _parts(buffer, coverage > 0.5), coverage)


def _parts(buffer: GBuffer, covered: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The foremost part of most of a pixel's samples; 0 beside the head."""
    step = buffer.supersample
    height, width = covered.shape
    samples = (buffer.part + 1).reshape(height, step, width, step).transpose(0, 2, 1, 3)
    samples = samples.reshape(height, width, step * step)
    on_head = np.where(samples > 0, samples, 99)
    # Of the covered samples the one that most others equal; among equals the lower part.
    votes = (on_head[..., :, None] == on_head[..., None, :]).sum(-1) * (samples > 0)
    best = np.take_along_axis(on_head, votes.argmax(-1)[..., None], -1)[..., 0]
    return np.where(covered, best, 0).astype(np.uint8)
