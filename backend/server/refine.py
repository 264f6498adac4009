"""A finished avatar's head solved again with pins, at once: no photo, no maps, only the bundle.

The same solve as the job's ``pins`` stage (``backend.geometry.pins``), from the fit that the bundle
records, so what is shown while dragging is what the corrected job gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.artifacts import F32, Camera
from backend.corrections import PINS_ARE_EMBEDDED, Pin
from backend.errors import BadInput
from backend.geometry.pins import PinProblem, pin_problem, solve_pins
from backend.head.lid_motion import person_vertices
from backend.head.registry import load_head
from blender_addon.bundle import MANIFEST_NAME, CameraRecord, read_manifest
from blender_addon.landmarks import Landmarks, read_landmarks

TRUSTED = 0.25  # least trust of a landmark that counts in the reported error


@dataclass(frozen=True)
class Refined:
    """A head that follows its pins."""

    neutral: F32  # (V, 3) head space, metres
    expressed: F32  # (V, 3) as photographed
    landmarks_px: F32  # (478, 2) solved, pixels of the camera's picture
    landmark_error_px: float  # mean distance of trusted landmarks to where they were seen or pinned


def refine(directory: Path, head: str, pins: tuple[Pin, ...]) -> Refined:
    """Solve the avatar in ``directory``, made with the head called ``head``, with ``pins``.

    Raises: BundleError (no such avatar, or one without what this needs), BadInput (pins, head).
    """
    manifest = directory / MANIFEST_NAME
    problem, seen = _problem(directory, head, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    state = solve_pins(problem, pins)
    identity, expression = state.identity.astype(np.float32), state.expression.astype(np.float32)
    neutral, expressed = person_vertices(problem.head, identity, expression)
    camera = state.camera(problem.camera.width_px, problem.camera.height_px)
    points = problem.head.mediapipe.positions(expressed, problem.head.triangles)
    solved = seen.solved_px.copy()
    solved[problem.rows] = camera.project(points[problem.rows])[0]
    wanted, trust = seen.observed_px.astype(np.float64), seen.trust.copy()
    for pin in pins:
        wanted[pin.landmark] = pin.x_px, pin.y_px
        trust[pin.landmark] = 1.0
    error = np.linalg.norm(solved - wanted, axis=1)[trust >= TRUSTED]
    return Refined(
        neutral=neutral,
        expressed=expressed,
        landmarks_px=solved,
        landmark_error_px=float(error.mean()) if len(error) else 0.0,
    )


@lru_cache(maxsize=2)
def _problem(directory: Path, head: str, changed: int) -> tuple[PinProblem, Landmarks]:
    """Read once per avatar: while a pin is dragged only the solve is repeated."""
    manifest = read_manifest(directory)
    if manifest.engine == "marcus":
        raise BadInput(PINS_ARE_EMBEDDED)
    seen = read_landmarks(directory)
    model = load_head(head)
    own = tuple(manifest.expression) == model.expression_names
    if manifest.identity is None or len(manifest.identity) != len(model.identity_basis) or not own:
        raise BadInput(
            f"'{directory.name}' was not made with the head '{head}' or keeps no coefficients; "
            "reconstruct it again"
        )
    problem = pin_problem(
        model,
        _camera(manifest.camera),
        np.array(manifest.identity, np.float32),
        np.array(list(manifest.expression.values()), np.float32),
        seen.trust,
    )
    return problem, seen


def _camera(record: CameraRecord) -> Camera:
    return Camera(
        focal_px=record.focal_px,
        principal_px=record.principal_px,
        width_px=record.width_px,
        height_px=record.height_px,
        world_to_camera=np.array(record.world_to_camera, np.float64),
    )
