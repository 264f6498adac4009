"""A multi-view set of made-up people, drawn in a moment: plain colours by part and side, no light traced."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from synthetic_set import light, person

from backend.artifacts import F32
from backend.head.base import ParametricHead
from backend.training import pictures
from backend.training.schema import (
    FORMAT,
    MANIFEST_NAME,
    SCHEMA,
    SHARD_FOLDER,
    Manifest,
    MomentMeta,
    Recipe,
    Shard,
    Split,
    ViewMeta,
)
from backend.training.shards import END, record_bytes
from backend.uvspace.chart import chart_maps
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera
from synthdata.run.unit import camera_meta
from synthdata.views.dome import DomeCamera, dome_cameras

PIXELS, TEXELS, CAMERAS = 64, 64, 3
SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.4}


def write_dome_set(folder: Path, head: ParametricHead, train: int = 2, val: int = 1) -> Path:
    """``train`` and ``val`` people in two expressions before three cameras."""
    (folder / SHARD_FOLDER).mkdir(parents=True)
    counts: dict[Split, int] = {"train": train, "val": val}
    shards, first = [], 0
    for split, people in counts.items():
        if not people:
            continue
        identities = tuple(range(first, first + people))
        records = [_moment(head, i, 2 * i + k) for i in identities for k in range(2)]
        name = f"{split}-moments-000000.tar"
        data = b"".join(records) + END
        (folder / SHARD_FOLDER / name).write_bytes(data)
        shards.append(
            Shard(
                name=name,
                kind="moments",
                split=split,
                records=len(records),
                identities=identities,
                bytes=len(data),
                sha256="",
            )
        )
        first += people
    recipe = Recipe(
        preset="fica",
        count=2 * first,
        seed=0,
        instances_per_person=2,
        persons_per_shard=9,
        texels=TEXELS,
        portrait_px=PIXELS,
        cameras=CAMERAS,
        panoramas=(),
        head_sha256="",
        versions={},
    )
    manifest = Manifest(
        format=FORMAT,
        schema=SCHEMA,
        recipe=recipe,
        licences=(),
        skipped=(),
        shards=tuple(shards),
        complete=True,
    )
    (folder / MANIFEST_NAME).write_bytes(msgspec.json.encode(manifest))
    return folder


def skin_colour(identity: int) -> F32:
    return np.array([0.75, 0.55, 0.45], np.float32) * (1 - 0.15 * (identity % 3))


def _moment(head: ParametricHead, identity: int, index: int) -> bytes:
    coefficients = np.random.default_rng(identity).normal(0, 0.7, 12)
    weights = SMILE if index % 2 else {}
    values = np.array([weights.get(n, 0.0) for n in head.expression_names])
    vertices = head.shape(coefficients, values)
    chart = chart_maps(head, vertices, TEXELS)
    flat = np.broadcast_to(skin_colour(identity) ** 2.2, (TEXELS, TEXELS, 3)).astype(np.float32)
    members = {
        "texture.png": pictures.srgb_png(flat),
        "shaded.png": pictures.srgb_png(flat),
        "inside.png": pictures.label_png(chart.inside.astype(np.uint8)),
        "position.png": pictures.position_png(chart.position_head),
    }
    views = []
    for number, one in enumerate(dome_cameras(CAMERAS, np.array([0.0, 0.0, 0.02]), PIXELS)):
        picture, parts = _drawn(head, vertices, one, identity)
        members[f"view{number:03d}.jpg"] = pictures.photo_jpeg(picture, 95)
        members[f"view{number:03d}.parts.png"] = pictures.label_png(parts)
        views.append(
            ViewMeta(
                camera=camera_meta(one.camera),
                yaw_degrees=one.yaw_degrees,
                pitch_degrees=one.pitch_degrees,
                seen_share=float((parts > 0).mean()),
            )
        )
    whose = msgspec.structs.replace(
        person(identity),
        identity=identity,
        identity_coefficients=tuple(map(float, coefficients)),
        expression=weights,
    )
    meta = MomentMeta(
        schema=SCHEMA,
        index=index,
        person=whose,
        gaze_degrees=((0.0, 0.0), (0.0, 0.0)),
        views=tuple(views),
        light=light(),
        exposure=1.0,
        parts=head.part_names,
    )
    return record_bytes(f"{index:09d}", "moments", meta, members)


def _drawn(
    head: ParametricHead, vertices: F32, one: DomeCamera, identity: int
) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    drawn = rasterise_camera(vertices, head.opaque_triangles, one.camera)
    normal = drawn.interpolate(vertex_normals(vertices, head.triangles), head.triangles)
    lit = 0.75 + 0.25 * normal[..., 2:].clip(-1, 1)
    part = head.triangle_part[np.maximum(drawn.triangle, 0)]
    colour = np.where((part == 0)[..., None], skin_colour(identity), np.float32(0.8)) * lit
    picture = np.where(drawn.covered[..., None], colour, 0.3)
    return (picture * 255).astype(np.uint8), np.where(drawn.covered, part + 1, 0).astype(np.uint8)
