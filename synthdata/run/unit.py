"""One identity in its lights: trace, relight, photograph, unwrap, pack. No Blender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Camera, FaceBox, HeadFit, Observation, PartialUV, Photo, Run
from backend.colour import luminance
from backend.head.base import ParametricHead
from backend.shading import harmonics, latlong, parts, transferred
from backend.shading.environment import Environment
from backend.shading.transfer import Transfer
from backend.training import pictures
from backend.training.schema import SCHEMA, CameraMeta, HeadMeta, InstanceMeta, Recipe
from backend.training.shards import record_bytes
from backend.uvspace.buffers import RasterBuffers
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from backend.uvspace.render import GBuffer, TexturedHead
from backend.uvspace.seams import dilate
from backend.uvspace.unwrap import unwrap
from synthdata.light.plan import LightPlan, described, plan_light, procedural
from synthdata.run.camera import photographed, plan_camera
from synthdata.run.people import Person, make_person
from synthdata.run.plan import Unit
from synthdata.transfer.trace import trace_transfer

Panoramas = Callable[[int], Environment]
_BRIGHT_QUANTILE = 0.95
_IRIS_TEXELS = 128
_PAD_TEXELS = 8
_BACKDROP_LEVEL = 2  # of the prefiltered panorama: surroundings out of focus


@dataclass(frozen=True)
class MadeUnit:
    """Records of a unit, joined as they go into the shards."""

    instances: bytes
    heads: bytes


def make_unit(unit: Unit, recipe: Recipe, head: ParametricHead, panoramas: Panoramas) -> MadeUnit:
    """Everything random follows from the recipe's seed and the numbers of identity and instance."""
    person = make_person(head, unit.identity, recipe.seed, recipe.texels)
    transfer = trace_transfer(person.vertices_head, head.opaque_triangles)
    sitter = _Sitter(head, person, transfer)
    instances = [_instance(index, recipe, sitter, panoramas) for index in range(unit.first, unit.end)]
    return MadeUnit(b"".join(instances), _head_record(person, transfer))


class _Sitter:
    """What all pictures of a person share."""

    def __init__(self, head: ParametricHead, person: Person, transfer: Transfer) -> None:
        self.head, self.person = head, person
        skin = np.array(person.meta.mean_albedo_linear)
        normals = vertex_normals(person.vertices_head, head.triangles)
        self.degree = transfer.degree
        self.light = transferred.head_light(transfer, person.vertices_head, normals, skin)
        self.texels = transferred.chart_surface(person.chart, head.triangles, person.materials)
        looks = parts.looks(head, np.array(person.iris_srgb), _IRIS_TEXELS)
        maps = {
            "albedo_linear": person.materials.albedo_linear,
            "normal_tangent": person.materials.normal_tangent,
            "roughness": person.materials.roughness,
            "specular": person.materials.specular,
        }
        self.drawn = TexturedHead(head, person.vertices_head, maps, looks)
        face = (head.regions["face"] > 0.5) & (head.mean_vertices[:, 2] > 0)
        self.centre: F64 = person.vertices_head[face].astype(np.float64).mean(0) - (0, 0.01, 0.02)
        self.even = self.on_chart(transferred.white_light(self.degree), None, 0.0)

    def on_chart(self, light: transferred.SkyLight, eye: F64 | None, turn_degrees: float) -> F32:
        """Radiance of the chart ``(S, S, 3)``, dilated beyond its border."""
        inside = self.person.chart.inside
        out = np.zeros((*inside.shape, 3), np.float32)
        place = None if eye is None else torch.as_tensor(eye, dtype=torch.float32)
        with torch.inference_mode():
            out[inside] = transferred.shade(self.texels, self.light, light, place, turn_degrees).numpy()
        return dilate(out, inside, _PAD_TEXELS)


def _instance(index: int, recipe: Recipe, sitter: _Sitter, panoramas: Panoramas) -> bytes:
    rng = np.random.default_rng([recipe.seed, 2, index])
    plan = plan_light(rng, len(recipe.panoramas))
    shot = plan_camera(rng, sitter.centre, recipe.portrait_px)
    surroundings = panoramas(plan.panorama) if plan.panorama >= 0 else procedural(plan)
    # Degree 0 is the mean over the sphere: panoramas come in any unit.
    strength = float(np.sqrt(4 * np.pi) / surroundings.radiance_sh[0].mean())
    tint = (strength * np.array(plan.colour)).astype(np.float32)
    light = transferred.sky_light(surroundings, sitter.degree)
    buffer, radiance = _portrait_light(sitter, shot.camera, light, plan)
    skin = (buffer.part == 0) & (buffer.mask > 0)
    radiance *= tint
    bright = np.quantile(luminance(radiance[skin]), _BRIGHT_QUANTILE) if skin.any() else 1.0
    exposure = shot.bright_skin / max(float(bright), 1e-6)
    backdrop = _backdrop(surroundings, shot.camera, plan.turn_degrees) * tint * np.float32(exposure)
    picture = buffer.resolve(radiance * np.float32(exposure), backdrop)
    portrait = pictures.photo_jpeg(photographed(picture, shot, rng), shot.jpeg_quality)
    partial = _unwrapped(sitter, shot.camera, pictures.read_photo(portrait), buffer, recipe.texels)
    t_env = sitter.on_chart(light, shot.camera.centre_head, plan.turn_degrees) * tint * np.float32(exposure)
    turned = harmonics.about_y(2, plan.turn_degrees) @ harmonics.project(surroundings.radiance, 2)
    person, inside = sitter.person, sitter.person.chart.inside
    meta = InstanceMeta(
        schema=SCHEMA,
        index=index,
        person=person.meta,
        camera=_camera_meta(shot.camera),
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
        "t_hom.png": pictures.radiance_png(sitter.even),
        **pictures.material_pngs(person.materials, partial.confidence, person.meta.displacement_scale_m),
    }
    return record_bytes(f"{index:09d}", "instances", meta, members)


def _head_record(person: Person, transfer: Transfer) -> bytes:
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


def _portrait_light(
    sitter: _Sitter,
    camera: Camera,
    light: transferred.SkyLight,
    plan: LightPlan,
) -> tuple[GBuffer, F32]:
    """The view and its samples' radiance ``(h, w, 3)``, 0 beside the head."""
    buffer = sitter.drawn.view(camera)
    head, vertices = sitter.head, sitter.person.vertices_head
    raster = rasterise_camera(vertices, head.opaque_triangles, buffer.camera)
    surface, at = _pixels(buffer, raster, head.triangles)
    eye = torch.as_tensor(camera.centre_head, dtype=torch.float32)
    out = np.zeros((buffer.part.size, 3), np.float32)
    with torch.inference_mode():
        out[at] = transferred.shade(surface, sitter.light, light, eye, plan.turn_degrees).numpy()
    return buffer, out.reshape(*buffer.part.shape, 3)


def _pixels(
    buffer: GBuffer, raster: RasterBuffers, triangles: NDArray[np.int32]
) -> tuple[transferred.Surface, NDArray[np.intp]]:
    at = np.flatnonzero(raster.covered.ravel())
    corners = triangles[raster.triangle.ravel()[at]].astype(np.int64)
    values = (
        raster.barycentric.reshape(-1, 3),
        buffer.position_head.reshape(-1, 3),
        buffer.normal_head.reshape(-1, 3),
        buffer.smooth_normal_head.reshape(-1, 3),
        buffer.albedo_linear.reshape(-1, 3),
        buffer.roughness.ravel(),
        buffer.specular.ravel(),
    )
    return transferred.Surface(torch.as_tensor(corners), *(torch.as_tensor(v[at]) for v in values)), at


def _backdrop(surroundings: Environment, camera: Camera, turn_degrees: float) -> F32:
    """What the camera sees around the head ``(H, W, 3)``, out of focus."""
    x, y = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    cx, cy = camera.principal_px
    rays = np.stack([(x - cx) / camera.focal_px, (y - cy) / camera.focal_px, np.ones_like(x)], -1)
    along = rays @ camera.world_to_camera[:, :3]
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    blurred = latlong.rotate(surroundings.prefiltered.specular[_BACKDROP_LEVEL], turn_degrees)
    return latlong.sample(blurred, along)


def _unwrapped(
    sitter: _Sitter, camera: Camera, portrait: NDArray[np.uint8], buffer: GBuffer, texels: int
) -> PartialUV:
    """The portrait as a reconstruction with a perfect fit would unwrap it."""
    height, width = portrait.shape[:2]
    coverage = buffer.coverage()
    step = buffer.supersample
    skin = (buffer.part == 0).reshape(height, step, width, step).mean((1, 3)).astype(np.float32)
    nowhere = np.zeros((478, 2), np.float32)
    observation = Observation(
        photo=Photo("portrait", "", portrait.astype(np.float32) / np.float32(255), None, (width, height)),
        faces=(FaceBox(0, 0, width, height, 1.0),),
        face_index=0,
        landmarks_px=nowhere,
        landmarks_depth=nowhere[:, 0],
        landmarks_visible=nowhere[:, 0],
        skin_mask=skin,
        person_mask=coverage,
        focal_px=camera.focal_px,
        focal_source="exif",
    )
    none = np.zeros(0, np.float32)
    vertices = sitter.person.vertices_head
    fit = HeadFit(
        head=sitter.head,
        identity=none,
        expression=none,
        albedo_coefficients=none,
        radiance_sh=np.zeros((9, 3), np.float32),
        camera=camera,
        vertices_head=vertices,
        neutral_head=vertices,
        iris_srgb=np.array(sitter.person.iris_srgb, np.float32),
        landmark_error_px=0.0,
        landmark_error_iod=0.0,
        photometric_psnr_db=0.0,
        focal_source="exif",
    )
    return unwrap(observation, fit, texels, Run())


def _camera_meta(camera: Camera) -> CameraMeta:
    rows = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in camera.world_to_camera)
    return CameraMeta(
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        width_px=camera.width_px,
        height_px=camera.height_px,
        world_to_camera=rows,
    )
