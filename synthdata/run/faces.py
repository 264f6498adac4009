"""Faces fitted to a folder of photographs by the project's own geometry stage, as a source of identities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from backend.artifacts import Run
from backend.errors import BadInput, LikenessError, Missing
from backend.export.map_files import write_whole
from backend.head.base import ParametricHead
from backend.training.schema import Licence
from synthdata.light.panoramas import licence_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic")
WORST_LANDMARKS = 0.05  # of the eye distance; a fit that is farther off shows another face

Watch = Callable[[str, float], None]


@dataclass(frozen=True)
class Faces:
    """What a folder of photographs gave."""

    modes: tuple[tuple[float, ...], ...] = ()  # of the head, standard deviations
    licences: tuple[Licence, ...] = ()  # of each photograph
    skipped: tuple[str, ...] = ()


class _Fit(msgspec.Struct, frozen=True):
    """A photograph's fit, or why there is none."""

    head_sha256: str
    modes: tuple[float, ...] = ()
    why_not: str = ""


def fitted_faces(
    folder: Path, head: ParametricHead, kept: Path, watch: Watch = lambda stage, share: None
) -> Faces:
    """The face of every photograph in ``folder``, by name; what cannot be used is skipped and told.

    Fits are kept in the folder ``kept`` by the photograph's content, so that none is made twice.
    Raises: Missing without photographs, BadInput when none can be used, OSError.
    """
    if not folder.is_dir():
        raise Missing(f"there is no folder '{folder}' of photographs; give one with --identities")
    photographs = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not photographs:
        raise Missing(f"'{folder}' holds no photographs ({', '.join(SUFFIXES)})")
    licence = licence_line(folder)
    modes, licences, skipped = [], [], []
    kept.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(photographs):
        watch(f"face {number + 1} of {len(photographs)}", number / len(photographs))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        fit = _kept_fit(kept / f"{digest}.json", head) or _fitted(path, head)
        write_whole(kept / f"{digest}.json", msgspec.json.encode(fit))
        if fit.why_not:
            skipped.append(f"photograph '{path.name}' was skipped: {fit.why_not}")
            continue
        modes.append(fit.modes)
        licences.append(Licence(what=f"photograph {path.name}", licence=licence, sha256=digest))
    if not modes:
        raise BadInput(f"no photograph in '{folder}' can be used; {skipped[0]}")
    return Faces(tuple(modes), tuple(licences), tuple(skipped))


def _kept_fit(path: Path, head: ParametricHead) -> _Fit | None:
    if not path.is_file():
        return None
    try:
        fit = msgspec.json.decode(path.read_bytes(), type=_Fit)
    except msgspec.DecodeError:
        return None  # made again
    return fit if fit.head_sha256 == (head.weights_sha256 or "") else None


def _fitted(path: Path, head: ParametricHead) -> _Fit:
    from backend.geometry.fit import fit_head
    from backend.photo.decode import load_photo
    from backend.photo.observe import observe

    own = head.weights_sha256 or ""
    run = Run()
    try:
        fit = fit_head(observe(load_photo(path, run), run), head, run)
    except LikenessError as error:
        return _Fit(own, why_not=str(error))
    if fit.landmark_error_iod > WORST_LANDMARKS:
        off = f"landmarks are off by {fit.landmark_error_iod:.1%} of the eye distance"
        return _Fit(own, why_not=f"the fit is poor, {off}")
    return _Fit(own, tuple(float(c) for c in np.asarray(fit.identity, np.float32)))
