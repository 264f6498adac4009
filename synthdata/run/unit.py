"""One identity in its lights: trace, relight, photograph, unwrap, pack. No Blender."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, FaceBox, HeadFit, Observation, PartialUV, Photo, Run
from backend.colour import luminance
from backend.head.base import ParametricHead
from backend.shading import harmonics, transferred
from backend.shading.transfer import Transfer
from backend.training import pictures
from backend.training.schema import SCHEMA, CameraMeta, HeadMeta, InstanceMeta, Kind, Recipe
from backend.training.shards import record_bytes
from backend.uvspace.unwrap import unwrap
from synthdata.light.plan import described, plan_light, procedural
from synthdata.run.camera import photographed, plan_camera, skin_level
from synthdata.run.lit_head import LitHead, backdrop
from synthdata.run.people import Person, cropped, person_skin, reduced
from synthdata.run.plan import Unit, shown_texels
from synthdata.run.sources import Sources
from synthdata.transfer.trace import trace_transfer

_BRIGHT_QUANTILE = 0.95


def make_unit(unit: Unit, recipe: Recipe, sources: Sources) -> dict[Kind, bytes]:
    """Records of a unit by kind, joined as they go into the shards.

    Everything random follows from the recipe's seed and the numbers of identity and instance.
    """
    head = sources.head
    skin = cropped(person_skin(unit.identity, recipe.seed), unit.identity, recipe.seed)
    shown = sources.person(unit.identity, shown_texels(recipe.texels, recipe.portrait_px), skin)
    person = reduced(shown, head, recipe.texels)
    transfer = trace_transfer(person.vertices_head, head.opaque_triangles)
    sitter = LitHead(head, person, transfer, shown)
    even = sitter.even()
    instances = [_instance(k, recipe, sitter, even, sources) for k in range(unit.first, unit.end)]
    return {"instances": b"".join(instances), "heads": head_record(person, transfer)}


def _instance(index: int, recipe: Recipe, sitter: LitHead, even: F32, sources: Sources) -> bytes:
    rng = np.random.default_rng([recipe.seed, 2, index])
    plan = plan_light(rng, len(recipe.panoramas))
    shot = plan_camera(rng, sitter.centre, recipe.portrait_px)
    surroundings = sources.panorama(plan.panorama) if plan.panorama >= 0 else procedural(plan)
    # Degree 0 is the mean over the sphere: panoramas come in any unit.
    strength = float(np.sqrt(4 * np.pi) / surroundings.radiance_sh[0].mean())
    tint = (strength * np.array(plan.colour)).astype(np.float32)
    light = transferred.sky_light(surroundings, sitter.degree)
    buffer, radiance = sitter.seen_by(shot.camera, light, plan.turn_degrees)
    skin = (buffer.part == 0) & (buffer.mask > 0)
    radiance *= tint
    bright = np.quantile(luminance(radiance[skin]), _BRIGHT_QUANTILE) if skin.any() else 1.0
    exposure = skin_level(shot, sitter.person.meta.mean_albedo_linear) / max(float(bright), 1e-6)
    behind = backdrop(surroundings, shot.camera, plan.turn_degrees) * tint * np.float32(exposure)
    picture = buffer.resolve(radiance * np.float32(exposure), behind)
    portrait = pictures.photo_jpeg(photographed(picture, shot, rng), shot.jpeg_quality)
    step = buffer.supersample
    size = shot.camera.height_px, step, shot.camera.width_px, step
    skin_share = (buffer.part == 0).reshape(size).mean((1, 3)).astype(np.float32)
    seen = pictures.read_photo(portrait)
    partial = unwrapped(
        sitter.head, sitter.person, shot.camera, seen, skin_share, buffer.coverage(), recipe.texels
    )
    t_env = sitter.on_chart(light, shot.camera.centre_head, plan.turn_degrees) * tint * np.float32(exposure)
    turned = harmonics.about_y(2, plan.turn_degrees) @ harmonics.project(surroundings.radiance, 2)
    person, inside = sitter.person, sitter.person.chart.inside
    meta = InstanceMeta(
        schema=SCHEMA,
        index=index,
        person=person.meta,
        camera=camera_meta(shot.camera),
        yaw_degrees=shot.yaw_degrees,
        pitch_degrees=shot.pitch_degrees,
        light=described(plan, surroundings.name, turned * tint, strength),
        exposure=exposure,
        seen_share=float((partial.confidence[inside] > 0.5).mean()),
    )
    members = {
        "portrait.jpg": portrait,
        "t_inc.png": pictures.srgb_png(partial.rgb_linear),
        "t_env.png": pictures.radiance_png(t_env),
        "t_hom.png": pictures.radiance_png(even),
        **pictures.material_pngs(person.materials, partial.confidence, person.meta.displacement_scale_m),
    }
    return record_bytes(f"{index:09d}", "instances", meta, members)


def head_record(person: Person, transfer: Transfer) -> bytes:
    """A posed head with its transfer, to be relit while training."""
    degree = harmonics.degree_of
    meta = HeadMeta(
        schema=SCHEMA,
        person=person.meta,
        degrees=(
            transfer.degree,
            degree(transfer.bounce.shape[1]),
            degree(transfer.visibility.shape[1]),
        ),
    )
    maps = pictures.material_pngs(person.materials, person.bare, person.meta.displacement_scale_m)
    del maps["visibility.png"]
    members = {
        "vertices.npy": pictures.array_bytes(person.vertices_head),
        "direct.npy": pictures.array_bytes(transfer.direct.astype(np.float16)),
        "bounce.npy": pictures.array_bytes(transfer.bounce.astype(np.float16)),
        "visibility.npy": pictures.array_bytes(transfer.visibility.astype(np.float16)),
        **maps,
    }
    return record_bytes(f"head{person.meta.identity:07d}", "heads", meta, members)


def unwrapped(
    head: ParametricHead,
    person: Person,
    camera: Camera,
    portrait: NDArray[np.uint8],
    skin_share: F32,
    coverage: F32,
    texels: int,
) -> PartialUV:
    """The portrait as a reconstruction with a perfect fit would unwrap it.

    ``skin_share``, ``coverage`` ``(H, W)``: of each pixel, what is bare skin and what is the person.
    """
    height, width = portrait.shape[:2]
    nowhere = np.zeros((478, 2), np.float32)
    observation = Observation(
        photo=Photo("portrait", "", portrait.astype(np.float32) / np.float32(255), None, (width, height)),
        faces=(FaceBox(0, 0, width, height, 1.0),),
        face_index=0,
        landmarks_px=nowhere,
        landmarks_depth=nowhere[:, 0],
        landmarks_visible=nowhere[:, 0],
        skin_mask=skin_share,
        person_mask=coverage,
        focal_px=camera.focal_px,
        focal_source="exif",
    )
    none = np.zeros(0, np.float32)
    vertices = person.vertices_head
    fit = HeadFit(
        head=head,
        identity=none,
        expression=none,
        albedo_coefficients=none,
        radiance_sh=np.zeros((9, 3), np.float32),
        camera=camera,
        vertices_head=vertices,
        neutral_head=vertices,
        iris_srgb=np.array(person.iris_srgb, np.float32),
        landmark_error_px=0.0,
        landmark_error_iod=0.0,
        photometric_psnr_db=0.0,
        focal_source="exif",
    )
    return unwrap(observation, fit, texels, Run())


def camera_meta(camera: Camera) -> CameraMeta:
    """As the metadata hold it."""
    rows = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in camera.world_to_camera)
    return CameraMeta(
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        width_px=camera.width_px,
        height_px=camera.height_px,
        world_to_camera=rows,
    )
