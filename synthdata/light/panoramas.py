"""The panoramas of a folder: those that can be used, and why the others cannot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from backend.errors import BadInput, Missing
from backend.shading import latlong
from backend.shading.environment import Environment, read_hdr
from backend.training.schema import Licence

ROWS = 256  # panoramas are averaged down to this: what light on skin shows of them
_UNKNOWN = "not stated"


@dataclass(frozen=True)
class Folder:
    """What a folder of panoramas holds."""

    paths: tuple[Path, ...]
    licences: tuple[Licence, ...]  # of each of ``paths``
    skipped: tuple[str, ...]


def survey(folder: Path) -> Folder:
    """Try every picture of ``folder``. Raises: Missing when there is none, BadInput when none is usable.

    The licence is the first line of ``LICENCE.txt`` (or ``license.txt``) beside them, where there is one.
    """
    if not folder.is_dir():
        raise Missing(f"there is no folder '{folder}' of panoramas; give one with --hdris, or leave it out")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".hdr", ".exr"))
    if not files:
        raise Missing(f"'{folder}' holds no .hdr or .exr panoramas; put some there, or leave out --hdris")
    licence = licence_line(folder)
    good, skipped = [], []
    for path in files:
        try:
            environment = read_hdr(path)
        except BadInput as error:
            skipped.append(f"{path.name} was skipped: {error}")
            continue
        if environment.radiance.any():
            good.append(path)
        else:
            skipped.append(f"{path.name} was skipped: it is black")
    if not good:
        raise BadInput(f"no panorama in '{folder}' can be used; {skipped[0]}")
    licences = tuple(
        Licence(
            what=path.name,
            licence=licence,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in good
    )
    return Folder(tuple(good), licences, tuple(skipped))


def licence_line(folder: Path) -> str:
    """The first line of the terms that lie in ``folder``."""
    for path in sorted(folder.iterdir()):
        if path.name.lower() in ("licence.txt", "license.txt"):
            lines = path.read_text(errors="replace").strip().splitlines()
            return lines[0] if lines else _UNKNOWN
    return _UNKNOWN


def load(path: Path, rows: int = ROWS) -> Environment:
    """At most ``rows`` high. Raises: BadInput."""
    environment = read_hdr(path)
    return Environment(path.stem, latlong.shrink(environment.radiance, rows))
