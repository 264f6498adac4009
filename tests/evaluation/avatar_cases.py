"""Avatars of the open head with chosen maps, and truth views made without the code under test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from synthetic_avatar import make_reconstruction

from backend.artifacts import Camera, Materials
from backend.evaluation.cases import Case, read_case
from backend.evaluation.prediction import Prediction, read_prediction
from backend.evaluation.registration import record_of
from backend.export.bundle_writer import write_bundle
from backend.head.registry import load_head
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera

TEXELS = 200


def camera_at(yaw_degrees: float, width: int = 150, height: int = 200) -> Camera:
    """A camera that looks at the face of the open head from ``yaw_degrees`` to its left."""
    head = load_head("open")
    centre = head.mean_vertices[head.regions["face"] > 0.5].mean(0)
    yaw = np.radians(yaw_degrees)
    outward = np.array([np.sin(yaw), 0, np.cos(yaw)])
    right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
    turn = np.stack([right, [0, -1, 0], -outward])
    pose = np.c_[turn, -turn @ (centre + 1.0 * outward)]
    return Camera(3.4 * width, (width * 0.51, height * 0.48), width, height, pose)


def plain_materials(**changes: np.ndarray) -> Materials:
    """Even maps, with those of ``changes`` in their place."""
    f = np.float32
    up = np.zeros((TEXELS, TEXELS, 3), f)
    up[..., 2] = 1
    even = Materials(
        albedo_linear=np.full((TEXELS, TEXELS, 3), 0.3, f),
        normal_tangent=up,
        roughness=np.full((TEXELS, TEXELS), 0.5, f),
        specular=np.full((TEXELS, TEXELS), 0.4, f),
        displacement_m=np.zeros((TEXELS, TEXELS), f),
    )
    return replace(even, **changes)


def make_prediction(
    folder: Path,
    materials: Materials | None = None,
    *,
    camera: Camera | None = None,
    identity: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
) -> Prediction:
    """An avatar folder of the open head, read as a prediction."""
    head = load_head("open")
    made = make_reconstruction(
        head,
        size=TEXELS,
        camera=camera or camera_at(0.0),
        materials=materials or plain_materials(),
        expression={},
    )
    coefficients = np.zeros(len(head.identity_basis), np.float32) if identity is None else identity
    vertices = head.shape(coefficients)
    fit = replace(made.fit, identity=coefficients, vertices_head=vertices, neutral_head=vertices)
    believed = made.partial.confidence if confidence is None else confidence
    made = replace(made, fit=fit, partial=replace(made.partial, confidence=believed.astype(np.float32)))
    return read_prediction("made up", write_bundle(made, folder))


def uv_map(colour: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A map ``(S, S, 3)`` of a function of UV ``(..., 2)``."""
    line = (np.arange(TEXELS) + 0.5) / TEXELS
    u, v = np.meshgrid(line, 1 - line)
    return colour(np.stack([u, v], -1)).astype(np.float32)


def make_case(folder: Path, cameras: dict[str, Camera], **options: object) -> Case:
    """A case whose truth is the open head; see ``write_truth``."""
    return write_truth(folder, load_head("open").mean_vertices.astype(np.float64), cameras, **options)


def write_truth(
    folder: Path,
    vertices: np.ndarray,
    cameras: dict[str, Camera],
    *,
    albedo: Callable[[np.ndarray], np.ndarray],
    constants: dict[str, float] | None = None,
    occluder: Callable[[np.ndarray], np.ndarray] | None = None,
    **record: object,
) -> Case:
    """A case whose truth is the open head with ``vertices`` ``(V, 3)``, seen by ``cameras`` by view name.

    ``albedo`` is a function of UV; ``constants`` are scalar buffers; ``occluder`` a mask of pixels (x, y).
    """
    head = load_head("open")
    for name, camera in cameras.items():
        view = folder / "truth" / "views" / name
        view.mkdir(parents=True)
        (view / "camera.json").write_bytes(msgspec.json.encode(record_of(camera)))
        drawn = rasterise_camera(vertices, head.triangles, camera)
        skin = drawn.covered & (head.triangle_part[drawn.triangle] == 0)
        face = drawn.interpolate(head.regions["face"][:, None].astype(np.float32), head.triangles)[..., 0]
        normal = drawn.interpolate(vertex_normals(vertices, head.triangles), head.triangles)
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
        y, x = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
        covered = np.zeros(skin.shape, bool) if occluder is None else occluder(np.stack([x, y], -1))
        shape = skin.shape
        np.savez(
            view / "buffers.npz",
            albedo_linear=albedo(drawn.interpolate(head.uvs, head.triangle_uvs)).astype(np.float16),
            normal_head=normal.astype(np.float32),
            skin_mask=skin.astype(np.uint8),
            face_mask=(skin & (face > 0.5)).astype(np.uint8),
            occluder_mask=covered.astype(np.uint8),
            **{k: np.full(shape, v, np.float32) for k, v in (constants or {}).items()},
        )
    points = head.mediapipe.positions(vertices, head.triangles)
    np.savez(folder / "truth" / "landmarks.npz", points478_head=points)
    from PIL import Image

    camera = next(iter(cameras.values()))
    Image.fromarray(np.full((camera.height_px, camera.width_px, 3), 120, np.uint8)).save(folder / "photo.png")
    text = {
        "schema": 1,
        "id": folder.name,
        "group": "front",
        "photo": {"file": "photo.png", "width_px": camera.width_px, "height_px": camera.height_px},
        "provenance": {"made_by": "a test"},
    }
    (folder / "case.json").write_text(json.dumps(text | record))
    return read_case(folder)
