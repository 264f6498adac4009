"""The catalogue of weights that do not ship: what, where from, how large, under which terms."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from backend.errors import BadInput


class FileAt(BaseModel):
    """One file at an address of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    size: int
    sha256: str


class WeightSet(BaseModel):
    """Weights that are fetched together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    folder: str  # below the weights folder
    files: tuple[str, ...]  # patterns within the repository; a star also stands for folders
    gigabytes: float  # about, for a warning before anything is asked of the host
    licence: str
    terms: str
    page: str
    needs: tuple[str, ...]
    repository: str | None = None  # on Hugging Face
    revision: str = "main"
    urls: dict[str, FileAt] = {}


@cache
def catalogue() -> dict[str, WeightSet]:
    """All sets by name."""
    content = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
    return {name: WeightSet(name=name, **fields) for name, fields in content.items()}


def weight_set(name: str) -> WeightSet:
    """The set called ``name``. Raises: BadInput."""
    found = catalogue().get(name)
    if found is None:
        raise BadInput(f"no weights are called '{name}'; there are {', '.join(catalogue())}")
    return found


def with_needs(name: str) -> tuple[WeightSet, ...]:
    """The set called ``name`` and those that it needs. Raises: BadInput."""
    one = weight_set(name)
    return (one, *(other for need in one.needs for other in with_needs(need)))
