"""The landmark fit: pose, focal length, identity and expression from Face Mesh points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F64, Observation
from backend.errors import BadInput
from backend.geometry import face_mesh
from backend.geometry.cover import CoverTerm, cover_of
from backend.geometry.expression_prior import expression_prior
from backend.geometry.face_sight import open_head_sight
from backend.geometry.landmark_errors import (
    CorrelatedTerm,
    LandmarkErrors,
    PixelErrors,
    correlated_term,
    errors_of,
)
from backend.geometry.levenberg import Solution, minimise
from backend.geometry.options import FitOptions
from backend.geometry.outline import Outline, outline_of
from backend.geometry.shape_belief import ShapeTerm
from backend.geometry.silhouette import Silhouette, silhouette_of
from backend.geometry.state import LOG_FOCAL, SHAPE, FitState
from backend.geometry.surface import LinearPoints, gather, project_only
from backend.geometry.teeth import rows_closed
from backend.geometry.terms import IrisTerm, LandmarkTerm, Loss, PriorTerm, Term, rows_used, whitening
from backend.head.base import ParametricHead

IOD_M = 0.09  # outer eye corners of an average adult; only sets noise levels in pixels
MIN_VISIBLE = 0.05  # of a landmark that counts at all
EYE_OPEN_RATIO = 0.12  # lid opening over eye width below which the iris is taken as hidden


@dataclass(frozen=True)
class LandmarkProblem:
    """One face's landmarks, ready to be fitted: gathered basis rows, noise levels, priors."""

    rows: NDArray[np.intp]  # (N,) Face Mesh indices that the head has
    points: LinearPoints  # at ``rows``
    observed_px: F64  # (N, 2)
    depth_px: F64  # (N,) MediaPipe's relative depth
    visible: F64  # (N,) in [0, 1]
    importance: F64  # (N,) trust × visibility, in [0, 1]
    tangents: F64  # (N, 2) of the outline; used where ``on_outline``
    on_outline: NDArray[np.bool_]  # (N,)
    principal_px: tuple[float, float]
    outline: Outline | None
    silhouette: Silhouette | None
    cover: CoverTerm | None
    iris: IrisTerm | None
    prior: PriorTerm
    options: FitOptions
    errors: LandmarkErrors | PixelErrors | None = None  # of Face Mesh; None: independent, by trust
    shape: ShapeTerm | None = None  # what the picture says of the identity

    def landmark_term(self, keep: NDArray[np.bool_], scale_px: float, loss: Loss) -> LandmarkTerm:
        """The reprojection term of the points in ``keep`` ``(478,)``, noise set by ``scale_px`` (the IOD)."""
        o = self.options
        weight = self.importance * keep[self.rows]
        with np.errstate(divide="ignore"):
            sigma = o.landmark_sigma * scale_px / np.sqrt(weight)
        w = whitening(
            sigma,
            np.where(self.on_outline, o.outline_normal_weight, 1.0),
            np.where(self.on_outline, o.outline_tangent_weight, 1.0),
            self.tangents,
        )
        used = rows_used(w)
        return LandmarkTerm(
            self.points.take(used), self.observed_px[used], w[used], self.principal_px, loss, o.robust_width
        )

    def terms(
        self, keep: NDArray[np.bool_], scale_px: float, loss: Loss, around: FitState | None = None
    ) -> list[Term]:
        """Every term of the landmark fit restricted to the points in ``keep`` ``(478,)``.

        The outline is matched and landmark errors are looked up at the state ``around``; without one
        there is no outline, and errors are independent.
        """
        terms: list[Term] = [self._landmarks(keep, scale_px, loss, around), self.prior]
        if self.iris is not None:
            terms.append(self.iris)
        if self.cover is not None:
            terms.append(self.cover)
        if self.shape is not None:
            terms.append(self.shape)
        if self.outline is not None and around is not None:
            o = self.options
            terms.append(self.outline.term(around, keep, scale_px, o.outline_sigma, loss, o.robust_width))
        if self.silhouette is not None and around is not None:
            rim = self.silhouette.term(around, scale_px, self.options.silhouette_sigma)
            if rim is not None:
                terms.append(rim)
        return terms

    def _landmarks(
        self, keep: NDArray[np.bool_], scale_px: float, loss: Loss, around: FitState | None
    ) -> LandmarkTerm | CorrelatedTerm:
        if self.errors is None or around is None:
            return self.landmark_term(keep, scale_px, loss)
        used = np.flatnonzero(keep[self.rows] & (self.visible > MIN_VISIBLE) & (self.importance > 0))
        return correlated_term(
            self.errors.in_photo(around, scale_px),
            self.points.take(used),
            self.rows[used],
            self.observed_px[used],
            self.visible[used],
            scale_px,
            self.principal_px,
            loss,
        )

    def errors_px(self, state: FitState, keep: NDArray[np.bool_]) -> F64:
        """Distances ``(M,)`` of the points in ``keep`` that are visible and trusted, pixels."""
        used = keep[self.rows] & (self.importance >= 0.25)
        r = project_only(self.points, state, self.principal_px) - self.observed_px
        return np.asarray(np.linalg.norm(r[used], axis=1))


def landmark_problem(observation: Observation, head: ParametricHead, options: FitOptions) -> LandmarkProblem:
    """Gather what the fit needs. Raises: BadInput for landmarks that are not finite or all in one place."""
    seen = np.asarray(observation.landmarks_px, np.float64)
    if not np.isfinite(seen).all() or float(np.ptp(seen, axis=0).min()) < 4.0:
        raise BadInput(
            f"{observation.photo.name}: the face's landmarks are degenerate; use a larger or clearer photo."
        )
    rows = np.flatnonzero(head.mediapipe.triangle >= 0)
    trust = head.mediapipe.trust[rows].astype(np.float64)
    visible = np.asarray(observation.landmarks_visible, np.float64)[rows]
    tangents = np.tile([1.0, 0.0], (face_mesh.COUNT, 1))
    tangents[list(face_mesh.FACE_OVAL)] = face_mesh.oval_tangents(seen)
    photo = observation.photo
    principal = (photo.width / 2, photo.height / 2)
    log_focal = float(np.log(observation.focal_px))
    return LandmarkProblem(
        rows=rows,
        points=gather(head, head.mediapipe.triangle[rows], head.mediapipe.barycentric[rows]),
        observed_px=seen[rows],
        depth_px=np.asarray(observation.landmarks_depth, np.float64)[rows],
        visible=np.clip(visible, 0, 1),
        importance=np.clip(trust, 0, 1) * np.clip(visible, 0, 1),
        tangents=tangents[rows],
        on_outline=np.isin(rows, face_mesh.FACE_OVAL),
        principal_px=principal,
        outline=outline_of(observation, head, principal),
        silhouette=silhouette_of(observation, head),
        cover=cover_of(head),
        iris=_iris_term(observation, head, options, principal),
        prior=PriorTerm(
            log_focal=log_focal,
            log_focal_sigma=(
                options.focal_sigma_exif
                if observation.focal_source == "exif"
                else options.focal_sigma_estimated
            ),
            identity_sigma=options.identity_sigma,
            expression=expression_prior(head.expression_names, options, rows_closed(observation)),
        ),
        options=options,
    )


def eye_openings(landmarks_px: F64) -> tuple[float, float]:
    """Lid opening over eye width in the photo: the subject's left and right eye."""
    out = []
    for upper, lower, inner, outer in face_mesh.EYE_OPENING:
        width = float(np.linalg.norm(landmarks_px[inner] - landmarks_px[outer]))
        height = float(np.linalg.norm(landmarks_px[upper] - landmarks_px[lower]))
        out.append(height / max(width, 1e-6))
    return out[0], out[1]


def iris_diameters(landmarks_px: F64) -> tuple[float, float]:
    """Iris diameters in pixels, left and right. Turning foreshortens one axis only: the longer is taken."""
    out = []
    for pairs in face_mesh.IRIS_PAIRS:
        out.append(max(float(np.linalg.norm(landmarks_px[a] - landmarks_px[b])) for a, b in pairs))
    return out[0], out[1]


def _iris_term(
    observation: Observation, head: ParametricHead, options: FitOptions, principal: tuple[float, float]
) -> IrisTerm | None:
    seen = np.asarray(observation.landmarks_px, np.float64)
    visible = observation.landmarks_visible
    corners, sizes = [], []
    for eye in (0, 1):
        corner = face_mesh.OUTER_EYE_CORNERS[eye]
        size = iris_diameters(seen)[eye]
        is_open = eye_openings(seen)[eye] > EYE_OPEN_RATIO
        if is_open and size > 2.0 and visible[corner] > 0.5 and head.mediapipe.triangle[corner] >= 0:
            corners.append(corner)
            sizes.append(size)
    if not corners:
        return None
    # The outer corner lies within a few millimetres of the iris in depth: under 1 % of the distance.
    points = gather(head, head.mediapipe.triangle[corners], head.mediapipe.barycentric[corners])
    return IrisTerm(points, np.array(sizes), options.iris_sigma * np.sqrt(len(sizes)), principal)


def initial_state(problem: LandmarkProblem, keep: NDArray[np.bool_], head: ParametricHead) -> FitState:
    """Mean head, neutral face, pose by similarity alignment to the landmarks with MediaPipe's depth.

    Weighted Umeyama (1991) from head space to (x, y, relative depth) in pixels: its scale is the
    weak-perspective one, hence the distance ``focal / scale``.
    """
    weight = problem.importance * keep[problem.rows] * np.where(problem.on_outline, 0.3, 1.0)
    if float(weight.sum()) < 5.0:
        raise BadInput("too few facial landmarks are visible; use a photo that shows more of the face.")
    weight = weight / weight.sum()
    source = problem.points.mean
    target = np.column_stack([problem.observed_px, problem.depth_px])
    pivot, centre = weight @ source, weight @ target
    a, b = source - pivot, target - centre
    u, s, vt = np.linalg.svd((b * weight[:, None]).T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / (weight @ (a**2).sum(1)))
    if not scale > 0:
        raise BadInput("the face's landmarks do not form a face; use a clearer photo.")
    focal = float(np.exp(problem.prior.log_focal))
    z = focal / scale
    xy = (centre[:2] - np.asarray(problem.principal_px)) * z / focal
    return FitState(
        rotation=rotation,
        translation=np.array([xy[0], xy[1], z]),
        log_focal=problem.prior.log_focal,
        identity=np.zeros(len(head.identity_basis)),
        expression=np.zeros(len(head.expression_basis)),
        pivot=pivot,
    )


def image_scale_px(state: FitState) -> float:
    """Pixels that an average outer-eye-corner distance spans when frontal, at the face's distance."""
    return IOD_M * state.focal_px / float(state.translation[2])


def fit_landmarks(
    problem: LandmarkProblem, keep: NDArray[np.bool_], head: ParametricHead
) -> Solution[FitState]:
    """Coarse to fine on the points in ``keep`` ``(478,)``: pose; then leading identity and expression;
    then everything, robustly. Deterministic."""
    state = initial_state(problem, keep, head)
    leading = np.zeros(state.size, bool)
    leading[:6] = True
    k = SHAPE + len(state.identity)
    state = minimise(problem.terms(keep, image_scale_px(state), "huber"), state, leading, 15).state
    leading[SHAPE : min(SHAPE + 12, k)] = True
    leading[k:] = True
    state = minimise(problem.terms(keep, image_scale_px(state), "huber"), state, leading, 8).state
    scale = image_scale_px(state)
    state = minimise(problem.terms(keep, scale, "huber", state), state, None, 10).state
    state = minimise(problem.terms(keep, scale, "geman_mcclure", state), state, None, 10).state
    return minimise(problem.terms(keep, scale, "geman_mcclure", state), state, None, 15)


def focal_deviation(solution: Solution[FitState]) -> float:
    """Posterior standard deviation of log focal length, all other unknowns free (Laplace)."""
    h = solution.hessian + 1e-9 * np.eye(len(solution.hessian))
    return float(np.sqrt(max(np.linalg.inv(h)[6, 6], 0.0)))


def outer_corner_distance_px(problem: LandmarkProblem, state: FitState, observed_scale: float) -> float:
    """Projected distance of the fitted head's outer eye corners; ``observed_scale`` if it has none."""
    where = [np.flatnonzero(problem.rows == c) for c in face_mesh.OUTER_EYE_CORNERS]
    if any(len(w) == 0 for w in where):
        return observed_scale
    pair = problem.points.take(np.array([int(w[0]) for w in where]))
    p = project_only(pair, state, problem.principal_px)
    return float(np.linalg.norm(p[0] - p[1]))


def measured_problem(observation: Observation, head: ParametricHead, options: FitOptions) -> LandmarkProblem:
    """``landmark_problem`` without the irises of closed eyes and with Face Mesh's errors on ``head``, if
    they were measured; from the face's own picture, where it can be told. Raises: BadInput, Missing."""
    problem = landmark_problem(observation, head, options)
    problem = without_iris_in_closed_eyes(problem, np.asarray(observation.landmarks_px, np.float64))
    errors = errors_of(head)
    if errors is None:
        return problem
    told = open_head_sight().look(
        observation.photo.rgb_srgb, observation.landmarks_px, observation.landmarks_depth
    )
    if told is None:
        return replace(problem, errors=errors)
    # The outline's term follows Face Mesh's points as they are; here they are put right first.
    shape = told[1].term(head, options.shape_weight, options.shape_population)
    return replace(problem, errors=told[0], shape=shape, outline=None)


def aligned(problem: LandmarkProblem, keep: NDArray[np.bool_], state: FitState) -> FitState:
    """``state`` with pose and expression moved so that the landmarks in ``keep`` lie where they were seen.

    What Face Mesh sees is where lids and lips are in the picture, though not what shape they have: the
    identity and the focal length stay.
    """
    free = np.ones(state.size, bool)
    free[LOG_FOCAL : SHAPE + len(state.identity)] = False
    terms = replace(problem, errors=None).terms(keep, image_scale_px(state), "geman_mcclure", state)
    return minimise(terms, state, free, 10).state


def without_iris_in_closed_eyes(problem: LandmarkProblem, landmarks_px: F64) -> LandmarkProblem:
    """The iris points of a closed eye are guesses of the network: leave them out."""
    importance = problem.importance.copy()
    for eye, opening in enumerate(eye_openings(landmarks_px)):
        if opening <= EYE_OPEN_RATIO:
            points = range(473, 478) if eye == 0 else range(468, 473)
            importance[np.isin(problem.rows, list(points))] = 0.0
    return replace(problem, importance=importance)
