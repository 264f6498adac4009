"""Relighting a head's chart by its traced transfer beside a bake by Cycles, and how near the two come.

    likeness bench --only transfer

Diffuse light alone, timed under one HDRI that ships with Blender and compared under five. Needs Blender's
module (extra `blend`) and embree (extra `train`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import torch

from backend.artifacts import F32, Materials
from backend.bench.sheet import Setting, Sheet, in_turns, main, timed
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.shading import transferred
from backend.shading.environment import Environment
from backend.uvspace.chart import chart_maps
from backend.uvspace.normals import vertex_normals
from blender_addon.scene.light import world_from_hdri
from blender_addon.scene.space import to_scene
from synthdata.transfer.trace import trace_transfer

HDRIS = ("sunset.exr", "city.exr", "courtyard.exr", "forest.exr", "interior.exr")  # the first is timed
ALBEDO = 0.5
OURS, BAKE, TRACE = "relighting by transfer", "Cycles bake", "tracing, once a head"
NEAR = "PSNR of linear light, white card 1, {}"
NOISE = "noise of one bake, {}"


def measure(setting: Setting, sheet: Sheet) -> None:
    """The `open` head's mean face, skin of even albedo."""
    torch.set_num_threads(1)
    size, samples = (48, 8) if setting.quick else (160, 100)
    head = load_head("open")
    bake = baked(head, size, samples)
    lights = HDRIS[:1] if setting.quick else HDRIS
    sheet.workload(f"`open` head, {size}² texels, {samples} samples a texel, one thread, one bounce")
    sheet.value(TRACE, timed(lambda: trace_transfer(head.mean_vertices, head.opaque_triangles)), "s")
    inside = chart_maps(head, head.mean_vertices, size).inside
    for number, name in enumerate(lights):
        environment = world_light(name)
        relit = relighting(head, environment, size)
        if number == 0:
            in_turns(sheet, {OURS: relit, BAKE: lambda: bake(HDRIS[0], 0)}, setting.repeat, OURS)
        scale = environment.exposed().radiance.mean() / environment.radiance.mean()
        # Two bakes' noise is independent: in the product of what they are off by it averages out.
        light = relit()
        off = [(light - bake(name, seed)[inside]) * scale for seed in (1, 2)]
        apart = float((off[0] * off[1]).mean())
        noise = float(((off[0] - off[1]) ** 2).mean()) / 2
        sheet.value(NEAR.format(name), -10 * np.log10(max(apart, 1e-12)), "dB", better="higher")
        sheet.value(NOISE.format(name), -10 * np.log10(max(noise, 1e-12)), "dB")


def relighting(head: ParametricHead, environment: Environment, size: int) -> Callable[[], F32]:
    """A function that returns the radiance of the texels inside the chart, ``(N, 3)``."""
    vertices = head.mean_vertices
    grey = np.full((size, size), 0.5, np.float32)
    flat = np.broadcast_to(np.float32([0, 0, 1]), (size, size, 3)).copy()
    even = Materials(np.full((size, size, 3), ALBEDO, np.float32), flat, grey, grey, 0 * grey)
    transfer = trace_transfer(vertices, head.opaque_triangles)
    normals = vertex_normals(vertices, head.triangles)
    lit = transferred.head_light(transfer, vertices, normals, np.full(3, ALBEDO))
    texels = transferred.chart_surface(chart_maps(head, vertices, size), head.triangles, even)
    sky = transferred.sky_light(environment, transfer.degree)

    def work() -> F32:
        with torch.inference_mode():
            onto = transferred.diffuse_irradiance(texels, lit, sky, 0.0)
            return np.asarray((onto * texels.albedo_linear / np.pi).numpy())

    return work


def baked(head: ParametricHead, size: int, samples: int) -> Callable[[str, int], F32]:
    """A function that bakes the skin's radiance, ``(size, size, 3)``, under an HDRI by name with a seed."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    opaque = head.opaque_triangles
    target = bpy.data.images.new("baked", size, size, float_buffer=True)
    skin = _thing(head, "skin", head.triangles[head.triangle_part == 0], target)
    uvs = head.uvs[head.triangle_uvs[head.triangle_part == 0]]
    skin.data.uv_layers.new(name="chart").uv.foreach_set("vector", np.ascontiguousarray(uvs, "f4").ravel())
    rest = opaque[head.triangle_part > 0]
    _thing(head, "rest", rest[(rest != 0).any(1)], None)
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.cycles.device, scene.cycles.samples = "CPU", samples
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = scene.cycles.diffuse_bounces = 1
    bpy.context.view_layer.objects.active = skin
    skin.select_set(True)

    def work(hdri: str, seed: int) -> F32:
        scene.cycles.seed = seed
        scene.world = world_from_hdri(hdri, str(_hdri(hdri)), pack=False)
        bpy.ops.object.bake(type="COMBINED", margin=0, uv_layer="chart")
        pixels = np.empty(size * size * 4, np.float32)
        target.pixels.foreach_get(pixels)
        return pixels.reshape(size, size, 4)[::-1, :, :3]

    return work


def _thing(head: ParametricHead, name: str, triangles: np.ndarray, target: Any) -> Any:
    """An object of ``triangles`` that reflects ALBEDO; ``target`` is what a bake of it writes to."""
    used, corners = np.unique(triangles, return_inverse=True)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_scene(head.mean_vertices[used]).tolist(), [], corners.reshape(-1, 3).tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(triangles), bool))
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    output, matte = nodes.new("ShaderNodeOutputMaterial"), nodes.new("ShaderNodeBsdfDiffuse")
    matte.inputs["Color"].default_value = (ALBEDO, ALBEDO, ALBEDO, 1)
    material.node_tree.links.new(matte.outputs["BSDF"], output.inputs["Surface"])
    if target is not None:
        nodes.active = nodes.new("ShaderNodeTexImage")
        nodes.active.image = target
    mesh.materials.append(material)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def world_light(name: str) -> Environment:
    """The HDRI as the backend sees it."""
    image = bpy.data.images.load(str(_hdri(name)), check_existing=True)
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return Environment(name, np.ascontiguousarray(pixels.reshape(height, width, 4)[::-1, :, :3]))


def _hdri(name: str) -> Path:
    return Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / name


if __name__ == "__main__":
    sys.exit(main(measure))
