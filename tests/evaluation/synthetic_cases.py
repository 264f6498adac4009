"""Small truths with known answers, and case folders made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from backend.evaluation.keypoints import COUNT, key_points
from backend.evaluation.realy import Shape
from backend.head.registry import load_head


def grid(size_m: float = 0.04, count: int = 41) -> tuple[np.ndarray, np.ndarray]:
    """A flat square in z = 0 about the origin, facing +Z: vertices and triangles."""
    line = np.linspace(-size_m / 2, size_m / 2, count)
    x, y = np.meshgrid(line, line)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(count * count)], axis=1)
    i, j = np.meshgrid(np.arange(count - 1), np.arange(count - 1))
    a = (j * count + i).ravel()
    b, c, d = a + 1, a + count, a + count + 1
    return vertices, np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def points_at(places: dict[int, tuple[float, float, float]]) -> np.ndarray:
    """Key points, unknown but for ``places``."""
    points = np.full((COUNT, 3), np.nan)
    for row, place in places.items():
        points[row] = place
    return points


def open_shape(vertices: np.ndarray) -> Shape:
    """The skin of the open head with these vertices."""
    head = load_head("open")
    skin = head.triangles[head.triangle_part == 0].astype(np.int64)
    v = np.asarray(vertices, np.float64)
    return Shape(v, skin, key_points(head.mediapipe.positions(v, head.triangles)))


def somebody(seed: int = 1) -> np.ndarray:
    """The vertices of a random person on the open head."""
    head = load_head("open")
    return head.shape(0.8 * np.random.default_rng(seed).normal(size=len(head.identity_basis)))


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """A rotation by Euler angles in radians."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", [x, y, z]).as_matrix()


def write_case(
    folder: Path,
    case_id: str,
    *,
    vertices: np.ndarray | None = None,
    neutral: np.ndarray | None = None,
    landmarks: bool = True,
    **changes: object,
) -> Path:
    """A case folder: a grey photo and, where ``vertices`` of the open head are given, its skin as truth."""
    case = folder / case_id
    (case / "truth").mkdir(parents=True)
    Image.fromarray(np.full((48, 64, 3), 120, np.uint8)).save(case / "photo.png")
    record: dict[str, object] = {
        "schema": 1,
        "id": case_id,
        "group": "front",
        "photo": {"file": "photo.png", "width_px": 64, "height_px": 48},
        "provenance": {"made_by": "a test"},
    }
    (case / "case.json").write_text(json.dumps(record | changes))
    if vertices is not None:
        head = load_head("open")
        arrays = {"vertices_head": vertices, "triangles": head.triangles}
        arrays["triangle_is_skin"] = (head.triangle_part == 0).astype(np.uint8)
        if neutral is not None:
            arrays["vertices_neutral_head"] = neutral
        np.savez(case / "truth" / "mesh.npz", **arrays)
        if landmarks:
            points = head.mediapipe.positions(vertices, head.triangles)
            np.savez(case / "truth" / "landmarks.npz", points478_head=points)
    return case
