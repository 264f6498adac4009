"""Fast small pictures of a person: rasterised, lit by a panorama, spoiled as cameras and files do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.colour import linear_to_srgb
from backend.head.base import ParametricHead
from backend.shading import latlong
from backend.shading.environment import Environment, read_hdr
from backend.shading.parts import (
    EYE_PARTS,
    EYE_ROUGHNESS,
    EYE_SPECULAR,
    eye_albedo,
    iris_coordinates,
    plain_material,
)
from backend.shading.relight import relight
from backend.shading.shadows import cast
from backend.uvspace.chart import unit_or_zero
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from synthdata.cases.glasses import frame_paths
from synthdata.headmodel.preview import look_at
from synthdata.shape_portraits.people import Person

DRAWN_PX = 448
LEAST_PX = 110  # of what is left of it
LIGHT_ROWS = 32  # of panoramas: skin and small pictures see nothing finer
SHADOWS, SHADOW_PX = 10, 80
TARGET_HEAD = (0.0, 0.01, 0.03)


@dataclass(frozen=True)
class Samples:
    """What one camera sees of a head; the fields of ``backend.shading.relight.GBuffer``."""

    position_head: F32
    normal_head: F32
    smooth_normal_head: F32
    albedo_linear: F32
    roughness: F32
    specular: F32
    part: NDArray[np.int16]


class Artist:
    """Draws people of ``head`` under the panoramas of ``data/hdri`` and made-up lamps."""

    def __init__(self, head: ParametricHead, data: Path) -> None:
        self._head = head
        self._iris = iris_coordinates(head)
        self._lights = [
            replace(light, radiance=latlong.shrink(light.radiance, LIGHT_ROWS))
            for light in (read_hdr(path) for path in sorted((data / "hdri").glob("*.hdr")))
        ]
        self._opaque = head.opaque_triangles

    def camera(self, rng: np.random.Generator) -> Camera:
        """A portrait's camera: yaw to ±50°, half of them nearly frontal; 0.33 to 2 m away."""
        yaw = rng.normal() * 7 if rng.random() < 0.5 else rng.uniform(-50, 50)
        distance = float(np.exp(rng.uniform(np.log(0.33), np.log(2.0))))
        target = (
            TARGET_HEAD[0] + rng.normal() * 0.01,
            TARGET_HEAD[1] + rng.normal() * 0.01,
            TARGET_HEAD[2],
        )
        frame = float(rng.uniform(0.27, 0.36))
        camera = look_at(target, float(yaw), float(rng.normal() * 7 + 2), distance, frame, DRAWN_PX)
        roll = np.radians(rng.normal() * 6)
        turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        return replace(camera, world_to_camera=turn @ camera.world_to_camera)

    def draw(self, person: Person, camera: Camera, rng: np.random.Generator) -> F32:
        """The picture ``(DRAWN_PX, DRAWN_PX, 3)``, sRGB, before a camera's and a file's faults."""
        seen = self._samples(person, camera)
        light = self._light(rng)
        shadows = cast(light, person.drawn, self._opaque, count=SHADOWS, size=SHADOW_PX)
        lit = relight(seen, light, camera, shadows)
        face = seen.part == 0
        bright = float(np.quantile(lit[face].mean(-1), 0.9)) if face.any() else 1.0
        exposure = rng.uniform(0.2, 0.9) ** 1.5 / max(bright, 1e-5)
        beside = self._background(light, rng) if rng.random() < 0.8 else rng.uniform(0, 0.9, 3)
        linear = np.where((seen.part >= 0)[..., None], lit * exposure, beside)
        linear = linear * np.exp(rng.normal(0, 0.06, 3))
        picture = np.asarray(linear_to_srgb(np.clip(linear, 0, 1)), np.float32)
        if rng.random() < 0.25:
            self._glasses(picture, person, camera, rng)
        if rng.random() < 0.15:
            _locks(picture, person, camera, self._head, rng)
        return picture

    def _samples(self, person: Person, camera: Camera) -> Samples:
        head = self._head
        drawn = rasterise_camera(person.drawn, self._opaque, camera)
        normals = vertex_normals(person.drawn, head.triangles)
        whole = np.concatenate([person.drawn, normals, person.albedo, self._iris], 1)
        values = drawn.interpolate(whole.astype(np.float32), head.triangles)
        part = np.where(drawn.covered, head.triangle_part[np.maximum(drawn.triangle, 0)], -1).astype(np.int16)
        albedo = np.ascontiguousarray(values[..., 6:9])
        roughness = np.full(part.shape, person.roughness, np.float32)
        specular = np.full(part.shape, person.specular, np.float32)
        for index, name in enumerate(head.part_names[1:], start=1):
            here = part == index
            if not here.any():
                continue
            if name in EYE_PARTS:
                albedo[here] = eye_albedo(values[here][:, 9:11], person.iris_srgb)
                roughness[here], specular[here] = EYE_ROUGHNESS, EYE_SPECULAR
            else:
                albedo[here], roughness[here], specular[here] = plain_material(name)
        normal = unit_or_zero(np.ascontiguousarray(values[..., 3:6]))
        return Samples(
            np.ascontiguousarray(values[..., :3]), normal, normal, albedo, roughness, specular, part
        )

    def _light(self, rng: np.random.Generator) -> Environment:
        light = self._lights[rng.integers(len(self._lights))].rotated(float(rng.uniform(0, 360)))
        radiance = light.radiance / max(float(light.radiance.mean()), 1e-9)
        if rng.random() < 0.5:  # a lamp or a window beside it
            at = rng.normal(size=3) * [1.0, 0.5, 0.7] + [0, 0.3, 0.3]
            at /= np.linalg.norm(at)
            cosine = latlong.directions(LIGHT_ROWS) @ at
            lobe = np.exp((cosine - 1) * np.exp(rng.uniform(np.log(3), np.log(80))))
            lobe *= np.exp(rng.uniform(np.log(0.3), np.log(8))) / max(float(lobe.mean()), 1e-6)
            radiance = radiance + lobe[..., None] * np.exp(rng.normal(0, 0.15, 3))
        elif rng.random() < 0.3:  # an overcast sky
            radiance = radiance + rng.uniform(0.5, 3)
        return Environment("portrait", np.asarray(radiance, np.float32))

    @staticmethod
    def _background(light: Environment, rng: np.random.Generator) -> F32:
        import cv2

        rows, columns = light.radiance.shape[:2]
        turned = np.roll(light.radiance, int(rng.integers(columns)), 1)[
            rows // 4 : 3 * rows // 4, : rows // 2
        ]
        large = cv2.resize(turned, (DRAWN_PX, DRAWN_PX), interpolation=cv2.INTER_CUBIC)
        texture = cv2.resize(
            rng.normal(0, 0.12, (24, 24, 3)).astype(np.float32),
            (DRAWN_PX, DRAWN_PX),
            interpolation=cv2.INTER_LINEAR,
        )
        return np.asarray(np.clip(large, 0, None) * rng.uniform(0.1, 0.8) * np.exp(texture), np.float32)

    def _glasses(self, picture: F32, person: Person, camera: Camera, rng: np.random.Generator) -> None:
        """Frames, and now and then dark lenses, drawn in place."""
        import cv2

        pixels_per_metre = camera.focal_px / float(camera.to_camera(np.zeros(3))[2])
        thick = max(1, round(pixels_per_metre * rng.uniform(0.001, 0.004)))
        colour = tuple(float(c) for c in rng.uniform(0, 0.6, 3) ** 2)
        dark = rng.random() < 0.25
        for path, closed in frame_paths(self._head, person.vertices):
            line = np.round(camera.project(path)[0] * 16).astype(np.int32)
            if closed:
                tinted = picture.copy()
                cv2.fillPoly(tinted, [line], colour, cv2.LINE_AA, 4)
                share = rng.uniform(0.5, 0.95) if dark else rng.uniform(0, 0.12)
                picture += share * (tinted - picture)
            cv2.polylines(picture, [line], closed, colour, thick, cv2.LINE_AA, 4)


def _locks(
    picture: F32, person: Person, camera: Camera, head: ParametricHead, rng: np.random.Generator
) -> None:
    """Strands, a hand or a scarf over parts of the face's border, drawn in place."""
    import cv2

    points = camera.project(head.mediapipe.positions(person.vertices, head.triangles))[0]
    low, high = points.min(0), points.max(0)
    size = float((high - low).max())
    colour = tuple(float(c) for c in rng.uniform(0.02, 0.8) * np.array([1, 0.8, 0.65]) ** rng.uniform(0, 2))
    start = low + rng.uniform(0, 1, 2) * (high - low)
    border = int(rng.integers(3))
    start[0 if border < 2 else 1] = (low[0], high[0], high[1])[border]
    for _ in range(int(rng.integers(1, 12))):
        bend = start + rng.normal(0, 0.12, (3, 2)) * size
        t = np.linspace(0, 1, 12)[:, None]
        curve = (1 - t) ** 2 * bend[0] + 2 * t * (1 - t) * bend[1] + t**2 * bend[2]
        shade = tuple(c * float(rng.uniform(0.6, 1.3)) for c in colour)
        width = max(1, round(size * float(rng.choice([0.01, 0.03, 0.1]))))
        cv2.polylines(picture, [np.round(curve * 16).astype(np.int32)], False, shade, width, cv2.LINE_AA, 4)
    np.clip(picture, 0, 1, out=picture)


def spoiled(picture_srgb: F32, rng: np.random.Generator) -> F32:
    """The picture at another size, blurred, noisy, compressed."""
    import cv2

    smaller = int(np.exp(rng.uniform(np.log(LEAST_PX), np.log(DRAWN_PX))))
    size = DRAWN_PX if rng.random() < 0.5 else smaller
    out = cv2.resize(picture_srgb, (size, size), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 1.3))
    out = np.clip(out, 0, 1) ** rng.uniform(0.8, 1.25)
    out = out + rng.normal(0, rng.uniform(0, 0.03), out.shape) * rng.uniform(0, 1)
    levels = np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        levels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(levels, np.float32) / np.float32(255)
