"""A user's scan textures as the skins of a set's people: taken instead of the drawn skin or mixed in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb
from backend.errors import BadInput, Missing
from backend.export.map_files import displacement_scale
from backend.training.schema import Licence
from synthdata.light.panoramas import licence_line
from synthdata.run.people import Person, tone_of
from synthdata.skin.maps import DISPLACEMENT_RANGE_MM, SkinMaps, encoded_normal
from synthdata.skin.scans import ScanSet, find_scans, mixed, read_scan

_TRIED_TEXELS = 256  # maps are read at this size to see whether they can be
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ScanFolder:
    """What a folder of scan textures holds."""

    folders: tuple[Path, ...] = ()  # of one map set each
    licences: tuple[Licence, ...] = ()  # of each of ``folders``
    skipped: tuple[str, ...] = ()


def survey_scans(folder: Path) -> ScanFolder:
    """Try every map set of ``folder``. Raises: Missing when there is none, BadInput when none is usable.

    ``folder`` is a set, or its subfolders are. The licence is the first line of ``LICENCE.txt`` in it.
    """
    if not folder.is_dir():
        raise Missing(f"there is no folder '{folder}' of scan textures; give one with --scans")
    within = sorted(path for path in folder.iterdir() if path.is_dir())
    licence = licence_line(folder)
    folders: list[Path] = []
    licences: list[Licence] = []
    skipped: list[str] = []
    for place in within or [folder]:
        try:
            scan = find_scans(place)[0]
            read_scan(scan, _TRIED_TEXELS)
        except (BadInput, Missing) as error:
            skipped.append(f"scan '{place.name}' was skipped: {error}")
        else:
            folders.append(place)
            licences.append(Licence(what=f"scan {scan.name}", licence=licence, sha256=scan_digest(scan)))
    if not folders:
        raise BadInput(f"no scan in '{folder}' can be used; {skipped[0]}")
    return ScanFolder(tuple(folders), tuple(licences), tuple(skipped))


def scan_digest(scan: ScanSet) -> str:
    """SHA-256 over the maps' names and bytes."""
    digest = hashlib.sha256()
    for name in sorted(scan.files):
        digest.update(name.encode())
        with scan.files[name].open("rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    return digest.hexdigest()


def with_scan(person: Person, scan: SkinMaps, name: str, share: float) -> Person:
    """``person`` with ``share`` in (0, 1] of the skin from ``scan``, of the person's texels."""
    inside = person.chart.inside
    maps = scan if share >= 1 else mixed(_kept(person), scan, share)
    height = maps.displacement_mm / np.float32(1000)
    materials = Materials(
        albedo_linear=np.clip(maps.albedo_linear, 0.005, 0.95),
        normal_tangent=maps.normal_tangent,
        roughness=maps.roughness,
        specular=maps.specular,
        displacement_m=height,
    )
    bare = np.ones_like(person.bare) if share >= 1 else person.bare
    tone, mean = tone_of(materials.albedo_linear[inside & (bare > 0.9)])
    meta = msgspec.structs.replace(
        person.meta,
        skin=f"scan {name}" if share >= 1 else f"{person.meta.skin}; {share:g} of scan {name}",
        tone_ita_degrees=tone,
        mean_albedo_linear=mean,
        displacement_scale_m=displacement_scale(height),
    )
    return replace(person, meta=meta, materials=materials, relief_tangent=maps.relief_tangent, bare=bare)


def _kept(person: Person) -> SkinMaps:
    """A person's maps as skins are kept."""
    m = person.materials
    share = 0.5 + m.displacement_m * 1000 / DISPLACEMENT_RANGE_MM
    return SkinMaps(
        albedo_srgb=np.asarray(np.rint(255 * np.clip(linear_to_srgb(m.albedo_linear), 0, 1)), np.uint8),
        normal_u16=encoded_normal(m.normal_tangent),
        relief_normal_u16=encoded_normal(person.relief_tangent),
        displacement_u16=np.asarray(np.rint(65535 * np.clip(share, 0, 1)), np.uint16),
        roughness_u8=_bytes(m.roughness),
        specular_u8=_bytes(m.specular),
        inside=person.chart.inside,
    )


def _bytes(values: F32) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)
