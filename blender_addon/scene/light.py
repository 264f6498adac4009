"""Worlds from estimated light or an HDRI, and a three-point studio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from .identity import first, tag, tagged
from .nodes import empty_tree
from .space import to_head, to_scene

BACKDROP_LINEAR = 0.18  # middle grey
RADIANCE_KEY = "likeness_radiance_sh"
PANORAMA_SIZE = (256, 128)  # degree-2 light varies over radians; this is ample


def estimated_world(uuid: str, name: str, radiance_sh: NDArray[np.floating[Any]]) -> Any:
    """The world of the avatar ``uuid``'s estimated light, made or brought up to date."""
    wanted = np.asarray(radiance_sh, np.float64)
    world = first("worlds", uuid, "light")
    if world is not None and np.array_equal(np.array(world[RADIANCE_KEY]).reshape(9, 3), wanted):
        return world
    made = world_from_sh(f"{name} estimated light", wanted)
    made[RADIANCE_KEY] = wanted.ravel().tolist()
    made.use_fake_user = True  # it waits in the world list while another light is on
    image = next(node.image for node in made.node_tree.nodes if node.bl_idname == "ShaderNodeTexEnvironment")
    if world is not None:
        _replace(world, made)
    for old in list(tagged("images", uuid, "light")):
        bpy.data.images.remove(old)
    tag(made, uuid, "light")
    tag(image, uuid, "light")
    return made


def _replace(old: Any, new: Any) -> None:
    name = old.name
    old.user_remap(new)
    bpy.data.worlds.remove(old)
    new.name = name


def world_from_sh(name: str, radiance_sh: NDArray[np.floating[Any]]) -> Any:
    """A world that shines with radiance SH ``(9, 3)`` of head space.

    The camera itself sees middle grey: light told from a face alone says nothing sound of how the
    surroundings look, least of all behind the head.
    """
    panorama = sh_panorama(radiance_sh, *PANORAMA_SIZE)
    height, width = panorama.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=False, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., :3] = panorama[::-1]  # Blender's first row is the lowest
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    world = _world(name, image, 0.0)
    hide_from_camera(world.node_tree)
    return world


def world_from_hdri(name: str, path: str, rotation_degrees: float = 0.0, *, pack: bool = True) -> Any:
    """A world lit by the latitude-longitude picture at ``path`` (.hdr, .exr), turned about the vertical.

    Raises: RuntimeError when Blender cannot read the file.
    """
    image = bpy.data.images.load(path, check_existing=True)
    if image.size[0] == 0:
        raise RuntimeError(f"'{path}' is not a picture that Blender can read")
    if pack and image.packed_file is None:
        image.pack()
    return _world(name, image, rotation_degrees)


def sh_panorama(radiance_sh: NDArray[np.floating[Any]], width: int, height: int) -> NDArray[np.float32]:
    """Latitude-longitude radiance ``(height, width, 3)``, top row first, in Blender's layout, ≥ 0.

    Blender's middle column looks along +X of scene and head alike; columns to the right turn towards
    the head's +Z. Clipping alone would make ringing light brighter, so the coefficients are moved until
    the clipped light has the given ones (or comes as near as non-negative light can).
    """
    target = np.asarray(radiance_sh, np.float64)
    basis, solid_angle = (table.reshape(64 * 32, -1) for table in _panorama_basis(64, 32))
    weighted = (basis * solid_angle).T
    wanted = target.copy()
    for _ in range(200):
        missing = target - weighted @ np.maximum(basis @ wanted, 0.0)
        wanted += missing
        if np.abs(missing).max() < 1e-6:
            break
    return np.maximum(_panorama_basis(width, height)[0] @ wanted, 0.0).astype(np.float32)


def _panorama_basis(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Basis ``(height, width, 9)`` and solid angle ``(height, width, 1)`` of a panorama's pixels."""
    azimuth = 2 * np.pi * (0.5 - (np.arange(width) + 0.5) / width)
    elevation = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    a, e = np.meshgrid(azimuth, elevation)
    direction = to_head(np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1))
    solid_angle = np.cos(e) * (2 * np.pi / width) * 2 * np.sin(np.pi / (2 * height))
    return _sh_basis(direction), solid_angle[..., None]


@dataclass(frozen=True)
class Lamp:
    """An area light on the sphere around a head."""

    name: str
    azimuth_degrees: float  # as seen from the head: 0 before the face, positive to the subject's left
    elevation_degrees: float
    power_w: float  # at one metre
    size_radii: float  # side of the square, in radii of the head
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear


THREE_POINT = (
    Lamp("Key", 40.0, 35.0, 14.0, 3.0),
    Lamp("Fill", -50.0, 5.0, 4.0, 5.0),
    Lamp("Rim", 160.0, 40.0, 12.0, 2.0),
)
DISTANCE_RADII = 6.0


def build_studio(
    centre_head: NDArray[np.floating[Any]], radius_m: float, plan: Sequence[Lamp] = THREE_POINT
) -> list[Any]:
    """Area lights around the head at ``centre_head`` ``(3,)`` that look at it, scaled to ``radius_m``."""
    distance = DISTANCE_RADII * radius_m
    centre = np.asarray(centre_head, np.float64)
    lights = []
    for lamp in plan:
        a, e = np.radians(lamp.azimuth_degrees), np.radians(lamp.elevation_degrees)
        outward = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
        data = bpy.data.lights.new(f"Studio {lamp.name}", "AREA")
        data.energy = lamp.power_w * distance**2
        data.size = lamp.size_radii * radius_m
        data.color = lamp.colour
        light = bpy.data.objects.new(data.name, data)
        towards = Vector((-to_scene(outward)).tolist())
        turn = towards.to_track_quat("-Z", "Y").to_matrix().to_4x4()
        light.matrix_world = Matrix.Translation(to_scene(centre + distance * outward).tolist()) @ turn
        lights.append(light)
    return lights


def _world(name: str, image: Any, rotation_degrees: float) -> Any:
    world = bpy.data.worlds.new(name)
    tree = empty_tree(world)
    output = tree.nodes.new("ShaderNodeOutputWorld")
    background = tree.nodes.new("ShaderNodeBackground")
    environment = tree.nodes.new("ShaderNodeTexEnvironment")
    mapping = tree.nodes.new("ShaderNodeMapping")
    coordinates = tree.nodes.new("ShaderNodeTexCoord")
    for column, node in enumerate((coordinates, mapping, environment, background, output)):
        node.location = (260.0 * column, 0.0)
    environment.image = image
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, float(np.radians(rotation_degrees)))
    tree.links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
    tree.links.new(environment.outputs["Color"], background.inputs["Color"])
    tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    return world


def hide_from_camera(tree: Any, backdrop_linear: float = BACKDROP_LINEAR) -> None:
    """Put an even grey behind the scene where the camera looks past it."""
    lit = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBackground")
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputWorld")
    path = tree.nodes.new("ShaderNodeLightPath")
    grey = tree.nodes.new("ShaderNodeBackground")
    mix = tree.nodes.new("ShaderNodeMixShader")
    grey.inputs["Color"].default_value = (backdrop_linear,) * 3 + (1.0,)
    output.location = (1300.0, 0.0)
    for node, place in ((path, (780.0, 320.0)), (grey, (780.0, -160.0)), (mix, (1040.0, 0.0))):
        node.location = place
    tree.links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    tree.links.new(lit.outputs["Background"], mix.inputs[1])
    tree.links.new(grey.outputs["Background"], mix.inputs[2])
    tree.links.new(mix.outputs["Shader"], output.inputs["Surface"])


def _sh_basis(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal real spherical harmonics to degree 2 at unit ``(..., 3)``, the manifest's order.

    The add-on cannot import the backend's; a test holds both together.
    """
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    c0, c1, c2 = np.sqrt(1 / (4 * np.pi)), np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / (4 * np.pi))
    c20 = np.sqrt(5 / (16 * np.pi))
    return np.stack(
        [
            np.full_like(x, c0),
            c1 * y,
            c1 * z,
            c1 * x,
            c2 * x * y,
            c2 * y * z,
            c20 * (3 * z * z - 1),
            c2 * x * z,
            c2 / 2 * (x * x - y * y),
        ],
        axis=-1,
    )
