"""Measure how Face Mesh errs on the open head, for ``backend/geometry/landmark_errors.py``.

    python -m synthdata.landmark_errors --data DATA [--heads 300] -o face_mesh_errors.safetensors

Random identities of the shipped head with a smooth asymmetric warp, expressions, MakeHuman's skins, turned
by up to 50°, 0.33 to 2 m away, lit by the panoramas of ``DATA/hdri``, are drawn by our own shader; Face Mesh
looks at them as at a photograph. What it sees less where the points are is split into a mean that depends
on the view, smooth fields (factor analysis) and what is left of each point by itself. The evaluation cases
take no part: other heads, other seeds, other lights, another renderer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backend.artifacts import F32, F64, Camera, FaceBox, Photo
from backend.colour import linear_to_srgb
from backend.geometry.landmark_errors import view_terms
from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from backend.photo.landmarks import face_landmarks
from backend.photo.mediapipe_graphs import FaceNetworks
from backend.shading.environment import Environment, read_hdr
from backend.shading.parts import looks
from backend.shading.relight import relight
from backend.shading.shadows import cast
from backend.uvspace.render import Look, TexturedHead
from synthdata.cases.case_set import HEADS, HeadPlan, plan_heads
from synthdata.cases.heads import warp
from synthdata.cases.morphs import prepared
from synthdata.cases.skins import make_skin
from synthdata.headmodel.landmarks import mirror_landmarks
from synthdata.headmodel.preview import look_at

SEED = 991
SKIN_SEED = 777  # not the evaluation set's
SKINS = 12
SIZE = 352  # pixels of a picture's side: Face Mesh looks at 192
IMAGE_SCALE_M = 0.09  # as in backend.geometry.landmark_fit
FIELDS = 32
FRONTAL, TURNED = 0.35, 0.3  # |yaw| in radians below and above which the two sets of fields are measured
MOST_ERROR = 0.09  # mean error over the image scale above which the network saw another face
LEAST_SIGMA = 0.0012
_EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4},
    {"browInnerUp": 0.6, "browOuterUpLeft": 0.4, "browOuterUpRight": 0.4},
    {"browDownLeft": 0.6, "browDownRight": 0.6},
    {"mouthPucker": 0.5},
    {"jawOpen": 0.25},
    {"eyeSquintLeft": 0.5, "eyeSquintRight": 0.5},
    {"mouthFrownLeft": 0.4, "mouthFrownRight": 0.4},
    {"eyeBlinkLeft": 0.3, "eyeBlinkRight": 0.3},
    {"mouthPressLeft": 0.4, "mouthPressRight": 0.4},
    {},
)


@dataclass(frozen=True)
class Sighting:
    """Face Mesh's error on one picture."""

    error: F64  # (478, 2) over the image scale
    yaw: float  # radians, as backend.geometry.state.yaw_degrees counts it
    pitch: float
    near: float  # 1 / metres

    def mirrored(self, mirror: NDArray[np.intp]) -> Sighting:
        return Sighting(self.error[mirror] * [-1.0, 1.0], -self.yaw, self.pitch, self.near)


def sightings(data: Path, material: Path, count: int) -> Iterator[Sighting]:
    """Draw and look at ``count`` heads; those that Face Mesh does not see are left out."""
    head = load_open_head()
    skins = list(_skins(head, data, material))
    lights = [read_hdr(path) for path in sorted((data / "hdri").glob("*.hdr"))]
    with FaceNetworks() as networks:
        for index in range(count):
            rng = np.random.default_rng([SEED, index])
            found = _look(head, skins, lights, networks, rng)
            if found is not None:
                yield found


def _skins(head: ParametricHead, data: Path, material: Path) -> Iterator[tuple[Look, HeadPlan]]:
    made = prepared(data, material)
    for plan in plan_heads(min(SKINS, HEADS), SKIN_SEED):
        skin = make_skin(plan, head, head.mean_vertices, made)
        maps = skin.materials
        yield (
            {
                "albedo_linear": maps.albedo_linear,
                "normal_tangent": skin.relief_tangent,
                "roughness": maps.roughness,
                "specular": maps.specular,
            },
            plan,
        )


def _look(
    head: ParametricHead,
    skins: list[tuple[Look, HeadPlan]],
    lights: list[Environment],
    networks: FaceNetworks,
    rng: np.random.Generator,
) -> Sighting | None:
    vertices = _person(head, rng)
    yaw = rng.normal() * 7 if rng.random() < 0.5 else rng.uniform(-50, 50)
    distance = float(np.exp(rng.uniform(np.log(0.33), np.log(2.0))))
    target = (0.0, float(rng.normal() * 0.01), 0.03)
    frame = 0.30 + 0.06 * rng.random()
    camera = look_at(target, float(yaw), float(rng.normal() * 6 + 2), distance, frame, SIZE)
    light = lights[rng.integers(len(lights))].rotated(float(rng.uniform(0, 360))).exposed()
    maps, plan = skins[rng.integers(len(skins))]
    picture = _picture(head, vertices, maps, plan, light, camera, rng)

    points = head.mediapipe.positions(vertices, head.triangles).astype(np.float64)
    pixels, depth = camera.project(points)
    low, high = pixels.min(0), pixels.max(0)
    box = FaceBox(float(low[0]), float(low[1]), float(high[0]), float(high[1]), 1.0)
    seen = face_landmarks(Photo("render", "", picture, None, (SIZE, SIZE)), box, networks)
    if seen.presence < 0.5:
        return None
    scale = IMAGE_SCALE_M * camera.focal_px / float(depth[[33, 263]].mean())
    error = (seen.points_px - pixels) / scale
    if float(np.linalg.norm(error, axis=1).mean()) > MOST_ERROR:
        return None
    forward = camera.world_to_camera[:, 2]
    turned = float(np.arctan2(forward[0], -forward[2]))
    return Sighting(error, turned, float(np.arcsin(forward[1])), 1 / float(depth.mean()))


def _person(head: ParametricHead, rng: np.random.Generator) -> F32:
    spread = rng.choice([0.7, 1.0])
    identity = np.tensordot(spread * rng.normal(size=len(head.identity_basis)), head.identity_basis, 1)
    uneven = np.stack([warp(head.mean_vertices, int(rng.integers(1, 2**30))) for _ in range(3)], 1)
    weights = np.zeros(len(head.expression_names))
    for _ in range(rng.integers(0, 3)):
        for name, weight in _EXPRESSIONS[rng.integers(len(_EXPRESSIONS))].items():
            weights[head.expression_names.index(name)] = weight * rng.uniform(0.3, 1.1)
    aside, up = rng.normal(size=2) * 0.12
    for name, weight in (
        *(("eyeLookInLeft", aside), ("eyeLookOutRight", aside), ("eyeLookOutLeft", -aside)),
        *(("eyeLookInRight", -aside), ("eyeLookUpLeft", up), ("eyeLookUpRight", up)),
        *(("eyeLookDownLeft", -up), ("eyeLookDownRight", -up)),
    ):
        weights[head.expression_names.index(name)] = max(weight, 0.0)
    moved = np.tensordot(np.clip(weights, 0, 1), head.expression_basis, 1)
    return np.asarray(head.mean_vertices + identity + uneven + moved, np.float32)


def _picture(
    head: ParametricHead,
    vertices: F32,
    maps: Look,
    plan: HeadPlan,
    light: Environment,
    camera: Camera,
    rng: np.random.Generator,
) -> F32:
    drawn = TexturedHead(head, vertices, maps, looks(head, np.array(plan.iris_srgb))).view(camera, 2)
    shadows = cast(light, vertices, head.opaque_triangles, count=24, size=128)
    lit = relight(drawn, light, drawn.camera, shadows)
    linear = drawn.resolve(lit, rng.uniform(0.02, 0.6, 3).astype(np.float32))
    mean = max(float(linear[drawn.coverage() > 0.9].mean()), 1e-4)
    exposed = np.maximum(linear * rng.uniform(0.15, 0.35) / mean, 0)
    return np.asarray(np.clip(linear_to_srgb(exposed), 0, 1), np.float32)


def measure(found: list[Sighting], mirror: NDArray[np.intp]) -> dict[str, NDArray[np.generic]]:
    """The arrays of the file: ``offset``, ``fields``, ``sigma``, ``mirror``.

    Raises: ValueError where too few faces were seen frontal or turned.
    """
    both = [*found, *(one.mirrored(mirror) for one in found)]
    yaw = np.array([one.yaw for one in both])
    design = np.stack([view_terms(one.yaw, one.pitch, one.near) for one in both])
    errors = np.stack([one.error for one in both])
    n = len(both)
    ridge = 1e-3 * n * np.diag([0.0] + [1.0] * (design.shape[1] - 1))
    offset = np.linalg.solve(design.T @ design + ridge, design.T @ errors.reshape(n, -1)).reshape(-1, 478, 2)
    rest = errors - np.einsum("nb,bij->nij", design, offset)
    parts = [factors(rest[chosen]) for chosen in (np.abs(yaw) < FRONTAL, yaw > TURNED)]
    return {
        "offset": offset.astype(np.float32),
        "fields": np.stack([fields for fields, _ in parts]).astype(np.float16),
        "sigma": np.stack([sigma for _, sigma in parts]).astype(np.float32),
        "mirror": mirror.astype(np.int16),
    }


def factors(errors: F64) -> tuple[F64, F64]:
    """Fields ``(FIELDS, 478, 2)`` and each point's own sigma ``(478,)``: principal-axis factor analysis."""
    if len(errors) < 2 * FIELDS:
        raise ValueError(f"{len(errors)} sightings are too few for {FIELDS} fields; draw more heads")
    flat = errors.reshape(len(errors), -1)
    covariance = flat.T @ flat / len(flat)

    def per_point(variance: F64) -> F64:
        return np.repeat(variance.reshape(478, 2).mean(1), 2)

    own = 0.2 * per_point(np.diag(covariance))
    for _ in range(15):
        root = np.sqrt(own)
        value, vector = np.linalg.eigh(covariance / np.outer(root, root))
        strength = np.sqrt(np.maximum(value[::-1][:FIELDS] - 1, 0))
        fields = vector[:, ::-1][:, :FIELDS] * strength * root[:, None]
        own = np.maximum(per_point(np.diag(covariance) - (fields**2).sum(1)), LEAST_SIGMA**2)
    return fields.T.reshape(FIELDS, 478, 2), np.sqrt(own[::2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of shared data")
    parser.add_argument("--material", type=Path, default=Path("material.npz"), help="made if absent")
    parser.add_argument("--heads", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    found = []
    for one in sightings(options.data, options.material, options.heads):
        found.append(one)
        if len(found) % 50 == 0:
            print(f"{len(found)} of {options.heads}", flush=True)
    head = load_open_head()
    mirror = mirror_landmarks(head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64))
    save_file(
        measure(found, mirror),
        options.output,
        metadata={"format_version": "1", "licence": "GPL-3.0-or-later", "heads": str(len(found))},
    )


if __name__ == "__main__":
    main()
