"""A dome's pictures by Cycles: one person with hair and clothes, one process with Blender."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.head.base import ParametricHead
from backend.training.schema import Kind, Recipe
from backend.uvspace.rasterise import rasterise_camera
from synthdata.cycles.cover import KINDS
from synthdata.cycles.dome_job import (
    JOB_NAME,
    LIGHT_NAME,
    DomeJob,
    chart_path,
    shaded_path,
    sitter_path,
    views_path,
)
from synthdata.cycles.dress import Dress, Looks, draw_bare_dress
from synthdata.cycles.telling import (
    render,
    shows_mouth,
    skin_and_looks,
    subsurface,
    write_chart,
    write_sitter,
)
from synthdata.cycles.unit import dress_meta
from synthdata.run.lit_head import backdrop
from synthdata.run.plan import Unit
from synthdata.run.sources import Sources
from synthdata.run.unit import camera_meta
from synthdata.views.scene import Drawn, Scene, Seen
from synthdata.views.unit import Sitting, make_moments

WORN = ("hair", "cloth")  # parts that the head has not
_HALF = 0.5  # of a pixel that must be covered to bear a label


def make_rendered_moments(unit: Unit, recipe: Recipe, sources: Sources) -> dict[Kind, bytes]:
    """As ``make_moments``, drawn by Cycles: nothing before the face, the same clothes in all moments.

    Raises: LikenessError when Blender's process fails.
    """
    skin, looks = skin_and_looks(unit.identity, recipe.seed)
    rng = np.random.default_rng([recipe.seed, 11, unit.identity])
    dress = draw_bare_dress(rng, skin, looks)
    seed = int(rng.integers(1, 2**31 - 4096))

    def draw(scenes: Iterable[Scene], cameras: Sequence[Camera]) -> Iterator[Seen]:
        return rendered(tuple(scenes), cameras, recipe, looks, dress, seed)

    return make_moments(unit, recipe, sources, Sitting(draw, skin, "cycles", WORN, dress_meta(looks, dress)))


def rendered(
    scenes: tuple[Scene, ...],
    cameras: Sequence[Camera],
    recipe: Recipe,
    looks: Looks,
    dress: Dress,
    seed: int,
) -> Iterator[Seen]:
    """All ``scenes`` of one person from all ``cameras`` by one process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _tell(folder, scenes, cameras, recipe, looks, dress, seed)
        render(folder, "synthdata.cycles.dome_worker")
        for number, scene in enumerate(scenes):
            with np.load(views_path(folder, number)) as taken:
                views = tuple(
                    _drawn(scene, camera, rgba, covers.astype(np.float32) / np.float32(255))
                    for camera, rgba, covers in zip(cameras, taken["rgba"], taken["covers"], strict=True)
                )
            yield Seen(scene, views, np.maximum(np.load(shaded_path(folder, number)), 0))


def _tell(
    folder: Path,
    scenes: tuple[Scene, ...],
    cameras: Sequence[Camera],
    recipe: Recipe,
    looks: Looks,
    dress: Dress,
    seed: int,
) -> None:
    first = scenes[0]
    for number, scene in enumerate(scenes):
        write_sitter(sitter_path(folder, number), scene.head, scene.shown)
        write_chart(chart_path(folder, number), scene.person)
    np.save(folder / LIGHT_NAME, first.surroundings.radiance)
    job = DomeJob(
        head=recipe.head,
        looks=looks,
        dress=dress,
        iris_srgb=first.shown.iris_srgb,
        subsurface=subsurface(first.shown.meta),
        mouth_open=tuple(shows_mouth(scene.shown.meta) for scene in scenes),
        cameras=tuple(camera_meta(camera) for camera in cameras),
        turn_degrees=first.turn_degrees,
        colour=first.factor,
        samples=recipe.cycles_samples,
        seed=seed,
    )
    (folder / JOB_NAME).write_bytes(msgspec.json.encode(job))


def _drawn(scene: Scene, camera: Camera, rgba: F32, covers: F32) -> Drawn:
    coverage = np.ascontiguousarray(np.clip(rgba[..., 3], 0, 1), np.float32)
    behind = backdrop(scene.surroundings, camera, scene.turn_degrees) * np.array(scene.factor, np.float32)
    radiance = rgba[..., :3] + (1 - coverage[..., None]) * behind
    return Drawn(radiance, _parts(scene.head, scene.person.vertices_head, camera, covers, coverage), coverage)


def _parts(
    head: ParametricHead, vertices_head: F32, camera: Camera, covers: F32, coverage: F32
) -> NDArray[np.uint8]:
    """The head's own part where it shows, else hair or cloth; 0 beside the person."""
    seen = rasterise_camera(vertices_head, head.opaque_triangles, camera)
    part = np.where(seen.covered, head.triangle_part[np.maximum(seen.triangle, 0)] + 1, 0)
    out = part.astype(np.uint8)
    for name in WORN:
        share = covers[..., KINDS.index(name)]
        out[share > _HALF] = len(head.part_names) + WORN.index(name) + 1
    return np.asarray(np.where(coverage > _HALF, out, 0), np.uint8)
