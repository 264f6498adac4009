"""What units are made of: the head, people, panoramas; loaded once by each worker.

Files are checked against the recipe's checksums when they are read, so that workers on other machines make
the same bytes or say why not.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from backend import __version__
from backend.errors import BadInput, Missing
from backend.head.registry import load_head
from backend.shading.environment import Environment
from backend.training.schema import Licence, Recipe
from synthdata.light.panoramas import load
from synthdata.run.people import Person, make_person
from synthdata.run.scanned import scan_digest, with_scan
from synthdata.skin.maps import SkinMaps
from synthdata.skin.parameters import SkinParameters
from synthdata.skin.scans import find_scans, read_scan

_PANORAMAS_HELD = 16  # prefiltered, 4 MB each
_SCANS_HELD = 32


@dataclass(frozen=True)
class Job:
    """What every unit is made with. It travels to workers, so it is small."""

    recipe_json: bytes
    panoramas: tuple[Path, ...] = ()  # in the order of the recipe's
    scans: tuple[Path, ...] = ()  # a folder each
    faces: tuple[tuple[float, ...], ...] = ()  # modes of the recipe's photographs


class Sources:
    """A worker's own. Raises: Missing or BadInput when this machine lacks what the set is made with."""

    def __init__(self, job: Job) -> None:
        self.recipe = msgspec.json.decode(job.recipe_json, type=Recipe)
        _check_versions(self.recipe.versions)
        self._job = job
        self.head = load_head(self.recipe.head)
        if (self.head.weights_sha256 or "") != self.recipe.head_sha256:
            raise BadInput(f"head '{self.recipe.head}' on this machine is not the one the set was begun with")
        self.panorama = functools.lru_cache(_PANORAMAS_HELD)(self._load_panorama)
        self._scan = functools.lru_cache(_SCANS_HELD)(self._load_scan)

    @property
    def panorama_paths(self) -> tuple[Path, ...]:
        """In the order of the recipe's panoramas."""
        return self._job.panoramas

    def person(
        self, identity: int, texels: int, skin: SkinParameters, expression: Mapping[str, float] | None = None
    ) -> Person:
        """Person ``identity``: with a drawn face or a photograph's, with ``skin`` at ``texels`` or a scan.

        ``expression``: weights by ARKit's names to take instead of drawn ones.
        """
        recipe, job = self.recipe, self._job
        face = np.array(job.faces[identity]) if job.faces else None
        drawn = make_person(self.head, identity, recipe.seed, texels, skin, face, expression)
        if not job.scans:
            return drawn
        number = int(np.random.default_rng([recipe.seed, 5, identity]).integers(len(job.scans)))
        return with_scan(drawn, self._scan(number, texels), job.scans[number].name, recipe.scan_share)

    def _load_panorama(self, number: int) -> Environment:
        path = self._job.panoramas[number]
        _check_bytes(path, self.recipe.panoramas[number])
        return load(path)

    def _load_scan(self, number: int, texels: int) -> SkinMaps:
        scan = find_scans(self._job.scans[number])[0]
        licence = self.recipe.scans[number]
        if scan_digest(scan) != licence.sha256:
            raise BadInput(f"scan '{scan.name}' on this machine is not the one the set was begun with")
        return read_scan(scan, texels)


def _check_bytes(path: Path, licence: Licence) -> None:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Missing(
            f"'{path}' cannot be read on {platform.node()} ({error.strerror}); "
            "every machine needs the inputs at the same place"
        ) from error
    if hashlib.sha256(data).hexdigest() != licence.sha256:
        raise BadInput(f"'{path}' on {platform.node()} is not the file that the set was begun with")


def _check_versions(wanted: dict[str, str]) -> None:
    for name, version in wanted.items():
        found = __version__ if name == "likeness" else importlib.metadata.version(name)
        if found != version:
            raise BadInput(
                f"{platform.node()} has {name} {found}, the set is made with {version}; install that"
            )
