"""A whole avatar as Blender data in a scene of its own: head, camera, lights, output."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import Avatar
from . import light
from .building import EYES, HELPER_PARTS, Head, found, head_steps
from .camera import build_camera
from .identity import UUID_KEY, AvatarObjects, tag
from .maps import Storage
from .render import configure_eevee
from .splat_binding import bring_splats
from .surface import surface_steps

__all__ = ["EYES", "HELPER_PARTS", "assemble_scene", "build_avatar", "head_sphere", "set_output"]

_PACKED = Storage(pack=True, folder=None)


def build_avatar(avatar: Avatar, parent: Any) -> AvatarObjects:
    """Build the head in a new collection, named after the photo, under the collection ``parent``.

    Its UUID follows from photo, engine and seed: the same reconstruction gives the same file.
    """
    manifest = avatar.manifest
    key = f"{manifest.photo.sha256} {manifest.engine} {manifest.head} {manifest.seed}"
    own = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
    head = Head(manifest.photo.name, manifest, avatar.mesh)
    for _ in head_steps(head, own, parent):
        pass
    for _ in surface_steps(avatar.directory, head, own, _PACKED, proxies=False):
        pass
    bring_splats(avatar.directory, avatar.mesh, manifest, own)
    return found(own)


def assemble_scene(avatar: Avatar, scene: Any, hdri: Path | None = None) -> AvatarObjects:
    """Fill the empty ``scene``: head, matching camera, estimated light, ``hdri`` world, studio lights.

    The estimated light is active, so the camera's view repeats the photograph; the other worlds wait in
    the world list, the studio in a collection that is switched off.
    """
    objects = build_avatar(avatar, scene.collection)
    own = objects.collection[UUID_KEY]
    name = avatar.manifest.photo.name
    camera = build_camera(f"{name} camera", avatar.manifest.camera)
    for block in (camera, camera.data):
        tag(block, own, "camera")
    objects.collection.objects.link(camera)
    scene.camera = camera
    scene.world = light.estimated_world(own, name, np.array(avatar.manifest.light.radiance_sh))
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
