"""A second build of the head for Blender's glTF exporter: triangles, images instead of nodes.

glTF's dielectric has F0 = 0.04·specularColorFactor·specular; with a factor of 2 that is our
F0 = 0.08·specular. The exporter writes Specular Tint as that factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..bundle import Avatar
from ..grey_png import encode_grey
from . import head_mesh
from .building import EYES, HELPER_PARTS, OPTIONAL_PARTS
from .clear import build_clear_for_gltf, is_clear
from .eyes import WET, EyeChart, eye_chart, eye_gloss
from .material import build_plain
from .nodes import COLUMN, add, image_from_bytes, new_material, set_inputs
from .provenance import write_provenance
from .skin_group import IOR

GLOSS_SIZE = 256  # texels of the mask that says where an eyeball is wet
IRIS_ROUGHNESS = 0.4
SPECULAR_FACTOR = (2.0, 2.0, 2.0)


@dataclass(frozen=True)
class GltfImages:
    """Encoded pictures (PNG or JPEG bytes) that go into the file as they are."""

    albedo: bytes  # sRGB
    normal: bytes  # tangent space, OpenGL
    metallic_roughness: bytes  # green roughness, blue 0
    specular: bytes  # alpha is the specular map
    eyes: dict[str, bytes]  # sRGB colour by part name


def build_gltf_head(avatar: Avatar, images: GltfImages, parent: Any) -> Any:
    """Build the head under the collection ``parent`` for export; returns its root object."""
    name = avatar.manifest.photo.name
    root = bpy.data.objects.new(name, None)
    parent.objects.link(root)
    write_provenance(root, avatar.manifest)
    mesh = avatar.mesh
    for part in mesh.part_names:
        if part in HELPER_PARTS or part in OPTIONAL_PARTS:
            continue
        faces = head_mesh.part_faces(mesh, part, triangulated=True)
        if len(faces.face_start) == 0:
            continue
        obj = head_mesh.build_part(mesh, faces, part)
        obj.parent = root
        parent.objects.link(obj)
        motion = head_mesh.part_motion(mesh, faces)
        if motion.moving:
            head_mesh.set_shape_keys(obj, motion, motion.moving)
        obj.data.materials.append(_material(avatar, part, images))
    return root


def export_glb(path: Path) -> None:
    """Write the open file's objects to ``path`` with Blender's exporter: +Y up, morph targets, no animation.

    Raises: RuntimeError when the exporter fails.
    """
    bpy.ops.export_scene.gltf(
        filepath=str(path),
        export_format="GLB",
        export_yup=True,
        export_apply=False,
        export_texcoords=True,
        export_normals=True,
        export_tangents=False,  # MikkTSpace is what readers must use without them
        export_materials="EXPORT",
        export_image_format="AUTO",
        export_vertex_color="NONE",
        export_morph=True,
        export_morph_normal=True,
        export_morph_tangent=False,
        export_try_sparse_sk=True,
        export_animations=False,
        export_skins=False,
        export_cameras=False,
        export_lights=False,
        export_extras=True,
        will_save_settings=False,
    )


def _material(avatar: Avatar, part: str, images: GltfImages) -> Any:
    if part == head_mesh.HEAD_PART:
        return _skin(part, images)
    if part in EYES:
        centre = avatar.mesh.eye_centres_head[EYES.index(part)]
        return _eye(part, eye_chart(avatar.mesh, part, centre), images)
    if is_clear(part):
        return build_clear_for_gltf(part)
    return build_plain(part, part)


def _eye(part: str, chart: EyeChart, images: GltfImages) -> Any:
    material, tree, principled = new_material(part)
    set_inputs(principled, WET)
    _texture(tree, principled, "Base Color", f"{part}_albedo", images.eyes[part], is_colour=True)
    if chart.has_cornea:  # which shines over the iris; the eyeball itself is wet around it only
        set_inputs(principled, {"Roughness": IRIS_ROUGHNESS})
        wet = np.rint(255 * eye_gloss(chart, GLOSS_SIZE)).astype(np.uint8)
        _texture(tree, principled, "Coat Weight", f"{part}_coat", encode_grey(wet), is_colour=False)
    return material


def _skin(name: str, images: GltfImages) -> Any:
    material, tree, principled = new_material(name)
    set_inputs(principled, {"IOR": IOR, "Specular Tint": SPECULAR_FACTOR})
    _texture(tree, principled, "Base Color", "albedo", images.albedo, is_colour=True)
    factors = _image_node(tree, "metallic_roughness", images.metallic_roughness, -300.0)
    split = add(tree, "ShaderNodeSeparateColor", (-COLUMN, -300.0))
    tree.links.new(factors.outputs["Color"], split.inputs["Color"])
    tree.links.new(split.outputs["Green"], principled.inputs["Roughness"])
    tree.links.new(split.outputs["Blue"], principled.inputs["Metallic"])
    specular = _image_node(tree, "specular", images.specular, -600.0)
    tree.links.new(specular.outputs["Alpha"], principled.inputs["Specular IOR Level"])
    normal = _image_node(tree, "normal", images.normal, -900.0)
    bend = add(tree, "ShaderNodeNormalMap", (-COLUMN, -900.0))
    tree.links.new(normal.outputs["Color"], bend.inputs["Color"])
    tree.links.new(bend.outputs["Normal"], principled.inputs["Normal"])
    return material


def _texture(tree: Any, shader: Any, socket: str, name: str, data: bytes, *, is_colour: bool) -> None:
    node = _image_node(tree, name, data, 0.0, is_colour=is_colour)
    tree.links.new(node.outputs["Color"], shader.inputs[socket])


def _image_node(tree: Any, name: str, data: bytes, y: float, *, is_colour: bool = False) -> Any:
    node = add(tree, "ShaderNodeTexImage", (-2 * COLUMN, y), name)
    node.image = image_from_bytes(name, data, is_colour=is_colour)
    node.extension = "EXTEND"
    return node
