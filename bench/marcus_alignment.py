"""How far MARCUS' alignment by Face Mesh's five points lies from the one by iBUG's, which its weights expect.

    python bench/marcus_alignment.py

Random people of the open head are seen by random cameras; both fives are their true points, so this is what
the two definitions differ by. Then Face Mesh looks at the rendered portraits of tests/data, whose truth is
known: what seeing adds. All in pixels of the 224² frame (median and 95th percentile) and per cent of scale.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from backend.artifacts import F64, Run
from backend.head.correspondences import points68
from backend.head.registry import load_head
from backend.marcus.geometry import alignment as al
from backend.photo.decode import load_photo
from backend.photo.observe import observe

DATA = Path(__file__).parents[1] / "tests" / "data"
PEOPLE, SIZE = 200, 1000


def difference(ours: F64, theirs: F64, standard: F64, width: int, height: int) -> tuple[float, float]:
    """Of the frame's middle, frame pixels, and of scale, per cent."""
    a, b = (al.align(five, standard, width, height) for five in (ours, theirs))
    middle = np.array([al.FRAME / 2, al.FRAME / 2])
    shift = np.linalg.norm(al.frame_to_photo(middle, a) - al.frame_to_photo(middle, b)) * b.scale
    return float(shift), 100 * abs(a.scale / b.scale - 1)


def told(name: str, found: list[tuple[float, float]]) -> None:
    shift, scale = np.array(found).T
    print(
        f"{name}: {np.median(shift):.2f} px ({np.quantile(shift, 0.95):.2f}), scale {np.median(scale):.2f} % "
        f"({np.quantile(scale, 0.95):.2f})"
    )


def main() -> None:
    head = load_head("open")
    mean = points68(head).positions(head.mean_vertices, head.triangles)
    origin = head.mean_vertices[head.regions["face"] > 0.5].mean(0)
    standard = (al.five_of_ibug(mean) - origin) / al.METRES_PER_UNIT
    rng = np.random.default_rng(0)

    found = []
    for _ in range(PEOPLE):
        vertices = head.shape(rng.standard_normal(len(head.identity_basis)))
        turn = Rotation.from_euler("yxz", rng.normal(0, [20, 8, 8]), degrees=True).as_matrix()
        distance = rng.uniform(0.5, 2.0)

        def seen(points: F64, turn: F64 = turn, distance: float = distance) -> F64:
            p = (points - origin) @ turn.T
            return 0.5 * SIZE + SIZE * 2 * distance * p[:, :2] * [1, -1] / (distance - p[:, 2:])

        mesh = seen(head.mediapipe.positions(vertices, head.triangles))
        ibug = seen(points68(head).positions(vertices, head.triangles))
        fives = al.five_of_face_mesh(mesh.astype(np.float32)), al.five_of_ibug(ibug)
        found.append(difference(*fives, standard, SIZE, SIZE))
    told(f"definitions, {PEOPLE} people", found)

    for name in ("portrait_front", "portrait_turned"):
        observation = observe(load_photo(DATA / f"{name}.jpg", Run()), Run(), None)
        with np.load(DATA / f"{name}_truth.npz", allow_pickle=False) as truth:
            camera = truth["points_head"] @ truth["world_to_camera"][:, :3].T + truth["world_to_camera"][:, 3]
            true = truth["focal_px"] * camera[:, :2] / camera[:, 2:] + truth["principal_px"]
        fives = al.five_of_face_mesh(observation.landmarks_px), al.five_of_face_mesh(true)
        told(
            f"seen in {name}.jpg",
            [difference(*fives, standard, observation.photo.width, observation.photo.height)],
        )


if __name__ == "__main__":
    main()
