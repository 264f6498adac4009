"""A person as Blender data: the head with all its parts, strands, clothes, glasses, hat, hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from backend.artifacts import F32
from backend.head.base import ParametricHead
from blender_addon import bundle
from blender_addon.scene import head_mesh
from blender_addon.scene.building import EYES, HELPER_PARTS, SUBDIVISION
from blender_addon.scene.eyes import build_eye, eye_chart
from blender_addon.scene.head_mesh import part_faces
from blender_addon.scene.material import build_plain
from synthdata.cases.covers import under_hat
from synthdata.cycles import materials
from synthdata.cycles.clothes import outfit
from synthdata.cycles.dress import Colour, Dress, Looks
from synthdata.cycles.eyewear import build_glasses
from synthdata.cycles.face_hair import grow_beard, grow_brows
from synthdata.cycles.ground import Ground, skin_ground
from synthdata.cycles.hair import Strands, grow_hair
from synthdata.cycles.hair_nodes import Grooming, groom
from synthdata.cycles.hairstyles import STYLES, Style
from synthdata.cycles.hands import hand_pieces
from synthdata.cycles.headwear import hat
from synthdata.cycles.piece import Piece
from synthdata.scene.pieces import charted, fill, strand_curves

_EYE_WORDS, _MOUTH_WORDS = ("eye", "cornea", "tear", "socket"), ("mouth", "teeth", "gums", "tongue")
_INNER = ("teeth", "gums", "tongue")
HAT_STUFFS = ("hat", "visor", "band")


@dataclass(frozen=True)
class Sitter:
    """Who is photographed, as arrays."""

    head: ParametricHead
    neutral: F32  # (V, 3) metres
    vertices: F32  # (V, 3) with expression
    albedo_linear: F32  # (S, S, 3)
    roughness: F32
    specular: F32
    relief_tangent: F32  # (S, S, 3)
    subsurface: float
    iris_srgb: Colour
    mouth_open: bool
    looks: Looks


@dataclass
class Stage:
    """The scene and what stands on it."""

    scene: Any
    skin: Any
    camera: Any
    worn: list[Any] = field(default_factory=list)  # changes with the dress; absent from bakes
    grown: list[Any] = field(default_factory=list)  # brows: stay, but are absent from bakes


def build_stage(sitter: Sitter) -> Stage:
    """An empty scene with the sitter's head."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    head = sitter.head
    own = head.triangle_part == 0
    data = charted("skin", sitter.vertices, head.triangles[own], head.uvs, head.triangle_uvs[own])
    data.materials.append(
        materials.skin(
            sitter.albedo_linear, sitter.roughness, sitter.specular, sitter.relief_tangent, sitter.subsurface
        )
    )
    skin = bpy.data.objects.new("skin", data)
    scene.collection.objects.link(skin)
    stage = Stage(scene, skin, camera)
    _add_parts(stage, sitter)
    brows = grow_brows(sitter.looks.face, head, sitter.vertices)
    stage.grown.append(
        _strands(stage, brows, materials.hair("brows", sitter.looks.brow_linear, 0.5 * sitter.looks.grey))
    )
    return stage


def _add_parts(stage: Stage, sitter: Sitter) -> None:
    head = sitter.head
    posed = _as_mesh(head, sitter.vertices)
    neutral = _as_mesh(head, sitter.neutral)
    for part in head.part_names:
        if part in ("skin", "brows", *HELPER_PARTS) or (part in _INNER and not sitter.mouth_open):
            continue
        obj = head_mesh.build_part(posed, part_faces(posed, part), part)
        if part in EYES:
            side = EYES.index(part)
            rows = np.unique(head.quads[head.quad_part == head.part_names.index(part)])
            centre = head.eye_centres[side] + (sitter.neutral - head.mean_vertices)[rows].mean(0)
            material = build_eye(part, eye_chart(neutral, part, centre), sitter.iris_srgb)
        else:
            material = build_plain(part, part)
        kind = (
            "eyes"
            if any(w in part for w in _EYE_WORDS)
            else "mouth"
            if any(w in part for w in _MOUTH_WORDS)
            else "hair"
        )
        materials.mark(material.node_tree, kind)
        obj.data.materials.append(material)
        if part in SUBDIVISION:
            head_mesh.add_subdivision(obj, 0, min(SUBDIVISION[part][1], 1))
        stage.scene.collection.objects.link(obj)


def _kind_of(part: str) -> str:
    if any(word in part for word in _EYE_WORDS):
        return "eyes"
    return "mouth" if any(word in part for word in _MOUTH_WORDS) else "hair"


def _as_mesh(head: ParametricHead, vertices: F32) -> bundle.Mesh:
    none = np.zeros((0, len(vertices), 3), np.float32)
    quads, triangles = ("quads", "quad_uvs", "quad_part"), ("triangles", "triangle_uvs", "triangle_quad")
    return bundle.Mesh(
        vertices_neutral_head=vertices,
        expression_names=(),
        expressions=bundle.SparseOffsets.from_dense(none),
        expression_weights=np.zeros(0, np.float32),
        eye_centres_head=head.eye_centres,
        **{name: getattr(head, name) for name in (*quads, *triangles, "part_names", "uvs")},
    )


def dress_up(stage: Stage, sitter: Sitter, dress: Dress) -> None:
    """Take off what was worn, and put on ``dress`` with the hair as it lies under and over it."""
    undress(stage)
    head, vertices = sitter.head, sitter.vertices
    skin = skin_ground(head, vertices)
    pieces = outfit(dress.outfit, skin)
    cloths = {
        name: materials.cloth(name, fabric, "hat" if name in HAT_STUFFS else "cloth")
        for name, fabric in dress.fabrics.items()
    }
    for piece in (*pieces, *hat(dress.hat, head, vertices)):
        _worn(stage, piece, cloths[piece.stuff])
    _hair(stage, sitter, dress, _with_clothes(skin, pieces))
    if dress.glasses is not None:
        glasses = build_glasses(dress.glasses, head, vertices)
        metal = materials.frame(dress.glasses.frame_linear, dress.glasses.metallic)
        pane = materials.lens(dress.glasses.tint, dress.glasses.mirror)
        for meshes, material in ((glasses.frame, metal), (glasses.lenses, pane)):
            for made, quads in meshes:
                _worn(stage, Piece(made, quads, ""), material)
    if dress.hand:
        tone = np.median(
            sitter.albedo_linear.reshape(-1, 3)[sitter.albedo_linear.reshape(-1, 3).sum(1) > 0], axis=0
        )
        colour = (float(tone[0]), float(tone[1]), float(tone[2]))
        made_of = {
            "hand": materials.bare_hand(colour),
            "nail": materials.nail(colour),
            "main": cloths["main"],
        }
        for piece in hand_pieces(head, vertices, dress.hand, dress.outfit.seed):
            _worn(stage, piece, made_of[piece.stuff])


def undress(stage: Stage) -> None:
    """Remove what ``dress_up`` put on."""
    for obj in stage.worn:
        data, made = obj.data, list(obj.data.materials)
        bpy.data.objects.remove(obj)
        (bpy.data.meshes if isinstance(data, bpy.types.Mesh) else bpy.data.hair_curves).remove(data)
        for material in made:
            if material is not None and material.users == 0:
                bpy.data.materials.remove(material)
    stage.worn.clear()


def _hair(stage: Stage, sitter: Sitter, dress: Dress, ground: Ground) -> None:
    looks, head, vertices = sitter.looks, sitter.head, sitter.vertices
    grown: list[Strands] = []
    if looks.hair is not None:
        grown += grow_hair(looks.hair, head, vertices, ground)
        if dress.hat.kind:
            kept = [(s, ~under_hat(head, vertices, s.points)) for s in grown]
            grown = [Strands(s.points[k], s.radius_m) for s, k in kept if k.any()]
    material = materials.hair("hair", looks.hair_linear, looks.grey)
    for strands in grown:
        obj = _strands(stage, strands, material)
        if looks.hair is not None:
            groom(obj, _grooming(STYLES[looks.hair.style]), looks.hair.seed)
        stage.worn.append(obj)
    beard = grow_beard(looks.face, head, vertices, skin_ground(head, vertices))
    if beard is not None:
        stage.worn.append(
            _strands(stage, beard, materials.hair("beard", looks.hair_linear, 0.8 * looks.grey))
        )


def _grooming(style: Style) -> Grooming:
    """Cropped hair has no locks, and curls have theirs already."""
    is_short = style.top_m < 0.03 and not style.knot
    is_curled = 0 < style.texture.wave_length_m < 0.04 and style.texture.wave_m > 0.0015
    return Grooming(lock=0.0 if is_short or is_curled else 0.3, stray_m=0.0004 if is_short else 0.0015)


def _strands(stage: Stage, strands: Strands, material: Any) -> Any:
    data = strand_curves("hair", strands.points, strands.radius_m)
    data.materials.append(material)
    obj = bpy.data.objects.new("hair", data)
    stage.scene.collection.objects.link(obj)
    return obj


def _worn(stage: Stage, piece: Piece, material: Any) -> None:
    data = bpy.data.meshes.new(piece.stuff or "worn")
    fill(data, piece.vertices, piece.quads)
    data.materials.append(material)
    obj = bpy.data.objects.new(data.name, data)
    if piece.thickness_m:
        thick = obj.modifiers.new("thickness", "SOLIDIFY")
        thick.thickness, thick.offset = piece.thickness_m, 0.0
    stage.scene.collection.objects.link(obj)
    stage.worn.append(obj)


def _with_clothes(skin: Ground, pieces: Sequence[Piece]) -> Ground:
    """The skin and the clothes over it, whose normals point away from the body."""
    points = np.concatenate([p.vertices for p in pieces if not p.thickness_m]).astype(np.float64)
    gap = points - np.array([0.0, -0.28, -0.007])
    gap[:, 1] = np.maximum(gap[:, 1], 0.0) * 1.5
    return skin.joined(points, gap / np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-9))
