"""One person in several expressions before the dome: pictures, UV texture and geometry, gaze, masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from backend.artifacts import F32, F64
from backend.colour import luminance
from backend.head.gaze import gaze_degrees
from backend.shading import harmonics
from backend.shading.environment import Environment
from backend.training import pictures
from backend.training.schema import SCHEMA, DressMeta, Kind, MomentMeta, Recipe, Renderer, ViewMeta
from backend.training.shards import record_bytes
from backend.uvspace.seams import dilate
from synthdata.light.plan import LightPlan, described, plan_light, procedural
from synthdata.light.studio import room
from synthdata.run.camera import CameraPlan, photographed
from synthdata.run.lit_head import face_centre
from synthdata.run.people import Person, cropped, draw_expression, person_skin, reduced
from synthdata.run.plan import Unit, shown_texels
from synthdata.run.sources import Sources
from synthdata.run.unit import camera_meta
from synthdata.skin.parameters import SkinParameters
from synthdata.views import fast
from synthdata.views.dome import DomeCamera, dome_cameras
from synthdata.views.scene import Draw, Scene

DOME_LIGHT_SHARE = 0.7  # of people are in a dome's soft even light, the others in any
BRIGHT_SKIN, _BRIGHT_QUANTILE = 0.6, 0.95
_NOISE, _JPEG_QUALITY = 0.002, 95  # a rig's cameras are better than a phone
_PAD_TEXELS = 8


@dataclass(frozen=True)
class Sitting:
    """What the path that draws the pictures decides about a person."""

    draw: Draw
    skin: SkinParameters
    renderer: Renderer = "transfer"
    parts: tuple[str, ...] = ()  # what it shows besides the head's own parts
    dress: DressMeta | None = None


def make_moments(
    unit: Unit, recipe: Recipe, sources: Sources, sitting: Sitting | None = None
) -> dict[Kind, bytes]:
    """The moments of a unit, joined as they go into the shard; the first is neutral and looks ahead.

    One light and one exposure for all of a person's moments. Everything random follows from the recipe's
    seed and the numbers of identity and moment. Without a ``sitting`` they are drawn by transfer.
    """
    head = sources.head
    if sitting is None:
        skin = cropped(person_skin(unit.identity, recipe.seed), unit.identity, recipe.seed)
        sitting = Sitting(fast.draw, skin)
    plan, surroundings = _light(recipe, unit.identity, sources)
    factor = np.sqrt(4 * np.pi) / surroundings.radiance_sh[0].mean() * np.array(plan.colour)
    turned = harmonics.about_y(2, plan.turn_degrees) @ harmonics.project(surroundings.radiance, 2)
    cameras = dome_cameras(recipe.cameras, face_centre(head, head.mean_vertices), recipe.portrait_px)
    drawn = sitting.draw(
        _scenes(unit, recipe, sources, sitting.skin, surroundings, plan, factor), [c.camera for c in cameras]
    )
    neutral, exposure = np.zeros(0, np.float32), 0.0
    records = []
    for index, seen in zip(range(unit.first, unit.end), drawn, strict=True):
        posed, shaded = seen.scene.person, seen.shaded
        if index == unit.first:
            neutral = posed.vertices_head
            lit = luminance(shaded[posed.chart.inside & (posed.bare > 0.9)])
            exposure = BRIGHT_SKIN / max(float(np.quantile(lit, _BRIGHT_QUANTILE)), 1e-6)
        members, views = _chart_members(posed, shaded * np.float32(exposure)), []
        noise = np.random.default_rng([recipe.seed, 10, index])
        for number, (dome_camera, view) in enumerate(zip(cameras, seen.views, strict=True)):
            shot = _developed(dome_camera)
            picture = photographed(view.radiance_linear * np.float32(exposure), shot, noise)
            members[f"view{number:03d}.jpg"] = pictures.photo_jpeg(picture, shot.jpeg_quality)
            members[f"view{number:03d}.parts.png"] = pictures.label_png(view.parts)
            views.append(_view_meta(dome_camera, float(view.coverage.mean())))
        meta = MomentMeta(
            schema=SCHEMA,
            index=index,
            person=posed.meta,
            gaze_degrees=gaze_degrees(head, neutral, posed.vertices_head),
            views=tuple(views),
            light=described(plan, surroundings.name, turned * factor, float(factor.mean())),
            exposure=exposure,
            parts=(*head.part_names, *sitting.parts),
            renderer=sitting.renderer,
            dress=sitting.dress,
        )
        records.append(record_bytes(f"{index:09d}", "moments", meta, members))
    return {"moments": b"".join(records)}


def _scenes(
    unit: Unit,
    recipe: Recipe,
    sources: Sources,
    skin: SkinParameters,
    surroundings: Environment,
    plan: LightPlan,
    factor: F64,
) -> Iterator[Scene]:
    red, green, blue = (float(f) for f in factor)
    texels = shown_texels(recipe.texels, recipe.portrait_px)
    for index in range(unit.first, unit.end):
        rng = np.random.default_rng([recipe.seed, 2, index])
        weights = {} if index == unit.first else draw_expression(rng, sources.head.expression_names)
        shown = sources.person(unit.identity, texels, skin, weights)
        posed = reduced(shown, sources.head, recipe.texels)
        yield Scene(sources.head, posed, shown, surroundings, plan.turn_degrees, (red, green, blue))


def _light(recipe: Recipe, identity: int, sources: Sources) -> tuple[LightPlan, Environment]:
    rng = np.random.default_rng([recipe.seed, 6, identity])
    plan = plan_light(rng, len(recipe.panoramas))
    if rng.random() < DOME_LIGHT_SHARE:
        below = float(rng.uniform(0.5, 0.9))
        dome = Environment("dome", room(np.ones(3), np.full(3, below)))
        return replace(plan, kind="studio", panorama=-1, turn_degrees=0.0), dome
    return plan, sources.panorama(plan.panorama) if plan.panorama >= 0 else procedural(plan)


def _chart_members(posed: Person, shaded_exposed: F32) -> dict[str, bytes]:
    inside = posed.chart.inside
    position = dilate(posed.chart.position_head, inside, _PAD_TEXELS)
    return {
        "texture.png": pictures.srgb_png(posed.materials.albedo_linear),
        "shaded.png": pictures.srgb_png(shaded_exposed),
        "inside.png": pictures.label_png(inside.astype(np.uint8)),
        "position.png": pictures.position_png(position),
    }


def _developed(dome_camera: DomeCamera) -> CameraPlan:
    return CameraPlan(
        camera=dome_camera.camera,
        yaw_degrees=dome_camera.yaw_degrees,
        pitch_degrees=dome_camera.pitch_degrees,
        bright_skin=BRIGHT_SKIN,
        noise=_NOISE,
        jpeg_quality=_JPEG_QUALITY,
    )


def _view_meta(dome_camera: DomeCamera, seen_share: float) -> ViewMeta:
    return ViewMeta(
        camera=camera_meta(dome_camera.camera),
        yaw_degrees=dome_camera.yaw_degrees,
        pitch_degrees=dome_camera.pitch_degrees,
        seen_share=seen_share,
    )
