"""From a plan to a case: a made-up head in the studio."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from backend.artifacts import F32, Camera
from backend.evaluation.case_schema import CASE_NAME, Provenance, Source
from backend.export.map_files import encode_maps
from backend.head.base import ParametricHead, is_see_through
from backend.uvspace.chart import skin_triangles
from blender_addon import bundle
from blender_addon.scene.scene import assemble_scene
from synthdata import fixtures
from synthdata.cases.case_set import CasePlan, HeadPlan
from synthdata.cases.covers import hand_meshes, hat_mesh, under_hat
from synthdata.cases.glasses import frame_paths, tube_mesh
from synthdata.cases.hair import RADIUS_M, grow_hair
from synthdata.cases.heads import expressed, make_shape
from synthdata.cases.morphs import Material
from synthdata.cases.novel import TURNS_DEGREES, Pose, add_novel, has_novel
from synthdata.cases.photograph import Photograph, make_case
from synthdata.cases.scene import (
    Light,
    Studio,
    add_solids,
    add_strands,
    adopt,
    brightest_azimuth_degrees,
    environment_of,
    place_subject,
)
from synthdata.cases.skins import Skin, make_skin, relief_in_head, tone_ita_degrees
from synthdata.cases.subject import Subject
from synthdata.headmodel.preview import look_at

HIDDEN_PARTS = ("gums", "tongue", "teeth")  # mouths are closed, and in rare heads these show through
TARGET_HEAD = (0.0, 0.015, 0.03)
SIDE_DISTANCE_M, SIDE_FRAME_M = 1.2, 0.32
HAT_LINEAR = ((0.02, 0.03, 0.07), (0.20, 0.05, 0.04), (0.30, 0.27, 0.22), (0.05, 0.05, 0.05))
SUBSURFACE = 0.75  # darker skin lets less light walk
SMALLEST_PX = 160  # a face in a smaller picture is refused by any method
NOVEL_SHARE = 1 / 2  # of the set's picture size, for the pictures in the photo's light from elsewhere
NOVEL_FRAME = 1.1  # of the photo's: a head that is turned needs more room
SIDE_SHARE = 2 / 3  # of the set's picture size, for the views from the sides
SOURCES = (
    Source(name="ICT-FaceKit (shape, motion)", licence="MIT"),
    Source(name="MakeHuman (shapes, skins)", licence="CC0-1.0"),
    Source(name="Blender's studio HDRIs", licence="CC0-1.0"),
)


@dataclass(frozen=True)
class Quality:
    """How large and how clean pictures are rendered."""

    size: int  # pixels of the photograph's side
    samples: int


def make_head_case(
    plan: CasePlan,
    material: Material,
    head: ParametricHead,
    relit_hdris: tuple[Path, ...],
    quality: Quality,
    folder: Path,
    told: Callable[[float], object],
) -> None:
    """Render ``plan`` into the case ``folder``, relit by ``relit_hdris``; what it has already is kept."""
    who = _Sitter(plan, head, make_shape(plan.head, head, material).neutral, material)
    novel = len(TURNS_DEGREES) + 1
    share = 5 / (5 + novel)  # a case has five other pictures
    if not (folder / CASE_NAME).is_file():
        _photograph(who, relit_hdris, quality, folder, lambda done: told(share * done))
    if not has_novel(folder):
        add_novel(
            folder,
            _poses(who, round(quality.size * NOVEL_SHARE)),
            who.light(is_seen=True),
            quality.samples,
            plan.seed % 2**31,
            lambda done: told(share + (1 - share) * done / novel),
        )


class _Sitter:
    """The person of a plan, posed in the studio as asked."""

    def __init__(self, plan: CasePlan, head: ParametricHead, neutral: F32, material: Material) -> None:
        self.plan, self.head, self.neutral = plan, head, neutral
        self.skin = make_skin(plan.head, head, neutral, material)

    def light(self, is_seen: bool) -> Light:
        return _placed(_bundled(self.plan.hdri), self.plan.light_azimuth_degrees, is_seen)

    def camera(self, size: int, turn_degrees: float = 0.0, frame: float = 1.0) -> Camera:
        plan = self.plan
        yaw = plan.yaw_degrees + turn_degrees
        return look_at(TARGET_HEAD, yaw, plan.pitch_degrees, plan.distance_m, frame * plan.frame_m, size)

    def posed(self, expression: dict[str, float], camera: Camera) -> tuple[Studio, Subject]:
        plan, head = self.plan, self.head
        vertices, weights = expressed(head, self.neutral, expression)
        subject = head_subject(head, self.neutral, vertices, self.skin)
        with tempfile.TemporaryDirectory() as temporary:
            studio = _studio(
                plan.head, head, self.neutral, vertices, weights, self.skin, camera, Path(temporary)
            )
        place_subject(studio, subject, SUBSURFACE * min(1.0, 0.4 + 1.5 * plan.head.luminance))
        _dress(studio, plan, head, vertices, self.skin)
        return studio, subject


def _poses(who: _Sitter, size: int) -> Iterator[Pose]:
    """The photographed face from the sides, then the face that moved from the photo's."""
    views = {turn: who.camera(size, turn, NOVEL_FRAME) for turn in TURNS_DEGREES}
    studio, subject = who.posed(who.plan.expression, views[TURNS_DEGREES[0]])
    yield Pose(studio, subject, None, views)
    front = who.camera(size, 0.0, NOVEL_FRAME)
    studio, subject = who.posed(who.plan.novel_expression, front)
    yield Pose(studio, subject, who.plan.novel_expression, {0.0: front})


def _photograph(
    who: _Sitter,
    relit_hdris: tuple[Path, ...],
    quality: Quality,
    folder: Path,
    told: Callable[[float], object],
) -> None:
    plan, head = who.plan, who.head
    camera = who.camera(min(quality.size, max(SMALLEST_PX, round(quality.size * plan.size_share))))
    studio, subject = who.posed(plan.expression, camera)
    make_case(
        studio,
        subject,
        Photograph(
            id=plan.id,
            subject=f"head{plan.head.index + 1:02d}",
            condition=plan.condition,
            camera=camera,
            side_cameras=_side_cameras(round(quality.size * SIDE_SHARE)),
            light=who.light(is_seen=True),
            relit=_relit(plan, relit_hdris),
            bright_skin=plan.bright_skin,
            jpeg_quality=plan.jpeg_quality,
            ita_degrees=tone_ita_degrees(head, who.skin),
            provenance=Provenance(
                made_by="likeness evaluate make-cases",
                seed=plan.head.seed,
                sources=(
                    *SOURCES,
                    *(Source(name=p.name, licence="as its publisher says") for p in relit_hdris),
                ),
            ),
            samples=quality.samples,
            seed=plan.seed % 2**31,
        ),
        folder,
        told,
    )


def head_subject(head: ParametricHead, neutral: F32, vertices: F32, skin: Skin) -> Subject:
    """The visible surface of the open head with ``skin``, photographed as ``vertices``."""
    hidden = [k for k, name in enumerate(head.part_names) if name in HIDDEN_PARTS or is_see_through(name)]
    shown = ~np.isin(head.triangle_part, hidden)
    is_skin = np.zeros(len(head.triangles), bool)
    is_skin[skin_triangles(head)] = True
    face = head.regions["face"].astype(np.float32).copy()
    on_skin = np.zeros(len(face), bool)
    on_skin[head.triangles[is_skin]] = True
    face[~on_skin] = 1.0  # eyes and mouth are in the face
    known = (head.mediapipe.triangle >= 0)[:, None]
    encoded = encode_maps(skin.materials, skin.bare)
    return Subject(
        vertices_head=vertices,
        triangles=head.triangles[shown],
        is_skin=is_skin[shown],
        uvs=head.uvs,
        triangle_uvs=head.triangle_uvs[shown],
        face=face,
        albedo_linear=skin.materials.albedo_linear,
        roughness=skin.materials.roughness,
        specular=skin.materials.specular,
        normal_map_head=relief_in_head(head, vertices, skin.relief_tangent),
        displacement_m=skin.materials.displacement_m,
        bare=skin.bare,
        neutral_head=neutral,
        points478_head=_points(head, vertices, known),
        points478_neutral_head=_points(head, neutral, known),
        maps={name: encoded[name] for name in ("albedo", "normal", "roughness", "specular", "displacement")},
    )


def _points(head: ParametricHead, vertices: F32, known: np.ndarray) -> F32:  # type: ignore[type-arg]
    found = head.mediapipe.positions(vertices, head.triangles)
    return np.asarray(np.where(known, found, np.nan), np.float32)


def _studio(
    plan: HeadPlan,
    head: ParametricHead,
    neutral: F32,
    vertices: F32,
    weights: F32,
    skin: Skin,
    camera: Camera,
    folder: Path,
) -> Studio:
    """Eyes and mouth as the add-on builds them; the skin is left to ``place_subject``."""
    portrait = fixtures.Portrait(
        name="case",
        seed=plan.seed,
        yaw_degrees=0.0,
        pitch_degrees=0.0,
        hdri="",
        turn_degrees=0.0,
        tone=0.0,
        expression={},
        iris_srgb=plan.iris_srgb,
        has_exif=False,
    )
    person = fixtures.Person(head, neutral, vertices, weights, skin.materials, skin.bare)
    fixtures.write_avatar_folder(person, portrait, camera, folder)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    objects = assemble_scene(bundle.read_bundle(folder), scene)
    for name, part in objects.parts.items():
        part.modifiers.clear()
        part.hide_render |= name == "skin" or name in HIDDEN_PARTS
    return adopt(scene)


def _dress(studio: Studio, plan: CasePlan, head: ParametricHead, vertices: F32, skin: Skin) -> None:
    who = plan.head
    strands = grow_hair(who, head, vertices)
    if plan.cover == "hat":
        hat = hat_mesh(head, vertices)
        strands = None if strands is None else strands[~under_hat(head, vertices, strands)]
        add_solids(studio, "hat", [hat], HAT_LINEAR[who.index % len(HAT_LINEAR)], {"Roughness": 0.95})
    if strands is not None and len(strands):
        add_strands(studio, strands, RADIUS_M, who.hair_linear)
    if who.has_glasses:
        tubes = [tube_mesh(path, closed) for path, closed in frame_paths(head, vertices)]
        add_solids(studio, "frame", tubes, (0.02, 0.016, 0.014), {"Roughness": 0.3, "Coat Weight": 0.5})
    if plan.cover == "hand":
        tone = np.median(skin.materials.albedo_linear[skin.bare > 0.5], axis=0)
        side = -1.0 if plan.yaw_degrees > 0 else 1.0  # where the camera sees less of the face
        add_solids(studio, "hand", hand_meshes(head, vertices, side), tone.tolist(), {"Roughness": 0.5})


def _side_cameras(size: int) -> dict[str, Camera]:
    """Cameras on the subject's left and right."""
    return {
        name: look_at(TARGET_HEAD, yaw, 0.0, SIDE_DISTANCE_M, SIDE_FRAME_M, size)
        for name, yaw in (("left45", 45.0), ("right45", -45.0))
    }


def _bundled(name: str) -> Path:
    return Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / name


def _placed(path: Path, azimuth_degrees: float, is_seen: bool) -> Light:
    """The HDRI turned so that its brightest side stands at ``azimuth_degrees``.

    A Mapping node turns the looked-up direction, so the surroundings turn the other way.
    """
    turn = brightest_azimuth_degrees(environment_of(path)) - azimuth_degrees
    return Light(path, round((turn + 180) % 360 - 180, 3), is_seen)


def _relit(plan: CasePlan, hdris: tuple[Path, ...]) -> tuple[tuple[Light, str], ...]:
    """Two lights that did not take part in the photograph: one from all views, one from the photo's."""
    rng = np.random.default_rng([plan.seed, 4])
    chosen = rng.choice(len(hdris), min(2, len(hdris)), replace=False)
    lights = [_placed(hdris[k], float(rng.uniform(-75, 75)), is_seen=False) for k in chosen]
    views = [(lights[0], view) for view in ("photo", "left45", "right45")]
    return tuple(views + [(light, "photo") for light in lights[1:]])
