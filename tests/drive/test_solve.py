"""The solve of a frame on landmarks whose expression, gaze and pose are known: projections of the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.artifacts import Run
from backend.drive.solve import Actor, actor_of, problem_of, solve
from backend.drive.take import Tracked, keyframes, solve_all
from backend.drive.tracking import Seen
from backend.errors import BadInput
from backend.geometry.state import FitState, rotation_exp
from backend.geometry.surface import project_only
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.photo.landmarks import Landmarks
from blender_addon.arrays import SparseOffsets
from blender_addon.bundle import Mesh
from blender_addon.drive_file import matrix_of

SIZE = (640, 480)
FOCAL = 720.0
OPEN = np.ones(2)
FACING = np.diag([1.0, -1.0, -1.0])


def mesh_of(head: ParametricHead, identity: np.ndarray) -> Mesh:
    names = [
        "quads",
        "quad_uvs",
        "quad_part",
        "part_names",
        "uvs",
        "triangles",
        "triangle_uvs",
        "triangle_quad",
    ]
    return Mesh(
        vertices_neutral_head=head.shape(identity),
        expression_names=head.expression_names,
        expressions=SparseOffsets.from_dense(head.expression_basis),
        expression_weights=np.zeros(len(head.expression_names), np.float32),
        eye_centres_head=head.eye_centres,
        correctives=head.correctives,
        **{name: getattr(head, name) for name in names},
    )


@pytest.fixture(scope="module")
def head() -> ParametricHead:
    return load_head("open")


@pytest.fixture(scope="module")
def actor(head) -> Actor:
    rng = np.random.default_rng(4)
    return actor_of(mesh_of(head, 0.6 * rng.normal(size=len(head.identity_basis))), head)


def state_of(actor: Actor, weights: dict[str, float], yaw: float = 0.0, pitch: float = 0.0) -> FitState:
    expression = np.array([weights.get(name, 0.0) for name in actor.names])
    turn = rotation_exp(np.array([0.0, np.radians(yaw), 0.0])) @ rotation_exp(
        np.array([-np.radians(pitch), 0, 0])
    )
    pivot = actor.problem.points.mean.mean(0)
    return FitState(
        FACING @ turn, np.array([0.02, -0.01, 0.7]), float(np.log(FOCAL)), np.zeros(0), expression, pivot
    )


def seen_of(actor: Actor, state: FitState, noise_px: float = 0.0, **hidden: object) -> Seen:
    rng = np.random.default_rng(5)
    points = np.zeros((478, 2))
    points[actor.problem.rows] = project_only(actor.problem.points, state, (SIZE[0] / 2, SIZE[1] / 2))
    points += noise_px * rng.normal(size=points.shape)
    depth = np.zeros(478)
    moved = (actor.problem.points.positions(state) - state.pivot) @ state.rotation.T + state.translation
    depth[actor.problem.rows] = (moved[:, 2] - moved[:, 2].mean()) * FOCAL / moved[:, 2]
    landmarks = Landmarks(
        points.astype(np.float32), depth.astype(np.float32), np.ones(478, np.float32), 1.0, 0.0
    )
    return Seen(landmarks, bool(hidden.get("mouth", False)), (False, False))


EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.6},
    {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.6},
    {"mouthSmileLeft": 0.7},  # a smirk stays one
    {"eyeBlinkLeft": 0.9},
    {"browInnerUp": 0.8, "browOuterUpLeft": 0.6, "browOuterUpRight": 0.6},
    {"mouthPucker": 0.8},
    {"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5, "eyeLookUpLeft": 0.4, "eyeLookUpRight": 0.4},
)


@pytest.mark.parametrize("truth", EXPRESSIONS, ids=lambda weights: next(iter(weights)))
def test_known_weights_and_poses_are_found(actor, truth: dict[str, float]) -> None:
    state = state_of(actor, truth, yaw=18.0, pitch=8.0)
    seen = seen_of(actor, state, noise_px=0.2)
    problem = problem_of(actor, seen, SIZE, state.log_focal, OPEN)
    assert problem is not None
    found = solve(actor, problem, (), OPEN, None).state
    angle = np.degrees(np.arccos(np.clip((np.trace(found.rotation @ state.rotation.T) - 1) / 2, -1, 1)))
    assert angle < 1.5
    for name, weight in truth.items():
        assert found.expression[actor.names.index(name)] == pytest.approx(weight, abs=0.2), name
    others = [w for name, w in zip(actor.names, found.expression, strict=True) if name not in truth]
    assert np.mean(others) < 0.03
    np.testing.assert_allclose(actor.gaze_deg(found.expression), actor.gaze_deg(state.expression), atol=3.0)


def test_a_gaze_is_told_in_degrees(actor) -> None:
    """The eyeballs' own turn: looks to the subject's left and up are positive."""
    weights = np.zeros(len(actor.names))
    weights[actor.names.index("eyeLookOutLeft")] = 0.5
    weights[actor.names.index("eyeLookUpRight")] = 1.0
    left, right = actor.gaze_deg(weights)
    assert left[0] == pytest.approx(14.0, abs=1.0)
    assert left[1] == pytest.approx(0.0, abs=0.5)
    assert right[1] == pytest.approx(25.0, abs=1.0)


def test_what_is_hidden_stays_as_it_was(actor) -> None:
    """A covered mouth keeps its weights although its landmarks say otherwise; the brows go on."""
    before = state_of(actor, {"jawOpen": 0.5})
    now = state_of(actor, {"mouthPucker": 0.9, "browInnerUp": 0.8})
    seen = seen_of(actor, now, mouth=True)
    problem = problem_of(actor, seen, SIZE, now.log_focal, OPEN)
    found = solve(actor, problem, ("mouth",), OPEN, before).state.expression
    assert found[actor.names.index("jawOpen")] == 0.5
    assert found[actor.names.index("mouthPucker")] == 0.0
    assert found[actor.names.index("browInnerUp")] > 0.4


def test_shut_eyes_keep_their_gaze(actor) -> None:
    before = state_of(actor, {"eyeLookOutLeft": 0.4})
    seen = seen_of(actor, state_of(actor, {"eyeBlinkLeft": 1.0, "eyeLookDownLeft": 0.8}))
    problem = problem_of(actor, seen, SIZE, before.log_focal, np.array([0.0, 1.0]))
    found = solve(actor, problem, (), np.array([0.0, 1.0]), before).state.expression
    assert found[actor.names.index("eyeLookOutLeft")] == 0.4
    assert found[actor.names.index("eyeLookDownLeft")] == 0.0
    assert found[actor.names.index("eyeBlinkLeft")] > 0.6


def test_a_lost_face_is_held_and_marked(actor) -> None:
    """Ten frames with a gap of three: the take goes on, says where, and eases back."""
    names = {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}
    states = [state_of(actor, names, yaw=2.0 * k) for k in range(10)]
    seen = [seen_of(actor, state) for state in states]
    lost = tuple(None if k in (4, 5, 6) else one for k, one in enumerate(seen))
    tracked = Tracked(lost, np.arange(10) / 10, SIZE)
    solved, focal = solve_all(actor, tracked, Run())
    assert 0.5 * FOCAL < focal < 2 * FOCAL
    frames = keyframes(actor, tracked, solved)
    assert [frame.held for frame in frames] == [("face",) if k in (4, 5, 6) else () for k in range(10)]
    smile = [frame.weights[actor.names.index("mouthSmileLeft")] for frame in frames]
    assert min(smile) > 0.3
    yaws = [np.degrees(np.arctan2(*(matrix_of(f.rotation) @ [0, 0, 1])[[0, 2]])) for f in frames]
    assert (np.diff(yaws) > -1.0).all()
    assert yaws[-1] == pytest.approx(18.0, abs=4.0)


def test_faces_that_show_too_little_are_refused(actor) -> None:
    seen = seen_of(actor, state_of(actor, {}))
    blind = replace(seen, landmarks=replace(seen.landmarks, visible=np.zeros(478, np.float32)))
    assert problem_of(actor, blind, SIZE, 6.0, OPEN) is None
    with pytest.raises(BadInput, match="enough of the face"):
        solve_all(actor, Tracked((blind,), np.zeros(1), SIZE), Run())


def test_another_topology_is_refused(head) -> None:
    mesh = mesh_of(head, np.zeros(3))
    with pytest.raises(BadInput, match="reconstruct it again"):
        actor_of(replace(mesh, triangles=mesh.triangles[:-1]), head)
