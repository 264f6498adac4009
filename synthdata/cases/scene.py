"""The photographer's studio in Blender: subject, occluders, light, pictures by Cycles.

The skin is Blender's Principled shader with random-walk subsurface, lit by all bounces: nothing of it is the
reconstruction's own shader.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import bpy
import numpy as np
from numpy.typing import NDArray

from backend.shading.environment import Environment
from blender_addon.bundle import CameraRecord
from blender_addon.scene.camera import place_camera
from blender_addon.scene.light import hide_from_camera, world_from_hdri
from blender_addon.scene.nodes import new_material, set_inputs
from blender_addon.scene.render import configure_cycles
from blender_addon.scene.scene import set_output
from blender_addon.scene.space import to_scene
from synthdata.cases.subject import F32, I32, Subject
from synthdata.fixtures import pixels_of, read_exr
from synthdata.scene.pieces import charted, fill, strand_curves, texture

SUBSURFACE_M = 0.0028  # mean free path of red in light skin
SUBSURFACE_RADIUS = (1.0, 0.36, 0.16)
OCCLUDER = "occluder"  # name of the arbitrary output
MASK_SAMPLES = 8


@dataclass
class Studio:
    """A scene with one subject."""

    scene: Any
    camera: Any
    skin: Any  # the subject's object
    occluders: list[Any] = field(default_factory=list)


def open_studio() -> Studio:
    """An empty scene with a camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return adopt(bpy.context.scene)


def adopt(scene: Any) -> Studio:
    """The ``scene`` with a camera of its own and no subject yet."""
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    return Studio(scene, camera, None)


def place_subject(studio: Studio, subject: Subject, subsurface: float) -> None:
    """Build the subject's surface; ``subsurface`` in [0, 1] is how much of its diffuse light walks."""
    data = charted(
        "subject",
        subject.vertices_head,
        subject.triangles[subject.is_skin],
        subject.uvs,
        subject.triangle_uvs[subject.is_skin],
    )
    studio.skin = bpy.data.objects.new("subject", data)
    studio.skin.data.materials.append(_skin_material(subject, subsurface))
    studio.scene.collection.objects.link(studio.skin)


def _skin_material(subject: Subject, subsurface: float) -> Any:
    material, tree, principled = new_material("skin")
    set_inputs(
        principled,
        {
            "IOR": 1.5,  # at which F0 = 0.08 · specular, as the maps mean it
            "Subsurface Weight": subsurface,
            "Subsurface Radius": SUBSURFACE_RADIUS,
            "Subsurface Scale": SUBSURFACE_M,
        },
    )
    principled.subsurface_method = "RANDOM_WALK"
    for name, values in (
        ("Base Color", subject.albedo_linear),
        ("Roughness", subject.roughness),
        ("Specular IOR Level", subject.specular),
    ):
        tree.links.new(texture(tree, name, values).outputs["Color"], principled.inputs[name])
    if subject.normal_map_head is not None:
        normal = tree.nodes.new("ShaderNodeNormalMap")
        normal.space = "WORLD"
        encoded = 0.5 + 0.5 * to_scene(subject.normal_map_head).astype(np.float32)
        tree.links.new(texture(tree, "normal", encoded).outputs["Color"], normal.inputs["Color"])
        tree.links.new(normal.outputs["Normal"], principled.inputs["Normal"])
    return material


def add_strands(studio: Studio, strands: F32, radius_m: float, colour_linear: Sequence[float]) -> None:
    """Hair: strands ``(N, n, 3)`` in head space, thinner towards their tips."""
    data = strand_curves("hair", strands, radius_m)
    material, tree, principled = new_material("hair")
    # Blender's hair shader lets so few strands glow; opaque ones keep their colour, and cost half as much.
    colour = (*colour_linear, 1.0)
    set_inputs(principled, {"Base Color": colour, "Roughness": 0.42, "Specular IOR Level": 0.3})
    data.materials.append(material)
    _add_occluder(studio, bpy.data.objects.new("hair", data), tree)


def add_solids(
    studio: Studio,
    name: str,
    meshes: Sequence[tuple[F32, I32]],
    colour_linear: Sequence[float],
    surface: Mapping[str, object],
) -> None:
    """Frames, hats, hands: vertices in head space and quads; ``surface`` holds inputs of Principled."""
    material, tree, principled = new_material(name)
    set_inputs(principled, {"Base Color": (*colour_linear, 1.0), **surface})
    for vertices, quads in meshes:
        data = bpy.data.meshes.new(name)
        fill(data, vertices, quads)
        data.materials.append(material)
        _add_occluder(studio, bpy.data.objects.new(name, data), None)
    _mark(tree)


def _add_occluder(studio: Studio, obj: Any, tree: Any | None) -> None:
    studio.scene.collection.objects.link(obj)
    studio.occluders.append(obj)
    if tree is not None:
        _mark(tree)


def _mark(tree: Any) -> None:
    marker = tree.nodes.new("ShaderNodeOutputAOV")
    marker.aov_name = OCCLUDER
    marker.inputs["Value"].default_value = 1.0


@dataclass(frozen=True)
class Light:
    """An HDRI around the head."""

    path: Path
    rotation_degrees: float  # of the world's Mapping node
    is_seen: bool  # whether it is the picture's background, else that is grey


def environment_of(path: Path) -> Environment:
    """The HDRI at ``path`` in head space, unturned. Raises: RuntimeError."""
    image = bpy.data.images.load(str(path), check_existing=True)
    if image.size[0] == 0:
        raise RuntimeError(f"'{path}' is not a picture that Blender can read")
    return Environment(path.name, np.ascontiguousarray(pixels_of(image)[..., :3]))


def brightest_azimuth_degrees(environment: Environment) -> float:
    """Where most light comes from: 0 before the face, positive on the subject's left."""
    y_z_x = environment.radiance_sh[1:4].mean(1)
    return float(np.degrees(np.arctan2(y_z_x[2], y_z_x[1])))


def light_up(studio: Studio, light: Light) -> None:
    """Make ``light`` the scene's only one."""
    old = studio.scene.world
    studio.scene.world = world_from_hdri("light", str(light.path), light.rotation_degrees, pack=False)
    if not light.is_seen:
        hide_from_camera(studio.scene.world.node_tree)
    if old is not None:
        bpy.data.worlds.remove(old)


def take_picture(studio: Studio, camera: CameraRecord, samples: int, seed: int) -> F32:
    """Linear RGB ``(H, W, 3)``."""
    _aim(studio, camera)
    configure_cycles(studio.scene, samples, seed=seed)
    return _render(studio)[..., :3]


def take_cut_out(studio: Studio, camera: CameraRecord, samples: int, seed: int) -> tuple[F32, F32]:
    """The subject without surroundings: linear RGB ``(H, W, 3)``, premultiplied, and cover ``(H, W)``."""
    _aim(studio, camera)
    configure_cycles(studio.scene, samples, seed=seed)
    studio.scene.render.film_transparent = True
    try:
        picture = _render(studio, "RGBA")
    finally:
        studio.scene.render.film_transparent = False
    return picture[..., :3], picture[..., 3]


def occluder_mask(studio: Studio, camera: CameraRecord) -> NDArray[np.uint8]:
    """``(H, W)`` 1 where an occluder covers more than a third of the pixel."""
    if not studio.occluders:
        return np.zeros((camera.height_px, camera.width_px), np.uint8)
    return (_output(studio, camera, OCCLUDER, MASK_SAMPLES)[..., 0] > 1 / 3).astype(np.uint8)


def _output(studio: Studio, camera: CameraRecord, name: str, samples: int) -> F32:
    """The arbitrary output ``name`` ``(H, W, 4)`` alone, box-filtered over each pixel."""
    scene = studio.scene
    _aim(studio, camera)
    configure_cycles(scene, samples, denoise=False)
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type = "BOX"
    bounces, scene.cycles.max_bounces = scene.cycles.max_bounces, 0
    # In the dark nothing is worth shading, and outputs do not depend on light.
    world, scene.world = scene.world, None
    layer = scene.view_layers[0]
    layer.aovs.add().name = name
    layer.aovs[name].type = "VALUE"
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers, composite = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeComposite")
    tree.links.new(layers.outputs[name], composite.inputs["Image"])
    try:
        return _render(studio)
    finally:
        scene.use_nodes, scene.world = False, world
        layer.aovs.remove(layer.aovs[name])
        scene.cycles.pixel_filter_type, scene.cycles.max_bounces = "BLACKMAN_HARRIS", bounces


def _aim(studio: Studio, camera: CameraRecord) -> None:
    place_camera(studio.camera, camera)
    set_output(studio.scene, camera.width_px, camera.height_px)


def _render(studio: Studio, channels: Literal["RGB", "RGBA"] = "RGB") -> F32:
    settings = studio.scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", channels, "32"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.exr"
        studio.scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True, scene=studio.scene.name)
        picture = read_exr(path)
        bpy.data.images.remove(bpy.data.images[path.name])
    return picture
