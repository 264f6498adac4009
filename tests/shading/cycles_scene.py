"""Run in a process of its own with bpy: renders raw linear pictures for the tests beside it.

    python cycles_scene.py sphere JOB.json     a sphere under one sun, Diffuse + Glossy (GGX)
    python cycles_scene.py world JOB.json      a panorama seen along given directions

The job names its numbers and an output ``.npy``; the picture is float32 RGB, top row first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import bpy
import mathutils
import numpy as np


def clean_scene(size: int, samples: int) -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type = "GAUSSIAN"  # a box would ignore the width
    scene.cycles.filter_width = 0.01  # every sample at its pixel's centre
    scene.cycles.max_bounces = 0
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "32"
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    return scene


def orthographic_camera(scene: bpy.types.Scene, towards: tuple[float, ...], span: float) -> None:
    data = bpy.data.cameras.new("camera")
    data.type, data.ortho_scale = "ORTHO", span
    camera = bpy.data.objects.new("camera", data)
    direction = mathutils.Vector(towards).normalized()
    camera.location = -2 * direction
    camera.rotation_euler = direction.to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera


def render(scene: bpy.types.Scene) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "picture.exr")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        image.colorspace_settings.name = "Non-Color"
        pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
        image.pixels.foreach_get(pixels)
    size = scene.render.resolution_x
    return pixels.reshape(size, size, 4)[::-1, :, :3]


def sphere(job: dict) -> np.ndarray:
    scene = clean_scene(job["size"], 1)
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0
    orthographic_camera(scene, (0, 0, -1), job["span"])

    bpy.ops.mesh.primitive_uv_sphere_add(segments=512, ring_count=256, radius=1.0)
    bpy.ops.object.shade_smooth()
    material = bpy.data.materials.new("lobes")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    diffuse, glossy = nodes.new("ShaderNodeBsdfDiffuse"), nodes.new("ShaderNodeBsdfAnisotropic")
    add, output = nodes.new("ShaderNodeAddShader"), nodes.new("ShaderNodeOutputMaterial")
    diffuse.inputs["Color"].default_value = (*job["albedo"], 1)
    glossy.distribution = "GGX"
    links.new(diffuse.outputs[0], add.inputs[0])
    links.new(glossy.outputs[0], add.inputs[1])
    links.new(add.outputs[0], output.inputs["Surface"])
    bpy.context.object.data.materials.append(material)

    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle = job["irradiance"], 0
    sun.use_shadow = False  # a polygon shadows itself at its smooth terminator
    lamp = bpy.data.objects.new("sun", sun)
    lamp.rotation_euler = (-mathutils.Vector(job["light"])).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(lamp)
    pictures = []
    for fresnel, roughness in job["lobes"]:
        glossy.inputs["Color"].default_value = (*[fresnel] * 3, 1)
        glossy.inputs["Roughness"].default_value = roughness
        pictures.append(render(scene))
    return np.stack(pictures)


def world(job: dict) -> np.ndarray:
    latlong = np.load(job["latlong"])
    height, width = latlong.shape[:2]
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = latlong[::-1]
    seen = []
    for direction in job["directions"]:
        scene = clean_scene(1, 1)
        image = bpy.data.images.new("panorama", width, height, float_buffer=True)
        image.colorspace_settings.name = "Non-Color"
        image.pixels.foreach_set(rgba.ravel())
        image.update()
        nodes, links = scene.world.node_tree.nodes, scene.world.node_tree.links
        texture = nodes.new("ShaderNodeTexEnvironment")
        texture.image, texture.interpolation = image, "Linear"
        mapping, coordinate = nodes.new("ShaderNodeMapping"), nodes.new("ShaderNodeTexCoord")
        mapping.vector_type = "POINT"
        mapping.inputs["Rotation"].default_value[2] = job["mapping_z"]
        links.new(coordinate.outputs["Generated"], mapping.inputs["Vector"])
        links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
        links.new(texture.outputs["Color"], nodes["Background"].inputs["Color"])
        orthographic_camera(scene, tuple(direction), 0.01)
        seen.append(render(scene)[0, 0])
    return np.array(seen)


def main() -> None:
    job = json.loads(Path(sys.argv[2]).read_text())
    np.save(job["out"], {"sphere": sphere, "world": world}[sys.argv[1]](job))


if __name__ == "__main__":
    main()
