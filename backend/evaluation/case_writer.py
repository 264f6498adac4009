"""A case folder written whole or not at all (docs/case-format.md)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.evaluation.case_schema import CASE_NAME, CaseRecord
from backend.evaluation.results import write_json
from backend.export.staging import take_place


def write_case(
    folder: Path,
    record: CaseRecord,
    photo: Path,
    mesh: Mapping[str, NDArray[Any]] | Path | None,
    landmarks: Mapping[str, NDArray[Any]],
) -> Path:
    """Write the case ``folder / record.id`` and return it; one that is there already is replaced.

    ``mesh`` holds the arrays of ``truth/mesh.npz``, or is such a file of another case, which is then linked
    where the disk can. Raises: BadInput (the place is taken by something else), OSError.
    """
    directory = folder / record.id
    if directory.exists() and not (directory / CASE_NAME).is_file():
        raise BadInput(f"'{directory}' is there and is not a case; move it away or choose another folder")
    staged = folder / f".{record.id}.partial"
    shutil.rmtree(staged, ignore_errors=True)
    truth = staged / "truth"
    truth.mkdir(parents=True)
    try:
        shutil.copyfile(photo, staged / record.photo.file)
        if isinstance(mesh, Path):
            _link(mesh, truth / "mesh.npz")
        elif mesh is not None:
            np.savez_compressed(truth / "mesh.npz", **mesh)
        if landmarks:
            np.savez(truth / "landmarks.npz", **landmarks)
        write_json(staged / CASE_NAME, record)
        take_place(staged, directory)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return directory


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
