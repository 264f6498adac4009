"""Our unwrap beside what Blender offers for it: Cycles baking the photo, projected, into the chart.

    likeness bench --only unwrap

Ours decides what the photo shows and how far it is to be believed as well; the bake only projects. Needs
Blender's module (extra `blend`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np

from backend.artifacts import Camera, FaceBox, HeadFit, Observation, Photo, Run
from backend.bench.scenes import facing
from backend.bench.sheet import Setting, Sheet, in_turns, main
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.uvspace.chart import chart_maps
from backend.uvspace.unwrap import unwrap

OURS, BAKE = "unwrap, with visibility and confidence", "Cycles bake, 1 sample a texel, projection alone"


def measure(setting: Setting, sheet: Sheet) -> None:
    """The `open` head's mean face from the front."""
    size, photo_px = (128, 256) if setting.quick else (1024, 1536)
    head = load_head("open")
    middle = head.mean_vertices[head.triangles[head.triangle_part == 0]].mean((0, 1))
    camera = facing((0.0, float(middle[1]), float(middle[2])), photo_px, 2.0 * photo_px)
    picture = ramp(photo_px)
    observation, fit = _observed(picture, camera), _fit(head, camera)
    sheet.workload(f"`open` head, photo {photo_px}×{photo_px}, maps {size}, bpy {bpy.app.version_string}")
    baked = bake(head, camera, picture, size)
    _check(np.asarray(unwrap(observation, fit, size, Run()).confidence), baked())
    works: dict[str, Callable[[], object]] = {
        OURS: lambda: unwrap(observation, fit, size, Run()),
        BAKE: baked,
    }
    in_turns(sheet, works, setting.repeat, OURS)
    charts: dict[str, Callable[[], object]] = {
        "chart maps alone": lambda: chart_maps(head, head.mean_vertices, size)
    }
    in_turns(sheet, charts, setting.repeat, "chart maps alone", also=(BAKE,))


def ramp(size_px: int) -> np.ndarray:
    """A photo whose colour tells its pixel."""
    line = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    return np.stack([*np.meshgrid(line, line), np.full((size_px, size_px), 0.5, np.float32)], -1)


def _observed(picture: np.ndarray, camera: Camera) -> Observation:
    width, height = camera.width_px, camera.height_px
    everywhere = np.ones((height, width), np.float32)
    return Observation(
        photo=Photo("bench", "", picture, None, (width, height)),
        faces=(FaceBox(0, 0, width, height, 1.0),),
        face_index=0,
        landmarks_px=np.zeros((478, 2), np.float32),
        landmarks_depth=np.zeros(478, np.float32),
        landmarks_visible=np.zeros(478, np.float32),
        skin_mask=everywhere,
        person_mask=everywhere,
        focal_px=camera.focal_px,
        focal_source="exif",
    )


def _fit(head: ParametricHead, camera: Camera) -> HeadFit:
    """The mean head, as if it had been fitted."""
    nothing = np.zeros(0, np.float32)
    return HeadFit(
        head=head,
        identity=nothing,
        expression=nothing,
        albedo_coefficients=nothing,
        radiance_sh=np.zeros((9, 3), np.float32),
        camera=camera,
        vertices_head=head.mean_vertices,
        neutral_head=head.mean_vertices,
        iris_srgb=np.zeros(3, np.float32),
        landmark_error_px=0.0,
        landmark_error_iod=0.0,
        photometric_psnr_db=0.0,
        focal_source="exif",
    )


def bake(head: ParametricHead, camera: Camera, picture: np.ndarray, size: int) -> Callable[[], np.ndarray]:
    """A function that bakes the photo into the skin's chart and returns it, ``(size, size, 4)``."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    skin = head.triangle_part == 0
    mesh = bpy.data.meshes.new("skin")
    mesh.from_pydata(head.mean_vertices.tolist(), [], head.triangles[skin].tolist())
    px = camera.project(head.mean_vertices)[0] / (camera.width_px, camera.height_px)
    seen = np.stack([px[:, 0], 1 - px[:, 1]], -1)[head.triangles[skin]]
    for name, uvs in (("chart", head.uvs[head.triangle_uvs[skin]]), ("photo", seen)):
        layer = mesh.uv_layers.new(name=name)
        layer.data.foreach_set("uv", np.ascontiguousarray(uvs, np.float32).ravel())
    mesh.uv_layers.active = mesh.uv_layers["chart"]
    thing = bpy.data.objects.new("skin", mesh)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    target = bpy.data.images.new("baked", size, size, float_buffer=True)
    mesh.materials.append(_material(picture, target))
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples = "CPU", 1
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False

    def work() -> np.ndarray:
        bpy.ops.object.bake(type="EMIT", margin=0, uv_layer="chart")
        pixels = np.empty(size * size * 4, np.float32)
        target.pixels.foreach_get(pixels)
        return pixels.reshape(size, size, 4)[::-1]

    return work


def _material(picture: np.ndarray, target: Any) -> Any:
    """Emits the photo at the UV layer ``photo``; ``target`` is the node that a bake writes to."""
    height, width = picture.shape[:2]
    photo = bpy.data.images.new("photo", width, height, float_buffer=True)
    rgba = np.concatenate([picture, np.ones((height, width, 1), np.float32)], -1)
    photo.pixels.foreach_set(np.ascontiguousarray(rgba[::-1], np.float32).ravel())
    material = bpy.data.materials.new("photo")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, emission = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeEmission")
    texture, place = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeUVMap")
    texture.image, place.uv_map = photo, "photo"
    links.new(place.outputs["UV"], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    baked = nodes.new("ShaderNodeTexImage")
    baked.image = target
    nodes.active = baked
    return material


def _check(confidence: np.ndarray, baked: np.ndarray) -> None:
    """Both must have done the work that is timed. Raises: RuntimeError."""
    believed = confidence > 0.5
    if not believed.any():
        raise RuntimeError("our unwrap shows nothing of the photo")
    if not (baked[believed][:, 2] > 0.2).mean() > 0.95:
        raise RuntimeError("the bake left out texels that the photo shows")


if __name__ == "__main__":
    sys.exit(main(measure))
