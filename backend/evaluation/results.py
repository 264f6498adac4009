"""A run folder: ``run.json``, ``results/<method>/<case>.json``, ``avatars/``, ``pictures/``, the report."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from backend.errors import BadInput
from backend.evaluation.case_schema import Source

SCHEMA = 1
RUN_NAME = "run.json"


class CaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the report says of a case without having its folder."""

    id: str
    subject: str
    group: str
    digest: str
    missing: tuple[str, ...]
    skin_tone_ita_degrees: float | None = None
    sources: tuple[Source, ...] = ()


class UsedWeights(msgspec.Struct, frozen=True, kw_only=True):
    """A file of parameters that took part."""

    name: str
    sha256: str | None
    licence: str


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``: what was run, so that it can be run again."""

    schema: int
    created_by: str
    methods: tuple[str, ...]
    groups: tuple[str, ...]  # of metrics
    options: dict[str, int | str | bool]
    code_version: str  # a hash
    cases: tuple[CaseFacts, ...]
    keys: dict[str, dict[str, str]]  # by method and case: the result that belongs to this run
    unusable: tuple[str, ...]  # one line for each case that could not be read
    weights: tuple[UsedWeights, ...] = ()


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """``results/<method>/<case>.json``; kept while ``key`` stays the same."""

    schema: int
    key: str
    case: str
    method: str
    metrics: dict[str, float | None]
    missing: tuple[str, ...]  # parts of the truth that kept metrics from being measured
    pictures: tuple[str, ...]  # relative to the run folder
    seconds: float
    error: str | None = None  # why there is no reconstruction
    notes: tuple[str, ...] = ()  # metrics that failed, and why
    warnings: tuple[str, ...] = ()  # of the reconstruction


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """``results/<method>/_set.json``: figures that only several photographs together have."""

    schema: int
    key: str
    method: str
    metrics: dict[str, float | None]
    notes: tuple[str, ...] = ()  # figures that failed, and why


class RunFolder:
    """Paths of a run folder, and its files read and written whole."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def result_path(self, method: str, case_id: str) -> Path:
        return self.root / "results" / folder_name(method) / f"{case_id}.json"

    def set_path(self, method: str) -> Path:
        return self.root / "results" / folder_name(method) / "_set.json"

    def pictures(self, method: str, case_id: str) -> Path:
        return self.root / "pictures" / folder_name(method) / case_id

    def photo(self, case_id: str) -> Path:
        """A small copy of the case's photo, for the report."""
        return self.root / "pictures" / "_photos" / f"{case_id}.jpg"

    @property
    def avatars(self) -> Path:
        return self.root / "avatars"

    def read_run(self) -> RunRecord:
        """``run.json``. Raises: BadInput when ``root`` is no run folder, or another version's."""
        path = self.root / RUN_NAME
        if not path.is_file():
            raise BadInput(f"'{self.root}' is not a run of `likeness evaluate`: it has no {RUN_NAME}")
        try:
            run = msgspec.json.decode(path.read_bytes(), type=RunRecord)
        except (OSError, msgspec.DecodeError) as error:
            raise BadInput(f"'{path}' cannot be read ({error}); run the evaluation again") from error
        if run.schema != SCHEMA:
            raise BadInput(f"'{path}' has schema {run.schema}, this version reads {SCHEMA}; run it again")
        return run

    def read_result(self, method: str, case_id: str) -> CaseResult | None:
        """A finished result, None where there is none or it is damaged (it is made again then)."""
        try:
            return msgspec.json.decode(self.result_path(method, case_id).read_bytes(), type=CaseResult)
        except (OSError, msgspec.DecodeError):
            return None

    def read_set(self, method: str, key: str) -> SetResult | None:
        """Figures over all cases under ``key`` (``set_key``), None where there are none."""
        try:
            found = msgspec.json.decode(self.set_path(method).read_bytes(), type=SetResult)
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.key == key else None

    def results(self, run: RunRecord) -> dict[str, dict[str, CaseResult]]:
        """Finished results of ``run`` by method and case; absent is what is not done or of older code."""
        found: dict[str, dict[str, CaseResult]] = {method: {} for method in run.methods}
        for method in run.methods:
            for case in run.cases:
                result = self.read_result(method, case.id)
                if result is not None and result.key == run.keys.get(method, {}).get(case.id):
                    found[method][case.id] = result
        return found


def set_key(results: Iterable[CaseResult]) -> str:
    """What figures over all cases depend on: the results of those that were reconstructed, in their order."""
    keys = [result.key for result in results if result.error is None]
    return hashlib.blake2b("\0".join(keys).encode(), digest_size=16).hexdigest()


def folder_name(method: str) -> str:
    """``method`` as the name of a folder on any system."""
    return method.replace(":", "-")


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write ``value`` so that ``path`` is there whole or not at all. Raises: OSError."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` is there whole or not at all. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        fresh.write_bytes(data)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
