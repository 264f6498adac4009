"""Pictures of a stage by Cycles: light, lens, portrait with covers, bakes of the skin's chart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from backend.artifacts import F32, F64
from blender_addon.bundle import CameraRecord
from blender_addon.scene.camera import place_camera
from blender_addon.scene.nodes import empty_tree
from blender_addon.scene.render import configure_cycles
from blender_addon.scene.scene import set_output
from blender_addon.scene.space import to_scene
from synthdata.cycles.cover import KINDS, OUTPUTS
from synthdata.cycles.stage import Stage
from synthdata.fixtures import read_exr

_FRAME_MM = 24.0  # of the sensor that focal lengths are told for (run.camera)


@dataclass(frozen=True)
class Focus:
    """A lens that is not a pinhole."""

    f_number: float
    distance_m: float


@dataclass(frozen=True)
class Taken:
    """A portrait as light."""

    rgba_linear: F32  # (H, W, 4) premultiplied; what is behind the head has alpha 0
    covers: F32  # (H, W, 9) in [0, 1], as ``cover.KINDS``; a lens and what is behind it both count


def light_from(stage: Stage, radiance: F32, turn_degrees: float, colour: F32) -> None:
    """Make the lat-long ``radiance`` ``(h, 2 h, 3)`` in head space, turned and tinted, the only light."""
    height, width = radiance.shape[:2]
    image = bpy.data.images.new("light", width, height, alpha=False, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = (radiance * colour)[::-1]
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    world = bpy.data.worlds.new("light")
    tree = empty_tree(world)
    names = ("TexCoord", "Mapping", "TexEnvironment", "Background", "OutputWorld")
    place, mapping, environment, background, output = (tree.nodes.new(f"ShaderNode{n}") for n in names)
    environment.image = image
    # A Mapping node turns the looked-up direction, so the surroundings turn the other way.
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, float(-np.radians(turn_degrees)))
    tree.links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tree.links.new(environment.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    world.cycles.sample_map_resolution = min(2 * height, 1024)
    world.cycles.sampling_method = "MANUAL"
    _replace_world(stage, world)


def light_even(stage: Stage) -> None:
    """White light of radiance 1 from everywhere."""
    world = bpy.data.worlds.new("even")
    tree = empty_tree(world)
    background, output = tree.nodes.new("ShaderNodeBackground"), tree.nodes.new("ShaderNodeOutputWorld")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    _replace_world(stage, world)


def _replace_world(stage: Stage, world: Any) -> None:
    old = stage.scene.world
    stage.scene.world = world
    if old is None:
        return
    images = [n.image for n in old.node_tree.nodes if n.bl_idname == "ShaderNodeTexEnvironment"]
    bpy.data.worlds.remove(old)
    for image in images:
        bpy.data.images.remove(image)


def take(stage: Stage, camera: CameraRecord, focus: Focus | None, samples: int, seed: int) -> Taken:
    """The portrait with its covers, one render; without a ``focus`` all is sharp."""
    _aim(stage, camera, focus)
    _configure(stage.scene, samples, seed)
    scene = stage.scene
    scene.render.film_transparent = True
    layer = scene.view_layers[0]
    for name, _ in OUTPUTS:
        if name not in {output.name for output in layer.aovs}:
            layer.aovs.add().name = name
        layer.aovs[name].type = "COLOR"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with _files(scene, folder, ("Image", *(name for name, _ in OUTPUTS))):
            bpy.ops.render.render(write_still=False)
        rgba = _exr(folder, "Image")
        covers = [_exr(folder, name)[..., :3] for name, _ in OUTPUTS]
    covered = np.clip(np.concatenate(covers, -1), 0, 1)
    rgba[..., 3] = _quiet(rgba[..., 3], covered[..., KINDS.index("hair")])
    return Taken(rgba, covered)


def _quiet(alpha: F32, hair: F32) -> F32:
    """``alpha`` smoothed where there is hair: colours alone are denoised, and strands would be dots."""
    import cv2

    share = np.clip(4 * cv2.GaussianBlur(hair, (0, 0), 1.5), 0, 1)
    return np.asarray(alpha + share * (cv2.GaussianBlur(alpha, (0, 0), 0.85) - alpha), np.float32)


def _aim(stage: Stage, camera: CameraRecord, focus: Focus | None) -> None:
    place_camera(stage.camera, camera)
    set_output(stage.scene, camera.width_px, camera.height_px)
    data = stage.camera.data
    # The same projection on the sensor that the focal length is told for: so f-numbers mean what they say.
    data.sensor_width = _FRAME_MM
    data.lens = camera.focal_px * _FRAME_MM / camera.width_px
    data.dof.use_dof = focus is not None
    if focus is not None:
        data.dof.focus_distance = focus.distance_m
        data.dof.aperture_fstop = focus.f_number


def _configure(scene: Any, samples: int, seed: int) -> None:
    configure_cycles(scene, samples, seed=seed)
    cycles = scene.cycles
    # What is smooth is done after few samples; hair and skin get them all.
    cycles.adaptive_threshold, cycles.adaptive_min_samples = 0.05, max(2 * samples // 5, 1)
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 5, 2, 2
    cycles.transmission_bounces, cycles.transparent_max_bounces = 5, 12
    cycles.sample_clamp_indirect = 8.0
    cycles.denoising_prefilter = "FAST"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.use_persistent_data = False


@contextmanager
def _files(scene: Any, folder: Path, names: tuple[str, ...]) -> Iterator[None]:
    """Have the next render write its passes ``names`` to ``folder`` as OpenEXR."""
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers, writer = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeOutputFile")
    writer.base_path = str(folder)
    writer.format.file_format, writer.format.color_mode, writer.format.color_depth = "OPEN_EXR", "RGBA", "32"
    writer.file_slots.clear()
    for name in names:
        writer.file_slots.new(name)
        tree.links.new(layers.outputs[name], writer.inputs[name])
    try:
        yield
    finally:
        scene.use_nodes = False


def _exr(folder: Path, name: str) -> F32:
    path = next(folder.glob(f"{name}*.exr"))
    pixels = read_exr(path)
    bpy.data.images.remove(bpy.data.images[path.name])
    return pixels


def bake(stage: Stage, size: int, samples: int, seed: int, from_camera: bool) -> F32:
    """The skin's light on its chart ``(size, size, 3)``, the worn and grown left out.

    ``from_camera``: highlights as the camera sees them, else as seen from above each texel.
    """
    scene = stage.scene
    _configure(scene, max(samples, 1), seed)
    scene.cycles.use_adaptive_sampling = False
    material = stage.skin.data.materials[0]
    target = bpy.data.images.new("baked", size, size, alpha=False, float_buffer=True)
    target.colorspace_settings.name = "Non-Color"
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = target
    material.node_tree.nodes.active = node
    hidden = [obj for obj in (*stage.worn, *stage.grown) if not obj.hide_render]
    for obj in hidden:
        obj.hide_render = True
    bpy.context.view_layer.objects.active = stage.skin
    stage.skin.select_set(True)
    try:
        scene.render.bake.view_from = "ACTIVE_CAMERA" if from_camera else "ABOVE_SURFACE"
        bpy.ops.object.bake(type="COMBINED", margin=0, use_clear=True, uv_layer="UVMap")
        flat = np.empty(size * size * 4, np.float32)
        target.pixels.foreach_get(flat)
    finally:
        for obj in hidden:
            obj.hide_render = False
        material.node_tree.nodes.remove(node)
        bpy.data.images.remove(target)
    return np.ascontiguousarray(flat.reshape(size, size, 4)[::-1, :, :3])


def denoised(light: F32, albedo_linear: F32, normal: F32) -> F32:
    """A bake ``(S, S, 3)`` without its noise, by Open Image Denoise with clean guides of the same size."""
    scene = bpy.data.scenes.new("denoise")
    size = len(light)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    set_output(scene, size, size)
    given = (("light", light), ("albedo", albedo_linear), ("normal", normal))
    images = [_picture(name, values) for name, values in given]
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    node = tree.nodes.new("CompositorNodeDenoise")
    node.prefilter, node.use_hdr = "NONE", True
    for socket, image in zip(("Image", "Albedo", "Normal"), images, strict=True):
        source = tree.nodes.new("CompositorNodeImage")
        source.image = image
        tree.links.new(source.outputs["Image"], node.inputs[socket])
    writer = tree.nodes.new("CompositorNodeOutputFile")
    writer.format.file_format, writer.format.color_mode, writer.format.color_depth = "OPEN_EXR", "RGBA", "32"
    tree.links.new(node.outputs["Image"], writer.inputs[0])
    try:
        with tempfile.TemporaryDirectory() as temporary:
            writer.base_path = temporary
            bpy.ops.render.render(write_still=False, scene=scene.name)
            return np.ascontiguousarray(_exr(Path(temporary), "Image")[..., :3])
    finally:
        bpy.data.scenes.remove(scene)
        for image in images:
            bpy.data.images.remove(image)


def _picture(name: str, values: F32) -> Any:
    size = len(values)
    image = bpy.data.images.new(name, size, size, alpha=False, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    pixels = np.ones((size, size, 4), np.float32)
    pixels[..., :3] = values[::-1]
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    return image


def shade_half(stage: Stage, towards_head: F64, across_head: F64) -> Any:
    """A wall between the light at ``towards_head`` and the face, whose edge's shadow falls over it.

    ``across_head`` ``(3,)`` points into the shade.
    """
    middle = np.array([0.0, 0.01, 0.06]) + 0.7 * towards_head
    along = np.cross(towards_head, across_head)
    corners = [
        middle - 1.5 * along,
        middle + 1.5 * along,
        middle + 3.0 * across_head + 1.5 * along,
        middle + 3.0 * across_head - 1.5 * along,
    ]
    data = bpy.data.meshes.new("wall")
    data.from_pydata(to_scene(np.stack(corners)).tolist(), [], [(0, 1, 2, 3)])
    obj = bpy.data.objects.new("wall", data)
    obj.visible_camera = obj.visible_glossy = False
    stage.scene.collection.objects.link(obj)
    return obj


def take_away(wall: Any) -> None:
    """Undo ``shade_half``; None is nothing."""
    if wall is not None:
        data = wall.data
        bpy.data.objects.remove(wall)
        bpy.data.meshes.remove(data)
