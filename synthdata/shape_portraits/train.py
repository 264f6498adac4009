"""Train the network of ``backend/geometry/second_look.py`` on drawn portraits; stopped, it goes on.

    python -m synthdata.shape_portraits.train PORTRAITS --head open_eval.safetensors --state STATE
        -o face_second_look.safetensors

``PORTRAITS`` are others than those that ``learn`` was given (``make --first``), of the same ``--head``.
``--begin-with`` takes up the weights of such a file: its learning goes on, on portraits that it has not seen,
or what it leaves would be measured on what it learned from.
One portrait in ten is never trained on; what the network leaves of errors and shapes is measured there.
The same portraits give the same file on one machine.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from backend.artifacts import F32, F64
from backend.geometry.face_patch import PatchLayout
from backend.geometry.face_sight import BOTH_BELOW, FRONTAL_TO_TURNED, regressions
from backend.geometry.flat_slopes import point_places, slopes
from backend.geometry.second_look import (
    GLANCES,
    Heard,
    Left,
    SecondLook,
    Whitening,
    from_arrays,
    sharper,
    to_arrays,
)
from backend.geometry.sight_network import seen
from backend.head.open_head import load_open_head
from synthdata.landmark_errors import FIELDS, factors
from synthdata.shape_portraits import lesson as lessons
from synthdata.shape_portraits.crops import FlatFace
from synthdata.shape_portraits.learn import SHRUNK, principal
from synthdata.shape_portraits.lesson import Lesson
from synthdata.shape_portraits.network import Shape, TrainedSight, adopt, exported
from synthdata.shape_portraits.sightings import layout_of
from synthdata.shape_portraits.spoil import spoil

POINT_AXES, TOLD_AXES, LEFT_AXES = 160, 90, 100
HELD_OUT = 10  # one in so many
BATCH = 32
RATE, DECAY, WARM = 1.5e-3, 0.05, 0.15
RATE_GOING_ON = 0.7e-3  # of a course that begins with a file's weights
CALIBRATED_BY = 256  # examples that set its normalisations
MOST_MOVED = (1.8, 0.5)  # amplitude of the points' random movement, in the first epoch and at the end
AGAIN, MOVED_AGAIN = 0.3, 0.6  # share of batches laid flat by a first glance; of the movement then
STEEPNESS, FLAT = 1.6, 0.02  # of the root that a face's errors count by
SHAPE, ACROSS = 1.5, 0.7  # how often the shape counts; of that, what shows across the surface
KEEP_EVERY = 4  # epochs


@dataclass(frozen=True)
class Course:
    """A lesson as tensors: 2N examples, the second half mirror images of the first."""

    crop: Tensor  # (N, c, c) uint8
    box: Tensor  # (2N, 3)
    points: Tensor  # (2N, 478, 2)
    told: Tensor  # (2N, 478, 2) errors that the regressions told
    heard: Tensor  # (2N, D)
    left: Tensor  # (2N, 478, 2) errors that are left
    shape_left: Tensor  # (2N, C)

    def crops(self, index: Tensor) -> Tensor:
        """``(B, c, c)`` grey pictures, 0–255."""
        count = len(self.crop)
        out = self.crop[index % count].float()
        flipped = index >= count
        out[flipped] = out[flipped].flip(-1)
        return out


def heard_by(lesson: Lesson, own: NDArray[np.bool_]) -> tuple[Heard, F32]:
    """What is heard, and axes ``(A, 956)`` of the errors that are left, with amplitudes of variance 1; by the
    ``own`` ``(N,)`` of the examples."""

    def whitening(values: F32, count: int) -> Whitening:
        mean, variance, axes = principal(values, min(count, len(values) - 1))
        return Whitening(mean.astype(np.float32), (axes / np.sqrt(variance)).astype(np.float32))

    left = (lesson.error - lesson.told_error)[own]
    _, variance, axes = principal(left, min(LEFT_AXES, len(left) - 1))
    heard = Heard(
        whitening(lesson.points[own], POINT_AXES),
        whitening(lesson.told_error[own], TOLD_AXES),
        np.asarray(lesson.told_shape[own].std(0), np.float32),
    )
    return heard, np.asarray((axes * np.sqrt(variance)).T, np.float32)


def course_of(lesson: Lesson, heard: Heard) -> Course:
    both = (lesson, lesson.mirrored())

    def joined(name: str) -> F32:
        return np.asarray(np.concatenate([getattr(one, name) for one in both]), np.float32)

    points, told = joined("points"), joined("told_error")
    return Course(
        crop=torch.from_numpy(lesson.crop),
        box=torch.from_numpy(joined("box")),
        points=torch.from_numpy(np.ascontiguousarray(points.reshape(-1, 478, 3)[:, :, :2])),
        told=torch.from_numpy(told.reshape(-1, 478, 2)),
        heard=torch.from_numpy(heard(points, told, joined("told_shape"))),
        left=torch.from_numpy((joined("error") - told).reshape(-1, 478, 2)),
        shape_left=torch.from_numpy(joined("shape") - joined("told_shape")),
    )


def _shape_root(lesson: Lesson, left: F32) -> F32:
    """``L`` ``(C, C)``: shapes off by d cost |dᵀL|²; those ``left`` ``(N, C)``, on average ``SHAPE``."""
    covariance = left.T.astype(np.float64) @ left / len(left)
    weight = np.zeros_like(covariance)
    for share, metric in (
        (ACROSS, lesson.across_mm2.astype(np.float64)),
        (1 - ACROSS, np.diag(lesson.strength_mm.astype(np.float64) ** 2)),
    ):
        weight += SHAPE * share * metric / (metric * covariance).sum()
    return np.asarray(np.linalg.cholesky(weight), np.float32)


class Trainer:
    """One network, its course, and how far it has come."""

    def __init__(
        self,
        lesson: Lesson,
        layout: PatchLayout,
        epochs: int,
        begun: SecondLook | None = None,
        **shape: Any,
    ) -> None:
        self.lesson, self.epochs = lesson, epochs
        self.layout, self.coarse_inside = sharper(layout), layout.inside
        self._flat_face = FlatFace(self.layout)
        self.is_held_out = np.arange(len(lesson)) % HELD_OUT == 0
        if begun is None:
            self.heard, self.axes = heard_by(lesson, ~self.is_held_out)
        else:  # what it says is in these terms
            self.heard, self.axes = begun.heard, begun.axes
        self.course = course_of(lesson, self.heard)
        self._slopes = torch.from_numpy(slopes(layout))
        known = np.flatnonzero(~self.is_held_out)
        mirrored = known[lesson.yaw[known] < BOTH_BELOW] + len(lesson)
        self.known = torch.from_numpy(np.concatenate([known, mirrored]))
        torch.manual_seed(0)
        shapes = lesson.shape.shape[1]
        said = len(self.axes) + shapes
        self.network = TrainedSight(
            Shape(self.course.heard.shape[1], said, shapes, side=len(layout.weights), **shape),
            point_places(layout),
        )
        if begun is not None:
            some = self.known[torch.randperm(len(self.known))[:CALIBRATED_BY]]
            adopt(self.network, begun.network, lambda: self._said(some, torch.zeros(len(some), 478, 2)))
        # Losses are shares of what the regressions leave; points that are left far off count less.
        size = (self.course.left[self.known] ** 2).sum(2).mean(0)
        self._error_weight = size**-0.5 / (size**0.5).sum()
        self._shape_root = torch.from_numpy(_shape_root(lesson, self.course.shape_left[self.known].numpy()))
        weights, rate = list(self.network.parameters()), RATE if begun is None else RATE_GOING_ON
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [w for w in weights if w.ndim > 1], "weight_decay": DECAY},
                {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
            ],
            lr=rate,
        )
        self.epoch = 0
        steps = epochs * max(len(self.known) // BATCH, 1)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimiser, rate, steps, pct_start=WARM)

    def resume(self, file: Path) -> None:
        """Go on from ``file``, if it is there."""
        if file.is_file():
            kept = torch.load(file, weights_only=True)
            if kept["epochs"] != self.epochs:
                raise ValueError(f"'{file}' is of a course of {kept['epochs']} epochs")
            self.network.load_state_dict(kept["network"])
            self._optimiser.load_state_dict(kept["optimiser"])
            self._schedule.load_state_dict(kept["schedule"])
            self.epoch = int(kept["epoch"])

    def keep(self, file: Path) -> None:
        fresh = file.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "schedule": self._schedule.state_dict(),
                "epoch": self.epoch,
                "epochs": self.epochs,
            },
            fresh,
        )
        fresh.replace(file)

    def study(self) -> tuple[float, float]:
        """One epoch; shares of what the regressions leave of errors and of shapes that are left now."""
        self.network.train()
        random = torch.Generator().manual_seed(1000 + self.epoch)
        torch.manual_seed(2000 + self.epoch)  # of dropout
        order = self.known[torch.randperm(len(self.known), generator=random)]
        batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
        total = torch.zeros(2)
        done = self.epoch / max(self.epochs, 1)
        most = MOST_MOVED[0] * (1 - done) + MOST_MOVED[1] * done
        for index in batches:
            size = (BATCH, len(self.axes))
            amplitude = most * torch.rand(BATCH, 1, generator=random) * torch.randn(size, generator=random)
            jitter = (amplitude @ torch.from_numpy(self.axes)).reshape(BATCH, -1, 2)
            if torch.rand(1, generator=random) < AGAIN:
                with torch.no_grad():
                    first, _ = self._said(index, torch.zeros_like(jitter), random)
                jitter = MOVED_AGAIN * jitter - first
            errors, shapes = self._said(index, jitter, random)
            apart = ((errors - self.course.left[index] - jitter) ** 2).sum(2) @ self._error_weight
            # A face that is hard to see, far off, counts about as much as one that is not.
            wrong = STEEPNESS * (apart + FLAT).sqrt().mean()
            off = (((shapes - self.course.shape_left[index]) @ self._shape_root) ** 2).sum(1).mean()
            self._optimiser.zero_grad()
            torch.autograd.backward(wrong + off)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self._optimiser.step()
            self._schedule.step()
            total += torch.stack([apart.mean().detach(), off.detach()])
        self.epoch += 1
        return tuple((total / len(batches)).tolist())

    def _said(
        self, index: Tensor, jitter: Tensor, random: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Errors ``(B, 478, 2)`` and shapes ``(B, C)`` where the points are off by ``jitter`` besides;
        ``random`` spoils the pictures."""
        course = self.course
        at = course.points[index] + jitter - course.told[index]
        grey = self._flat_face(course.crops(index), course.box[index], at)
        if random is not None:
            grey = spoil(grey, random) * torch.from_numpy(self.layout.inside)
        # A photo's flat picture has whole levels.
        pictures = [seen(one, self.coarse_inside, self.layout.inside) for one in grey.round().numpy()]
        planes, sharp = (
            torch.from_numpy(np.stack(part))
            for part in zip(*((one.planes, one.sharp) for one in pictures), strict=True)
        )
        with torch.autocast("cpu", torch.bfloat16):
            said, beside = self.network(planes, sharp, course.heard[index])
        said, count = said.float(), len(self.axes)
        # Beside the fields of the whole face, what each point sees: steps in the flat picture.
        along = torch.einsum("gpq,bqx->bpgx", self._slopes, at)
        errors = (said[:, :count] @ torch.from_numpy(self.axes)).reshape(jitter.shape)
        return errors + torch.einsum("bpg,bpgx->bpx", beside.float(), along), said[:, count:]

    def left(self, index: NDArray[np.int64]) -> tuple[F32, F32]:
        """What is left ``(B, 956)``, ``(B, C)`` of errors and shapes of lesson's examples ``index``."""
        self.network.eval()
        count, lesson = len(self.lesson), self.lesson
        (one, shape), (two, other) = self._all_said(index), self._all_said(index + count)
        two = (two.reshape(-1, 478, 2)[:, lesson.mirror] * np.array([-1, 1], np.float32)).reshape(one.shape)
        ahead = (lesson.yaw[index] < BOTH_BELOW)[:, None]
        errors = np.where(ahead, (one + two) / 2, one)
        # What the regressions say of the mirror image is here the mirror image of what they say.
        shape = np.where(ahead, (shape + other @ lesson.shape_mirror.T) / 2, shape)
        return (
            lesson.error[index] - lesson.told_error[index] - errors,
            lesson.shape[index] - lesson.told_shape[index] - shape,
        )

    def _all_said(self, index: NDArray[np.int64]) -> tuple[F32, F32]:
        errors, shapes = [], []
        with torch.no_grad():
            for part in torch.split(torch.from_numpy(index), 64):
                told, said = torch.zeros(len(part), 478, 2), list[Tensor]()
                for _ in range(GLANCES):
                    step, shape = self._said(part, -told)
                    told, said = told + step, [*said, shape]
                errors.append(told.flatten(1).numpy())
                shapes.append(said[0].numpy())
        return np.concatenate(errors), np.concatenate(shapes)

    def report(self) -> str:
        """Shares that are left of what the regressions leave, held out."""
        held = np.flatnonzero(self.is_held_out)
        errors, shapes = self.left(held)
        parts = []
        for name, own in (
            ("frontal", self.lesson.yaw[held] < BOTH_BELOW),
            ("turned", self.lesson.yaw[held] >= BOTH_BELOW),
        ):
            before = (self.lesson.error - self.lesson.told_error)[held][own]
            off = (self.lesson.shape - self.lesson.told_shape)[held][own]
            wrong = math.sqrt((errors[own] ** 2).sum() / (before**2).sum())
            shape, across = (
                math.sqrt(_amount(shapes[own], metric) / _amount(off, metric))
                for metric in (np.diag(self.lesson.strength_mm**2), self.lesson.across_mm2)
            )
            parts.append(f"{name}: errors {wrong:.3f}, shape {shape:.3f}, across {across:.3f}")
        return "; ".join(parts)

    def views(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the held-out examples tell what is left of frontal faces, and of turned ones."""
        low, high = FRONTAL_TO_TURNED
        yaw = self.lesson.yaw[self.is_held_out]
        return yaw < high, yaw > low

    def made(self) -> SecondLook:
        """The trained network with what it leaves, held out. Raises: ValueError for too few portraits."""
        errors, shapes = self.left(np.flatnonzero(self.is_held_out))
        views = [_left(errors[own], shapes[own]) for own in self.views()]
        return SecondLook(
            exported(self.network),
            self.heard,
            self.axes,
            self.layout,
            self.coarse_inside,
            self._slopes.numpy(),
            (views[0], views[1]),
        )


def _amount(off: F32, metric: F32) -> float:
    return float(np.einsum("ni,ij,nj->", off, metric, off, optimize=True))


def _left(errors: F32, shapes: F32) -> Left:
    fields, sigma = factors(errors.reshape(-1, 478, 2).astype(np.float64))
    off: F64 = shapes.astype(np.float64)
    covariance = off.T @ off / len(off)
    return Left(fields, sigma, (1 - SHRUNK) * covariance + SHRUNK * np.diag(np.diag(covariance)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--head", type=Path, help="the head that was drawn (default: as shipped)")
    parser.add_argument("--state", type=Path, required=True, help="folder in which training is kept")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--begin-with", type=Path, help="a network's file, to begin with its weights")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    head = load_open_head(options.head)
    kept, layout = options.state / "lesson.npz", layout_of(head)
    if not kept.is_file():
        lessons.save(lessons.prepare(head, options.portraits, regressions()), kept)
    begun = None if options.begin_with is None else from_arrays(load_file(options.begin_with), layout)
    trainer = Trainer(lessons.load(kept), layout, options.epochs, begun)
    fewest = min(int(own.sum()) for own in trainer.views())
    if fewest < 2 * FIELDS:
        parser.error(f"{fewest} held-out portraits show one of the views, {2 * FIELDS} are needed: draw more")
    trainer.resume(options.state / "training.pt")
    print(f"{len(trainer.known)} examples", flush=True)
    while trainer.epoch < options.epochs:
        errors, shapes = trainer.study()
        told = f"epoch {trainer.epoch}: {math.sqrt(errors):.3f} {math.sqrt(shapes):.3f}"
        if trainer.epoch % KEEP_EVERY == 0 or trainer.epoch == options.epochs:
            trainer.keep(options.state / "training.pt")
            told += f" · held out {trainer.report()}"
        print(told, flush=True)
    save_file(
        {name: np.ascontiguousarray(a) for name, a in to_arrays(trainer.made()).items()},
        options.output,
        metadata={"format_version": "1", "licence": "GPL-3.0-or-later"},
    )


if __name__ == "__main__":
    main()
