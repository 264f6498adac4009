"""A whole avatar as Blender data: objects, materials, camera, light, provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import Avatar
from . import head_mesh, light
from .camera import build_camera
from .eyes import build_eye, eye_chart
from .identity import AvatarObjects
from .material import build_plain, build_skin
from .render import configure_eevee

EYES = ("eye_left", "eye_right")
# Cards that game engines lay over the eye to fake contact shade; a ray tracer has the real thing.
HELPER_PARTS = ("eye_occlusion", "eye_blend")
# Catmull–Clark levels in viewport and render; it would round small stiff parts such as teeth away.
SUBDIVISION = {"skin": (1, 2), "eye_left": (0, 1), "eye_right": (0, 1)}


def build_avatar(avatar: Avatar, parent: Any) -> AvatarObjects:
    """Build the head in a new collection, named after the photo, under the collection ``parent``."""
    name = avatar.manifest.photo.name
    collection = bpy.data.collections.new(name)
    parent.children.link(collection)
    root = bpy.data.objects.new(name, None)
    root.empty_display_size = 0.05
    collection.objects.link(root)
    for owner in (collection, root):
        write_provenance(owner, avatar)

    mesh = avatar.mesh
    objects: dict[str, Any] = {}
    for part in mesh.part_names:
        if part in HELPER_PARTS:
            continue
        faces = head_mesh.part_faces(mesh, part)
        if len(faces.face_start) == 0:
            continue
        obj = head_mesh.build_part(mesh, faces, f"{name} {part}")
        obj.parent = root
        collection.objects.link(obj)
        is_leader = part == head_mesh.HEAD_PART
        keys = head_mesh.add_shape_keys(obj, mesh, faces, only_moving=not is_leader)
        obj.data.materials.append(build_part_material(avatar, part, f"{name} {part}"))
        if part in SUBDIVISION:
            head_mesh.add_subdivision(obj, *SUBDIVISION[part])
        if not is_leader and keys:
            head_mesh.follow_shape_keys(obj, objects[head_mesh.HEAD_PART], keys)
        objects[part] = obj
    return AvatarObjects(collection, root, objects)


def build_part_material(avatar: Avatar, part: str, name: str) -> Any:
    """The material of ``part``: skin with maps, procedural eye, or a plain one."""
    if part == head_mesh.HEAD_PART:
        return build_skin(avatar, name)
    if part in EYES:
        centre = avatar.mesh.eye_centres_head[EYES.index(part)]
        return build_eye(name, eye_chart(avatar.mesh, part, centre), avatar.manifest.eyes.iris_srgb)
    return build_plain(part, name)


def assemble_scene(avatar: Avatar, scene: Any, hdri: Path | None = None) -> AvatarObjects:
    """Fill the empty ``scene``: head, matching camera, estimated light, ``hdri`` world, studio lights.

    The estimated light is active, so the camera's view repeats the photograph; the other worlds wait in
    the world list, the studio in a collection that is switched off.
    """
    objects = build_avatar(avatar, scene.collection)
    name = avatar.manifest.photo.name
    camera = build_camera(f"{name} camera", avatar.manifest.camera)
    objects.collection.objects.link(camera)
    scene.camera = camera
    scene.world = light.world_from_sh(f"{name} estimated light", np.array(avatar.manifest.light.radiance_sh))
    if hdri is not None:
        light.world_from_hdri("HDRI", str(hdri)).use_fake_user = True
    centre, radius = head_sphere(avatar)
    studio = bpy.data.collections.new("Studio lights")
    scene.collection.children.link(studio)
    for lamp in light.build_studio(centre, radius):
        studio.objects.link(lamp)
    studio.hide_render = studio.hide_viewport = True
    set_output(scene, avatar.manifest.camera.width_px, avatar.manifest.camera.height_px)
    configure_eevee(scene)
    return objects


def set_output(scene: Any, width_px: int, height_px: int) -> None:
    """Metres, the Standard view transform (others would not match the photo), picture size."""
    scene.unit_settings.system = "METRIC"
    scene.unit_settings.length_unit = "CENTIMETERS"
    scene.view_settings.view_transform = "Standard"
    scene.view_settings.look = "None"
    scene.view_settings.exposure = 0.0
    scene.view_settings.gamma = 1.0
    scene.render.resolution_x, scene.render.resolution_y = width_px, height_px
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0


def head_sphere(avatar: Avatar) -> tuple[NDArray[np.float64], float]:
    """Centre ``(3,)`` of the head's bounding box in head space and the radius around it, metres."""
    skin = avatar.mesh.quads[avatar.mesh.quad_part == 0]
    vertices = avatar.mesh.expressed()[np.unique(skin[skin >= 0])].astype(np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre = (low + high) / 2
    return centre, float(np.linalg.norm(vertices - centre, axis=1).max())


def write_provenance(owner: Any, avatar: Avatar) -> None:
    """Where an avatar comes from, as custom properties of a data-block."""
    manifest = avatar.manifest
    owner["likeness_created_by"] = manifest.created_by
    owner["likeness_schema"] = manifest.schema
    owner["likeness_engine"] = manifest.engine
    owner["likeness_head"] = manifest.head
    owner["likeness_seed"] = str(manifest.seed)  # Blender's integers have 32 bits
    owner["likeness_photo"] = manifest.photo.name
    owner["likeness_photo_sha256"] = manifest.photo.sha256
    owner["likeness_stages"] = "; ".join(f"{s.name}: {s.implementation}" for s in manifest.stages)
    owner["likeness_weights"] = "; ".join(f"{w.name} ({w.licence})" for w in manifest.weights)
    owner["likeness_warnings"] = "; ".join(manifest.warnings)
