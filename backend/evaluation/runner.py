"""Cases × methods: reconstruct, measure, keep. Stopped at any moment it goes on where it was."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Protocol

from backend import __version__
from backend.artifacts import Run
from backend.errors import BadInput, Cancelled, LikenessError
from backend.evaluation.cases import Case
from backend.evaluation.methods import BASELINE, Options
from backend.evaluation.prediction import Prediction
from backend.evaluation.registry import Measure, MetricGroup
from backend.evaluation.results import (
    RUN_NAME,
    SCHEMA,
    CaseFacts,
    CaseResult,
    RunFolder,
    RunRecord,
    SetResult,
    UsedWeights,
    set_key,
    write_json,
)
from backend.evaluation.version import avatar_version, evaluation_version
from backend.failures import one_line
from blender_addon.bundle import BundleError

_PHOTO_SIDE = 512  # pixels, of the report's copy


class Predicts(Protocol):
    """What makes reconstructions (``methods.Methods``)."""

    def predict(self, case: Case, method: str, run: Run) -> Prediction: ...


@dataclass(frozen=True)
class Job:
    """What one run is to do."""

    cases: tuple[Case, ...]
    methods: tuple[str, ...]
    groups: tuple[MetricGroup, ...]
    options: Options
    unusable: tuple[str, ...] = ()  # one line for each case that could not be read


@dataclass(frozen=True)
class Progress:
    """Told before each piece of work."""

    done: int
    total: int
    what: str  # "<case>, <method>: <step>"
    fraction: float = 0.0  # of this piece


def run_cases(
    job: Job, folder: RunFolder, methods: Predicts, on_progress: Callable[[Progress], None]
) -> RunRecord:
    """Measure every case by every method into ``folder``, and write ``run.json``.

    A result whose key (case, method, code, metrics, options) is already there is kept. A photo that cannot
    be reconstructed gives a result that says why; the others go on. Deterministic but for ``seconds``.
    Raises: Cancelled and KeyboardInterrupt, after which nothing is half-written; OSError.
    """
    order = with_baseline(job.methods)
    total = len(job.cases) * len(order)
    weights: dict[str, UsedWeights] = {}
    done = 0
    _write_run(job, folder, order, weights)  # a run that is stopped can be reported, too
    with ExitStack() as stack:
        measures = {
            group.name: measure for group in job.groups if (measure := _measure(group, stack)) is not None
        }
        for case in job.cases:
            _keep_photo(case, folder)
            for method in order:
                say = _saying(on_progress, done, total, f"{case.id}, {method}")
                _one(case, method, job, folder, methods, measures, say, weights)
                done += 1
    for method in order:
        _over_cases(method, job, folder, methods, _saying(on_progress, total, total, method))
    return _write_run(job, folder, order, weights)


def _measure(group: MetricGroup, stack: ExitStack) -> Measure | None:
    return stack.enter_context(group.opened()) if group.opened is not None else group.measure


def with_baseline(methods: Sequence[str]) -> tuple[str, ...]:
    """``methods`` without repeats, and with the mean head."""
    return tuple(dict.fromkeys((*methods, BASELINE)))


def result_key(case: Case, method: str, job: Job) -> str:
    """What a result depends on, as a hash."""
    parts = (
        *(case.digest, method, repr(job.options), avatar_version(job.options.head), evaluation_version()),
        *(f"{group.name} {group.lacks}" for group in job.groups),
    )
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


Say = Callable[[str, float], None]


def _saying(on_progress: Callable[[Progress], None], done: int, total: int, what: str) -> Say:
    return lambda step, fraction: on_progress(Progress(done, total, f"{what}: {step}", fraction))


def _one(
    case: Case,
    method: str,
    job: Job,
    folder: RunFolder,
    methods: Predicts,
    measures: Mapping[str, Measure],
    say: Say,
    weights: dict[str, UsedWeights],
) -> None:
    key = result_key(case, method, job)
    kept = folder.read_result(method, case.id)
    if kept is not None and kept.key == key:
        return
    start = time.perf_counter()
    pictures = folder.pictures(method, case.id)
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    metrics: dict[str, float | None] = {name: None for group in job.groups for name in group.metrics}
    missing: list[str] = []
    notes: list[str] = []
    error: str | None = None
    warnings: tuple[str, ...] = ()
    try:
        prediction = methods.predict(case, method, Run(seed=job.options.seed, on_progress=say))
        warnings = prediction.avatar.manifest.warnings
        for used in prediction.avatar.manifest.weights:
            weights[used.name] = UsedWeights(name=used.name, sha256=used.sha256, licence=used.licence)
    except Cancelled:
        raise
    except Exception as problem:  # one photo that fails must not end a night's work
        error = _why(problem)
    else:
        for group in job.groups:
            absent = [*group.lacks, *(part for part in group.needs if not case.has(part))]
            missing += [part for part in absent if part not in missing]
            if absent or group.name not in measures:
                continue
            say(group.name, 0.0)
            try:
                _take(metrics, measures[group.name](case, prediction, pictures), group)
            except Cancelled:
                raise
            except Exception as problem:
                notes.append(f"{group.name}: {_why(problem)}")
    result = CaseResult(
        schema=SCHEMA,
        key=key,
        case=case.id,
        method=method,
        metrics=metrics,
        missing=tuple(missing),
        pictures=tuple(p.relative_to(folder.root).as_posix() for p in sorted(pictures.rglob("*.png"))),
        seconds=round(time.perf_counter() - start, 3),
        error=error,
        notes=tuple(notes),
        warnings=warnings,
    )
    write_json(folder.result_path(method, case.id), result)


def _take(metrics: dict[str, float | None], values: object, group: MetricGroup) -> None:
    found = dict(values)  # type: ignore[call-overload]
    strange = sorted(set(found) - set(group.metrics))
    if strange:
        raise ValueError(f"gave figures that it does not list: {', '.join(strange)}")
    for name, value in found.items():
        finite = value is not None and value == value and abs(value) != float("inf")
        metrics[name] = float(value) if finite else None


def _why(problem: Exception) -> str:
    if isinstance(problem, LikenessError | BundleError | ValueError):
        return " ".join(str(problem).split())
    return one_line(problem)  # a bug of ours, or the machine's limits


def _over_cases(method: str, job: Job, folder: RunFolder, methods: Predicts, say: Say) -> None:
    groups = [group for group in job.groups if group.over_cases is not None]
    if not groups:
        return
    done = [(case, folder.read_result(method, case.id)) for case in job.cases]
    good = [(case, result) for case, result in done if result is not None and result.error is None]
    key = set_key(result for _, result in good)
    if folder.read_set(method, key) is not None:
        return
    say("over all cases", 0.0)
    run = Run(seed=job.options.seed, on_progress=say)
    pairs = [(case, methods.predict(case, method, run)) for case, _ in good]
    metrics: dict[str, float | None] = {}
    notes: list[str] = []
    for group in groups:
        try:
            metrics |= dict(group.over_cases(pairs)) if group.over_cases is not None else {}
        except Cancelled:
            raise
        except Exception as problem:
            notes.append(f"{group.name}: {_why(problem)}")
    found = SetResult(schema=SCHEMA, key=key, method=method, metrics=metrics, notes=tuple(notes))
    write_json(folder.set_path(method), found)


def _write_run(
    job: Job, folder: RunFolder, methods: tuple[str, ...], weights: dict[str, UsedWeights]
) -> RunRecord:
    record = RunRecord(
        schema=SCHEMA,
        created_by=f"likeness {__version__}",
        methods=methods,
        groups=tuple(group.name for group in job.groups),
        options=asdict(job.options),
        code_version=evaluation_version(),
        cases=tuple(_facts(case) for case in job.cases),
        keys={method: {case.id: result_key(case, method, job) for case in job.cases} for method in methods},
        unusable=job.unusable,
        weights=_all_weights(folder, weights),
    )
    write_json(folder.root / RUN_NAME, record)
    return record


def _keep_photo(case: Case, folder: RunFolder) -> None:
    from PIL import Image, ImageOps

    path = folder.photo(case.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(case.photo) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    small.save(path, quality=88)


def _facts(case: Case) -> CaseFacts:
    return CaseFacts(
        id=case.id,
        subject=case.subject,
        group=case.record.group,
        digest=case.digest,
        missing=case.missing,
        skin_tone_ita_degrees=case.record.skin_tone_ita_degrees,
        sources=case.record.provenance.sources,
    )


def _all_weights(folder: RunFolder, now: dict[str, UsedWeights]) -> tuple[UsedWeights, ...]:
    """Those of this call, and of results that were kept from an earlier one."""
    try:
        before = folder.read_run().weights
    except BadInput:
        before = ()
    every = {used.name: used for used in before} | now
    return tuple(every[name] for name in sorted(every))
