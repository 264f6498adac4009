"""Expression, gaze and head pose of one frame: the project's landmark fit on the avatar's own head.

Identity, lids and their combinations are the avatar's and stay; unknown are the pose and 52 weights, and the
focal length once per video.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64
from backend.drive.tracking import Seen
from backend.errors import BadInput
from backend.geometry import face_mesh
from backend.geometry.cover import cover_of
from backend.geometry.expression_prior import (
    GAZE_PAIRS,
    ExpressionPrior,
    couple,
    expression_prior,
    side_pairs,
)
from backend.geometry.landmark_fit import (
    LandmarkProblem,
    image_scale_px,
    initial_state,
)
from backend.geometry.levenberg import minimise
from backend.geometry.options import FitOptions
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState
from backend.geometry.surface import gather
from backend.geometry.terms import PriorTerm, Quadratic, Term
from backend.head.base import ParametricHead
from blender_addon.bundle import Mesh
from blender_addon.drive_file import Part

STEADY_SIGMA = 0.5  # of a weight against the frame before: decides only what landmarks leave open
FIRST_STEPS, STEPS = 30, 8
LEAST_POINTS = 60.0  # sum of the points' importance below which a frame says too little
SIDES = ("Left", "Right")
AGAINST = 10.0  # stiffness of the sum of two weights that undo each other
_ANTAGONISTS = tuple(
    (f"eyeLook{one}{side}", f"eyeLook{other}{side}")
    for one, other in (("Up", "Down"), ("In", "Out"))
    for side in SIDES
)
# A smile, a dimple and a frown pull the same points, and Face Mesh answers the two sides unlike: with less,
# one smile is told as a smile on the right and a deep dimple on the left. A smirk still comes out as one.
LIKE_SIDES = 40.0  # stiffness between the left and right weight of an expression of mouth, cheeks or nose
_LIKE = ("mouth", "cheek", "nose")
EVERY = np.ones(face_mesh.COUNT, bool)
IRIS_POINTS = (range(473, 478), range(468, 473))  # of Face Mesh: left, right
_MOUTH = ("mouth", "jaw", "cheekPuff", "tongue")


class Correction(Protocol):
    """What is known of Face Mesh's errors on a head."""

    def corrected(self, problem: LandmarkProblem, around: FitState) -> LandmarkProblem:
        """``problem`` less the errors in the view ``around``."""
        ...


@dataclass(frozen=True)
class Actor:
    """The avatar's head, ready to be solved for: nothing here changes from frame to frame."""

    head: ParametricHead  # without identity: the mean is the avatar's neutral face
    problem: LandmarkProblem  # without a frame's landmarks
    looks_deg: F64  # (K, 2, 2) what each weight turns the left and the right eye by: yaw, pitch
    bias: Correction | None = None  # of Face Mesh on this avatar, where it was measured

    @property
    def names(self) -> tuple[str, ...]:
        return self.head.expression_names

    def gaze_deg(self, weights: F64) -> F64:
        """Yaw and pitch ``(…, 2, 2)`` of left and right eye for ``weights`` ``(…, K)``."""
        return np.asarray(np.tensordot(weights, self.looks_deg, 1))

    def looks_of(self, side: str) -> NDArray[np.intp]:
        """The expressions that turn the eye of ``side``."""
        own = [k for k, name in enumerate(self.names) if name.startswith("eyeLook") and name.endswith(side)]
        return np.array(own, np.intp)

    def rows_of(self, part: Part) -> NDArray[np.intp]:
        """The expressions that show on ``part``."""
        if part == "face":
            return np.arange(len(self.names))
        if part == "mouth":
            return np.array([k for k, name in enumerate(self.names) if name.startswith(_MOUTH)], np.intp)
        side = SIDES[part == "right eye"]
        own = [k for k, name in enumerate(self.names) if name.startswith("eye") and name.endswith(side)]
        return np.array(own, np.intp)


@dataclass(frozen=True)
class Solved:
    """One frame's answer."""

    state: FitState
    error_iod: float  # mean distance of the trusted points, over the outer eye corners'
    held: tuple[Part, ...]


def actor_of(mesh: Mesh, head: ParametricHead) -> Actor:
    """The avatar with the bundle's ``mesh``, made on ``head``.

    Raises: BadInput where they do not belong together.
    """
    if not np.array_equal(mesh.triangles, head.triangles):
        raise BadInput(
            f"the avatar's mesh is not that of this version's head '{head.name}'; reconstruct it again"
        )
    own = _without_identity(mesh, head)
    rows = np.flatnonzero(head.mediapipe.triangle >= 0)
    options = FitOptions()
    believed = expression_prior(own.expression_names, options)
    none = np.zeros(len(rows))
    problem = LandmarkProblem(
        rows=rows,
        points=gather(own, head.mediapipe.triangle[rows], head.mediapipe.barycentric[rows]),
        observed_px=np.zeros((len(rows), 2)),
        depth_px=none,
        visible=none,
        importance=np.clip(head.mediapipe.trust[rows].astype(np.float64), 0, 1),
        tangents=np.zeros((len(rows), 2)),
        on_outline=np.isin(rows, face_mesh.FACE_OVAL),
        principal_px=(0.0, 0.0),
        outline=None,
        silhouette=None,
        cover=cover_of(own),
        iris=None,
        prior=PriorTerm(
            log_focal=0.0,
            log_focal_sigma=options.focal_sigma_estimated,
            identity_sigma=options.identity_sigma,
            expression=_of_films(believed, own.expression_names),
        ),
        options=options,
    )
    return Actor(own, problem, _looks(mesh))


def _of_films(believed: ExpressionPrior, names: tuple[str, ...]) -> ExpressionPrior:
    """``believed``, but that no eye looks two ways at once and both sides of the mouth do much the same."""
    stiffness = believed.stiffness.copy()
    for up, down in _ANTAGONISTS:
        if up in names and down in names:
            pair = [names.index(up), names.index(down)]
            stiffness[np.ix_(pair, pair)] += AGAINST
    row = {name: k for k, name in enumerate(names)}
    for left, right in side_pairs(names):
        if left.startswith(_LIKE):
            couple(stiffness, row, left, right, LIKE_SIDES)
    return ExpressionPrior(believed.linear, stiffness)


def _without_identity(mesh: Mesh, head: ParametricHead) -> ParametricHead:
    count = len(mesh.vertices_neutral_head)
    dense = np.zeros((len(mesh.expression_names), count, 3), np.float32)
    for e in range(len(dense)):
        vertex, offset = mesh.expressions.rows(e)
        dense[e, vertex] = offset
    return replace(
        head,
        mean_vertices=mesh.vertices_neutral_head,
        identity_basis=np.zeros((0, count, 3), np.float32),
        expression_names=mesh.expression_names,
        expression_basis=dense,
        correctives=mesh.correctives,
        eye_centres=mesh.eye_centres_head,
    )


def _looks(mesh: Mesh) -> F64:
    """How far every expression at weight 1 turns the eyeballs, degrees (Kabsch on their vertices)."""
    out = np.zeros((len(mesh.expression_names), 2, 2))
    gazes = {name for pair in GAZE_PAIRS for name in pair}
    for side, part in enumerate(("eye_left", "eye_right")):
        if part not in mesh.part_names:
            continue
        own = np.unique(mesh.triangles[mesh.quad_part[mesh.triangle_quad] == mesh.part_names.index(part)])
        rest = mesh.vertices_neutral_head[own].astype(np.float64)
        for e, name in enumerate(mesh.expression_names):
            if name not in gazes or not name.endswith(SIDES[side]):
                continue
            moved = np.zeros((len(mesh.vertices_neutral_head), 3))
            vertex, offset = mesh.expressions.rows(e)
            moved[vertex] = offset
            turned = rest + moved[own]
            u, _, vt = np.linalg.svd((turned - turned.mean(0)).T @ (rest - rest.mean(0)))
            ahead = (u * [1, 1, np.sign(np.linalg.det(u @ vt))] @ vt)[:, 2]
            out[e, side] = np.degrees([np.arctan2(ahead[0], ahead[2]), np.arcsin(np.clip(ahead[1], -1, 1))])
    return out


@dataclass(frozen=True)
class SteadyTerm:
    """``½ |δ − δ₀|² / σ²``: what landmarks leave open stays as it was."""

    before: F64  # (K,)

    def cost(self, state: FitState) -> float:
        d = (state.expression - self.before) / STEADY_SIGMA
        return 0.5 * float(d @ d)

    def model(self, state: FitState) -> Quadratic:
        gradient, hessian = np.zeros(state.size), np.zeros((state.size, state.size))
        own = np.arange(SHAPE + len(state.identity), state.size)
        gradient[own] = (state.expression - self.before) / STEADY_SIGMA**2
        hessian[own, own] = STEADY_SIGMA**-2
        return Quadratic(self.cost(state), gradient, hessian)


def problem_of(
    actor: Actor, seen: Seen, size: tuple[int, int], log_focal: float, openness: F64
) -> LandmarkProblem | None:
    """One frame of ``size`` (width, height) to be solved; None where it shows too few points.

    ``openness`` ``(2,)`` in [0, 1] says how far the irises of the left and right eye can be believed.
    """
    landmarks = seen.landmarks
    points = landmarks.points_px.astype(np.float64)
    base = actor.problem
    rows = base.rows
    visible = np.clip(landmarks.visible.astype(np.float64)[rows], 0, 1)
    tangents = np.tile([1.0, 0.0], (face_mesh.COUNT, 1))
    tangents[list(face_mesh.FACE_OVAL)] = face_mesh.oval_tangents(points)
    importance = base.importance * visible
    for iris, share in zip(IRIS_POINTS, openness, strict=True):
        importance = np.where(np.isin(rows, iris), importance * share, importance)
    if float(importance.sum()) < LEAST_POINTS:
        return None
    return replace(
        base,
        observed_px=points[rows],
        depth_px=landmarks.depth_px.astype(np.float64)[rows],
        visible=visible,
        importance=importance,
        tangents=tangents[rows],
        principal_px=(size[0] / 2, size[1] / 2),
        prior=replace(base.prior, log_focal=log_focal),
    )


def solve(
    actor: Actor,
    problem: LandmarkProblem,
    hidden: tuple[Part, ...],
    openness: F64,
    before: FitState | None,
    free_focal: bool = False,
) -> Solved:
    """The frame of ``problem``, from the state ``before`` it, or from nothing.

    Weights of ``hidden`` parts stay as they are before, and so does where eyes look that are (nearly) shut.
    """
    if before is None:
        start = initial_state(problem, EVERY, actor.head)
        pose = np.arange(start.size) < LOG_FOCAL
        start = minimise(problem.terms(EVERY, image_scale_px(start), "huber"), start, pose, 15).state
    else:
        start = before
    free = np.ones(start.size, bool)
    free[LOG_FOCAL] = free_focal
    for part in hidden:
        free[SHAPE + actor.rows_of(part)] = False
    for side, share in zip(SIDES, openness, strict=True):
        if share <= 0:
            free[SHAPE + actor.looks_of(side)] = False
    if actor.bias is not None:
        problem = actor.bias.corrected(problem, start)
    terms: list[Term] = [] if before is None else [SteadyTerm(before.expression)]
    # Face Mesh has no outliers but motion: a blink must not be taken for one.
    terms += problem.terms(EVERY, image_scale_px(start), "huber", start)
    state = minimise(terms, start, free, FIRST_STEPS if before is None else STEPS, 1e-4).state
    error = problem.errors_px(state, EVERY)
    return Solved(state, float(error.mean()) / image_scale_px(state) if len(error) else np.inf, hidden)


def hidden_parts(seen: Seen) -> tuple[Part, ...]:
    """What of the face something covers."""
    parts: list[Part] = ["mouth"] if seen.mouth_hidden else []
    names: tuple[Part, Part] = ("left eye", "right eye")
    parts += [name for name, hidden in zip(names, seen.eyes_hidden, strict=True) if hidden]
    return tuple(parts)
