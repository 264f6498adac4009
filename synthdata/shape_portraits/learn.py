"""Learn from drawn portraits what ``backend/geometry/face_sight.py`` reads off a photo.

    python -m synthdata.shape_portraits.learn PORTRAITS --head open_eval.safetensors -o face_sight.safetensors

``--head`` is the one that the portraits were drawn of. All is ridge regression in closed form; what is left
of errors and shapes is measured on folds that took no part. The same portraits give the same file.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from backend.artifacts import F32, F64
from backend.geometry.face_patch import PATCH_PX
from backend.geometry.face_sight import FaceSight, Regression, ViewSight, to_arrays
from backend.geometry.gradient_histograms import describe, mirrored
from backend.geometry.shape_belief import ShapeFields, similarity_fields
from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from synthdata.headmodel.landmarks import mirror_landmarks
from synthdata.landmark_errors import factors
from synthdata.shape_portraits.sightings import face_rows, layout_of

COEFFICIENTS = 60  # of a face's shape
POINT_AXES, PICTURE_AXES = 160, 800  # principal components that the regressions read
ERROR_AXES = 90  # principal components of the points' errors that are told
RIDGE = 1000.0
FOLDS = 5
SHRUNK = 0.1  # share of the shapes' covariance that is taken to be its diagonal
LOST = 0.25  # mean error in the level frame above which Face Mesh saw another face
FRONTAL_YAW, TURNED_YAW = 0.3, 0.2  # radians up to and from which a view's own examples count fully
OTHER_SHARE = 0.12  # weight of the others, which steady it
MIRROR = np.array([-1.0, 1.0], np.float32)


@dataclass(frozen=True)
class Examples:
    """N portraits, followed by their mirror images."""

    points: F32  # (2N, 478·3) level
    features: F32  # (2N, D)
    error: F32  # (2N, 478·2) of the points, level
    offset_m: F32  # (2N, F·3) of the neutral face from the mean head's
    yaw: F32  # (2N,) radians
    fold: NDArray[np.intp]  # (2N,) the same for both of a pair

    def __len__(self) -> int:
        return len(self.yaw)


def read_examples(folder: Path, mirror: NDArray[np.intp], mirror_face: NDArray[np.intp]) -> Examples:
    """All shards of ``folder``. Raises: ValueError where there is none."""
    files = sorted(folder.glob("portraits_*.npz"))
    if not files:
        raise ValueError(f"'{folder}' holds no portraits; draw them with synthdata.shape_portraits.make")
    names = ("points", "true", "offset_m", "yaw")
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*names, "features")}
    for file in files:
        with np.load(file, allow_pickle=False) as stored:
            for name in names:
                found[name].append(stored[name].astype(np.float32))
            found["features"].append(describe(stored["patch"]))
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    error = whole["points"][:, :, :2] - whole["true"]
    seen = np.linalg.norm(error, axis=2).mean(1) < LOST
    points, offset, error = whole["points"][seen], whole["offset_m"][seen], error[seen]
    features, yaw = whole["features"][seen], whole["yaw"][seen]
    flip = np.array([-1, 1, 1], np.float32)

    def both(given: F32, other: F32) -> F32:
        return np.concatenate([given, other]).reshape(2 * len(given), -1)

    return Examples(
        points=both(points, points[:, mirror] * flip),
        features=both(features, mirrored(features, PATCH_PX)),
        error=both(error, error[:, mirror] * MIRROR),
        offset_m=both(offset, offset[:, mirror_face] * flip),
        yaw=np.concatenate([yaw, -yaw]),
        fold=np.tile(np.arange(len(yaw)) % FOLDS, 2),
    )


@dataclass(frozen=True)
class Whitened:
    """Principal components with variance 1."""

    mean: F64  # (D,)
    axes: F64  # (D, K)

    def __call__(self, values: F32) -> F32:
        return np.asarray((values - self.mean.astype(np.float32)) @ self.axes.astype(np.float32))


def whitened(values: F32, count: int) -> Whitened:
    mean, value, vector = principal(values, count)
    return Whitened(mean, vector / np.sqrt(value))


def principal(values: F32, count: int) -> tuple[F64, F64, F64]:
    """Mean ``(D,)``, variances ``(K,)`` and axes ``(D, K)`` of ``values`` ``(N, D)``, weakest first."""
    mean = values.mean(0)
    centred = values - mean
    value, vector = np.linalg.eigh((centred.T @ centred / len(values)).astype(np.float64))
    return mean.astype(np.float64), value[-count:], vector[:, -count:]


class Learner:
    """Regressions from one set of examples."""

    def __init__(self, head: ParametricHead, examples: Examples, rows: NDArray[np.int32]) -> None:
        self.examples = examples
        self.points, self.picture = (
            whitened(examples.points, POINT_AXES),
            whitened(examples.features, PICTURE_AXES),
        )
        self.heard = np.concatenate([self.points(examples.points), self.picture(examples.features)], 1)
        self.fields, self.coefficients = shapes_of(head, examples.offset_m, rows)

    def view(self, weight: F64, own: NDArray[np.bool_]) -> ViewSight:
        """The regressions of the examples by ``weight`` ``(2N,)``; what is left is measured on ``own``."""
        examples = self.examples
        _, _, axes = principal(examples.error[own], ERROR_AXES)
        told = (examples.error @ axes.astype(np.float32)).astype(np.float64)
        errors, shapes = self.by_others(weight, own)
        rest = (examples.error - errors)[own].astype(np.float64)
        off = (self.coefficients - shapes)[own]
        report("errors of the points [% of the eyes' distance]", examples, examples.error[own], rest)
        fields, sigma = factors(rest.reshape(len(rest), 478, 2))
        covariance = off.T @ off / len(off)
        bias, middle = weighted_mean(examples.error, weight), weighted_mean(self.coefficients, weight)
        return ViewSight(
            errors=self._regression(self._ridge(told - bias @ axes, weight), bias, axes.T),
            error_fields=fields,
            error_sigma=sigma,
            shape=self._regression(
                self._ridge(self.coefficients - middle, weight), middle, np.eye(len(middle))
            ),
            shape_covariance=(1 - SHRUNK) * covariance + SHRUNK * np.diag(np.diag(covariance)),
        )

    def by_others(self, weight: F64, own: NDArray[np.bool_]) -> tuple[F32, F64]:
        """Errors ``(2N, 478·2)`` and coefficients ``(2N, C)`` as regressions tell them that did not learn
        from the example's fold; as in ``view``."""
        examples = self.examples
        _, _, axes = principal(examples.error[own], ERROR_AXES)
        told = (examples.error @ axes.astype(np.float32)).astype(np.float64)
        errors, shapes = np.zeros_like(examples.error), np.zeros_like(self.coefficients)
        for fold in range(FOLDS):
            asked = examples.fold == fold
            given = weight * ~asked
            bias = weighted_mean(examples.error, given)
            errors[asked] = bias + self.heard[asked] @ self._ridge(told - bias @ axes, given) @ axes.T
            middle = weighted_mean(self.coefficients, given)
            shapes[asked] = middle + self.heard[asked] @ self._ridge(self.coefficients - middle, given)
        return errors, shapes

    def _ridge(self, target: F64, weight: F64) -> F64:
        """``(K, R)`` weights from what is heard to ``target`` ``(2N, R)``."""
        scaled = self.heard * weight.astype(np.float32)[:, None]
        gram = (scaled.T @ self.heard).astype(np.float64) + RIDGE * np.eye(self.heard.shape[1])
        return np.asarray(np.linalg.solve(gram, (scaled.T @ target.astype(np.float32)).astype(np.float64)))

    def _regression(self, weights: F64, bias: F64, axes: F64) -> Regression:
        """The same on the points and features themselves."""
        n = self.points.axes.shape[1]
        direct = np.concatenate([self.points.axes @ weights[:n], self.picture.axes @ weights[n:]])
        mean = np.concatenate([self.points.mean, self.picture.mean])
        return Regression(bias - (mean @ direct) @ axes, direct, axes)

    def yaw(self) -> F64:
        """``(478·3 + 1,)``: yaw in radians from the level points."""
        n = self.points.axes.shape[1]
        heard = np.concatenate([self.heard[:, :n], np.ones((len(self.heard), 1), np.float32)], 1).astype(
            np.float64
        )
        weights = np.linalg.lstsq(heard, self.examples.yaw.astype(np.float64), rcond=None)[0]
        direct = self.points.axes @ weights[:-1]
        return np.append(direct, weights[-1] - self.points.mean @ direct)


def weighted_mean(values: NDArray[np.floating[Any]], weight: F64) -> F64:
    return np.asarray(weight @ values / weight.sum())


def shapes_of(head: ParametricHead, offset_m: F32, rows: NDArray[np.int32]) -> tuple[ShapeFields, F64]:
    """The fields that the faces differ by, apart from similarities, and each face's coefficients."""
    face = head.mean_vertices[rows].astype(np.float64)
    same = similarity_fields(face).astype(np.float32)
    offset = offset_m - (offset_m @ same) @ same.T
    mean, value, axes = principal(offset, COEFFICIENTS)
    fields = (axes * np.sqrt(value)).T.reshape(COEFFICIENTS, len(rows), 3)
    coefficients = (offset - mean.astype(np.float32)) @ (axes / np.sqrt(value)).astype(np.float32)
    return ShapeFields(rows.astype(np.intp), face + mean.reshape(-1, 3), fields), coefficients.astype(
        np.float64
    )


def report(what: str, examples: Examples, before: F32, left: F64) -> None:
    eyes = examples.points.reshape(-1, 478, 3)[:, [33, 263], :2]
    unit = float(np.median(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1))) / 100

    def size(error: NDArray[np.floating[Any]]) -> float:
        return float(np.sqrt((error.reshape(-1, 478, 2) ** 2).sum(2).mean())) / unit

    print(f"{what}: {size(before - before.mean(0)):.2f} about their mean, {size(left):.2f} left", flush=True)


def learn(head: ParametricHead, folder: Path) -> FaceSight:
    """What the portraits of ``folder``, drawn of ``head``, teach."""
    rows = face_rows(head)
    place = np.full(len(head.mean_vertices), -1)
    place[rows] = np.arange(len(rows))
    mirror_face = place[head.mirror_vertex[rows]]
    mirror = mirror_landmarks(head.mediapipe.positions(head.mean_vertices, head.triangles).astype(np.float64))
    examples = read_examples(folder, mirror, mirror_face)
    print(f"{len(examples) // 2} portraits", flush=True)
    learner = Learner(head, examples, rows)
    yaw = np.asarray(examples.yaw, np.float64)
    frontal, turned = np.abs(yaw) < FRONTAL_YAW, yaw > TURNED_YAW
    views = tuple(learner.view(np.where(own, 1.0, OTHER_SHARE), own) for own in (frontal, turned))
    fields = learner.fields
    flat = fields.fields_m.reshape(COEFFICIENTS, -1)
    seen_back = (fields.fields_m[:, mirror_face] * [-1, 1, 1]).reshape(COEFFICIENTS, -1)
    return FaceSight(
        layout=layout_of(head),
        mirror=mirror,
        yaw=learner.yaw(),
        views=(views[0], views[1]),
        fields=fields,
        shape_mirror=(flat / (flat**2).sum(1, keepdims=True)) @ seen_back.T,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--head", type=Path, help="the head that was drawn (default: as shipped)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    save_file(
        {
            name: np.ascontiguousarray(a)
            for name, a in to_arrays(learn(load_open_head(options.head), options.portraits)).items()
        },
        options.output,
        metadata={"format_version": "1", "licence": "GPL-3.0-or-later"},
    )


if __name__ == "__main__":
    main()
