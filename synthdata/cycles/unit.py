"""One person photographed by Cycles: drawn, dressed, rendered elsewhere, exposed, packed. No Blender."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.colour import luminance
from backend.head.base import ParametricHead
from backend.shading import harmonics
from backend.shading.environment import Environment
from backend.training import pictures
from backend.training.schema import SCHEMA, DressMeta, InstanceMeta, Kind, LensMeta, Recipe
from backend.training.shards import record_bytes
from backend.uvspace.seams import dilate
from synthdata.cycles.cover import KINDS
from synthdata.cycles.dress import Dress, Looks, draw_dress
from synthdata.cycles.geometry import geometry_members
from synthdata.cycles.job import (
    CHART_NAME,
    EVEN_NAME,
    JOB_NAME,
    SITTER_NAME,
    RenderJob,
    Shot,
    light_path,
    shot_path,
)
from synthdata.cycles.lens import LensPlan, behind, exposed, plan_lens
from synthdata.cycles.shadows import with_shadows
from synthdata.cycles.telling import (
    render,
    shows_mouth,
    skin_and_looks,
    subsurface,
    write_chart,
    write_sitter,
)
from synthdata.light.panoramas import load
from synthdata.light.plan import LightPlan, described, plan_light, procedural
from synthdata.run.camera import CameraPlan, photographed, plan_camera, skin_level
from synthdata.run.lit_head import face_centre
from synthdata.run.people import Person, reduced
from synthdata.run.plan import Unit, shown_texels
from synthdata.run.sources import Sources
from synthdata.run.unit import camera_meta, head_record, unwrapped
from synthdata.skin.parameters import SkinParameters
from synthdata.transfer.trace import trace_transfer

FRAME_M = (0.34, 0.50)  # heights of the scene in the picture: heads with hair, hats and shoulders
PANORAMA_ROWS = 1024
_BRIGHT_QUANTILE = 0.95
_PAD_TEXELS = 8
_SHADE_SHARE = 0.35  # of pictures in the sun: a wall's shadow lies over half of the face


@dataclass(frozen=True)
class _Picture:
    """Everything that is drawn about one photograph before it is taken."""

    index: int
    camera: CameraPlan
    light: LightPlan
    surroundings: Environment
    strength: float  # on the surroundings' radiance
    lens: LensPlan
    dress: Dress
    shade: tuple[tuple[float, float, float], tuple[float, float, float]] | None
    rng: np.random.Generator  # of the sensor

    @property
    def tint(self) -> F32:
        """Times the surroundings' radiance."""
        return (self.strength * np.array(self.light.colour)).astype(np.float32)


def make_rendered(unit: Unit, recipe: Recipe, sources: Sources) -> dict[Kind, bytes]:
    """Records of a unit by kind, joined as they go into the shards.

    Everything random follows from the recipe's seed and the numbers of identity and instance.
    Raises: LikenessError when Blender's process fails.
    """
    head = sources.head
    skin, looks = skin_and_looks(unit.identity, recipe.seed)
    person = sources.person(unit.identity, shown_texels(recipe.texels, recipe.portrait_px), skin)
    kept = reduced(person, head, recipe.texels)
    centre = face_centre(head, person.vertices_head)
    shots = [_plan(k, recipe, sources, skin, looks, person, centre) for k in range(unit.first, unit.end)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _tell(folder, recipe, sources, looks, person, kept, shots)
        render(folder)
        even = _whole(np.load(folder / EVEN_NAME).astype(np.float32), kept)
        instances = []
        for number, picture in enumerate(shots):
            with np.load(shot_path(folder, number)) as taken:
                instances.append(_packed(picture, recipe, sources, looks, kept, even, dict(taken)))
    heads = head_record(kept, trace_transfer(kept.vertices_head, head.opaque_triangles))
    return {"instances": b"".join(instances), "heads": heads}


def _plan(
    index: int,
    recipe: Recipe,
    sources: Sources,
    skin: SkinParameters,
    looks: Looks,
    person: Person,
    centre: F64,
) -> _Picture:
    rng = np.random.default_rng([recipe.seed, 8, index])
    light = plan_light(rng, len(recipe.panoramas))
    camera = plan_camera(rng, centre, recipe.portrait_px, FRAME_M)
    if light.panorama >= 0:
        small = sources.panorama(light.panorama)  # checks the file
        surroundings = load(sources.panorama_paths[light.panorama], PANORAMA_ROWS)
    else:
        surroundings = small = procedural(light, is_sharp=True)
    strength = float(np.sqrt(4 * np.pi) / small.radiance_sh[0].mean())
    lens = plan_lens(rng, camera.camera, _between_eyes(sources.head, person), light.kind == "panorama")
    shade = None
    if light.kind == "sky" and surroundings.name == "sun and sky" and rng.random() < _SHADE_SHARE:
        shade = _shade(surroundings, rng)
    dress = draw_dress(rng, skin, looks)
    return _Picture(index, camera, light, surroundings, strength, lens, dress, shade, rng)


def _between_eyes(head: ParametricHead, person: Person) -> F64:
    """What is in focus."""
    parts = [head.part_names.index(name) for name in ("eye_left", "eye_right")]
    eyes = person.vertices_head[np.unique(head.quads[np.isin(head.quad_part, parts)])].astype(np.float64)
    return np.array([eyes[:, 0].mean(), eyes[:, 1].mean(), eyes[:, 2].max()])


def _shade(
    sky: Environment, rng: np.random.Generator
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The sun's direction, and which side of it is in the shade."""
    from backend.shading import latlong

    at = latlong.directions(len(sky.radiance))
    bright = sky.radiance.mean(-1)
    sun = at[np.unravel_index(int(bright.argmax()), bright.shape)]
    across = np.cross(sun, [0.3 * rng.normal(), 1.0, 0.3 * rng.normal()])
    across *= float(rng.choice((-1.0, 1.0))) / np.linalg.norm(across)
    first, second = (tuple(float(c) for c in v) for v in (sun, across))
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])


def _tell(
    folder: Path,
    recipe: Recipe,
    sources: Sources,
    looks: Looks,
    person: Person,
    kept: Person,
    shots: list[_Picture],
) -> None:
    write_sitter(folder / SITTER_NAME, sources.head, person)
    write_chart(folder / CHART_NAME, kept)
    for number, shot in enumerate(shots):
        np.save(light_path(folder, number), shot.surroundings.radiance)
    r, g, b = person.iris_srgb
    job = RenderJob(
        head=recipe.head,
        looks=looks,
        iris_srgb=(r, g, b),
        subsurface=subsurface(person.meta),
        mouth_open=shows_mouth(person.meta),
        texels=recipe.texels,
        samples=recipe.cycles_samples,
        shots=tuple(
            Shot(
                camera=camera_meta(shot.camera.camera),
                f_number=shot.lens.f_number,
                focus_m=shot.lens.focus_m,
                dress=shot.dress,
                turn_degrees=shot.light.turn_degrees,
                colour=(float(shot.tint[0]), float(shot.tint[1]), float(shot.tint[2])),
                shade=shot.shade,
                seed=shot.lens.seed,
            )
            for shot in shots
        ),
    )
    (folder / JOB_NAME).write_bytes(msgspec.json.encode(job))


def _packed(
    picture: _Picture,
    recipe: Recipe,
    sources: Sources,
    looks: Looks,
    person: Person,
    even: F32,
    taken: dict[str, NDArray[np.float32]],
) -> bytes:
    shot, lens, camera = picture.camera, picture.lens, picture.camera.camera
    covers = taken["covers"].astype(np.float32) / np.float32(255)
    rgba = taken["rgba"]
    bare = covers[..., KINDS.index("skin")] * (1 - covers[..., KINDS.index("lens")])
    exposure = _exposure(rgba[..., :3], bare, skin_level(shot, person.meta.mean_albedo_linear))
    backdrop = behind(lens, camera, picture.surroundings.radiance, picture.light.turn_degrees) * picture.tint
    linear = rgba[..., :3] + (1 - np.clip(rgba[..., 3:], 0, 1)) * backdrop
    seen = photographed(exposed(linear, lens, exposure), shot, picture.rng)
    portrait = pictures.photo_jpeg(seen, shot.jpeg_quality)
    photo = pictures.read_photo(portrait)
    coverage = np.ascontiguousarray(np.clip(rgba[..., 3], 0, 1), np.float32)
    partial = unwrapped(sources.head, person, camera, photo, bare, coverage, recipe.texels)
    balance = np.array(lens.white_balance, np.float32)
    lit = _whole(taken["t_env"], person) * (np.float32(exposure) * balance)
    t_env = with_shadows(lit, partial.rgb_linear, partial.confidence, person.chart.inside)
    small = picture.surroundings.radiance
    turned = harmonics.about_y(2, picture.light.turn_degrees) @ harmonics.project(small, 2)
    inside = person.chart.inside
    meta = InstanceMeta(
        schema=SCHEMA,
        index=picture.index,
        person=person.meta,
        camera=camera_meta(camera),
        yaw_degrees=shot.yaw_degrees,
        pitch_degrees=shot.pitch_degrees,
        light=described(picture.light, picture.surroundings.name, turned * picture.tint, picture.strength),
        exposure=exposure,
        seen_share=float((partial.confidence[inside] > 0.5).mean()),
        renderer="cycles",
        lens=LensMeta(
            f_number=lens.f_number,
            focus_m=lens.focus_m,
            shake_px=float(np.hypot(*lens.shake_px)),
            white_balance=lens.white_balance,
        ),
        dress=dress_meta(looks, picture.dress),
    )
    members = {
        "portrait.jpg": portrait,
        "t_inc.png": pictures.srgb_png(partial.rgb_linear),
        "t_env.png": pictures.radiance_png(t_env),
        "t_hom.png": pictures.radiance_png(even),
        **pictures.material_pngs(person.materials, partial.confidence, person.meta.displacement_scale_m),
        **geometry_members(sources.head, person.vertices_head, camera, covers, coverage),
    }
    return record_bytes(f"{picture.index:09d}", "instances", meta, members)


def _exposure(linear: F32, bare: F32, bright_skin: float) -> float:
    """The factor that brings the brightest twentieth of the bare skin to ``bright_skin``."""
    values = luminance(linear[bare > 0.9])
    if len(values) == 0:
        values = luminance(linear.reshape(-1, 3))
    return bright_skin / max(float(np.quantile(values, _BRIGHT_QUANTILE)), 1e-6)


def _whole(baked: F32, person: Person) -> F32:
    """A bake without its outside, which goes on beyond the chart's border."""
    return dilate(np.ascontiguousarray(np.maximum(baked, 0), np.float32), person.chart.inside, _PAD_TEXELS)


def dress_meta(looks: Looks, dress: Dress) -> DressMeta:
    """What the metadata say of it."""
    return DressMeta(
        hair=looks.hair.style if looks.hair is not None else "",
        hair_linear=looks.hair_linear,
        beard=looks.face.beard,
        glasses=dress.glasses.frame if dress.glasses is not None else "",
        lens_transmittance=dress.glasses.tint if dress.glasses is not None else (1.0, 1.0, 1.0),
        hat=dress.hat.kind,
        garment=dress.outfit.garment,
        has_scarf=dress.outfit.scarf,
        has_hand=dress.hand != 0,
    )
