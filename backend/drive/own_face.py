"""What stays the same through a video: focal length, how wide the eyes open, the driver's own face."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backend.artifacts import F64, Run
from backend.drive.solve import IRIS_POINTS, Actor, Solved, hidden_parts, problem_of, solve
from backend.drive.tracking import Seen
from backend.errors import BadInput
from backend.geometry.landmark_fit import eye_openings, image_scale_px
from backend.geometry.surface import project

KEY_FRAMES = 24
ROUNDS = 2
OWN_SIGMA_M = 0.003  # how far a point of the driver's face lies from the avatar's
POINT_SIGMA = 0.01  # of a landmark, over the image scale
SHUT, OPEN = 0.5, 0.7  # of the usual opening: the iris is hidden; it is whole


@dataclass(frozen=True)
class Steady:
    """What was learned from the key frames."""

    actor: Actor  # its points moved to the driver's
    log_focal: float
    usual_opening: F64  # (2,) lid opening over eye width: left, right

    def openness(self, seen: Seen) -> F64:
        """How far each iris shows ``(2,)``, in [0, 1]."""
        opening = np.array(eye_openings(seen.landmarks.points_px.astype(np.float64)))
        return np.asarray(np.clip((opening / self.usual_opening - SHUT) / (OPEN - SHUT), 0, 1))


def learn(
    actor: Actor, seen: tuple[Seen | None, ...], size: tuple[int, int], guess: float, run: Run, stage: str
) -> Steady:
    """Learn from frames spread over the video; ``guess`` is the logarithm of the focal length in pixels.

    Raises: BadInput where no frame shows enough of the face, Cancelled.
    """
    every = [one for one in seen if one is not None]
    openings = np.array([eye_openings(one.landmarks.points_px.astype(np.float64)) for one in every])
    steady = Steady(actor, guess, np.maximum(np.median(openings, axis=0), 0.05))
    usable = [
        one
        for one in every
        if not hidden_parts(one) and problem_of(actor, one, size, guess, np.ones(2)) is not None
    ] or [one for one in every if problem_of(actor, one, size, guess, np.ones(2)) is not None]
    if not usable:
        raise BadInput("no frame shows enough of the face to solve its expression; film it from the front")
    wide = [one for one in usable if steady.openness(one).min() > 0.9] or usable
    keys = [wide[round(k)] for k in np.linspace(0, len(wide) - 1, min(KEY_FRAMES, len(wide)))]

    answers: list[Solved | None] = [None] * len(keys)
    for turn in range(ROUNDS):
        for k, one in enumerate(keys):
            run.progress(stage, 0.2 * (turn + k / len(keys)) / ROUNDS)
            open_ = steady.openness(one)
            problem = problem_of(steady.actor, one, size, steady.log_focal, open_)
            before = answers[k]
            if problem is None:
                continue
            found = before or solve(steady.actor, problem, hidden_parts(one), open_, None)
            answers[k] = solve(
                steady.actor, problem, hidden_parts(one), open_, found.state, free_focal=turn == 0
            )
        solved = [(one, answer) for one, answer in zip(keys, answers, strict=True) if answer is not None]
        if turn == 0:
            log_focal = float(np.median([answer.state.log_focal for _, answer in solved]))
            answers = [
                None if a is None else replace(a, state=replace(a.state, log_focal=log_focal))
                for a in answers
            ]
            steady = replace(steady, log_focal=log_focal)
        steady = replace(steady, actor=_with_own_face(actor, steady, solved, size))
    return steady


def _with_own_face(
    actor: Actor, steady: Steady, solved: list[tuple[Seen, Solved]], size: tuple[int, int]
) -> Actor:
    """``actor`` with its points at rest where the driver has them: the mean of what frames leave over.

    Each point's offset in head space is a ridge regression over the frames, from all sides that they show.
    """
    count = len(actor.problem.rows)
    normal = np.broadcast_to(np.eye(3) / OWN_SIGMA_M**2, (count, 3, 3)).copy()
    right = np.zeros((count, 3))
    for one, answer in solved:
        state = answer.state
        problem = problem_of(actor, one, size, steady.log_focal, steady.openness(one))
        if problem is None:
            continue
        if actor.bias is not None:
            problem = actor.bias.corrected(problem, state)
        at = project(problem.points, state, problem.principal_px)
        by_offset = at.jacobian[:, :, 3:6] @ state.rotation
        weight = problem.importance / (POINT_SIGMA * image_scale_px(state)) ** 2
        normal += weight[:, None, None] * np.einsum("nij,nik->njk", by_offset, by_offset)
        right += weight[:, None] * np.einsum("nij,ni->nj", by_offset, problem.observed_px - at.pixels)
    own = np.linalg.solve(normal, right[..., None])[..., 0]
    own[np.isin(actor.problem.rows, [p for iris in IRIS_POINTS for p in iris])] = 0.0  # gaze is theirs alone
    points = replace(actor.problem.points, mean=actor.problem.points.mean + own)
    return replace(actor, problem=replace(actor.problem, points=points))
