"""The real benchmarks as cases, for who has their data: REALY, and NoW's validation set.

Both are licensed to persons; nothing of them is here. Layouts as their pages describe them:

REALY   ``REALY_scan_region/<id>/{nose,mouth,forehead,cheek}.obj``, ``REALY_HIFI3D_keypoints/<id>.obj`` (85
        points), ``metrical_scale.txt`` (millimetres per unit, one line per id from 1 on), photographs
        ``<id>.<suffix>`` or ``<id>_<view>.<suffix>`` in ``REALY_image`` or where ``images`` says
NoW     ``imagepathsvalidation.txt`` (lines ``<subject>/<challenge>/<file>``),
        ``iphone_pictures/<subject>/<challenge>/<file>``, ``scans/<subject>/*.obj``,
        ``scans_lmks_onlypp/<subject>/*.pp`` (7 points, millimetres), in the folder or in its
        ``final_release_version``
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend import __version__
from backend.errors import BadInput
from backend.evaluation.case_schema import SCHEMA, CaseRecord, PhotoFile, Provenance, Source
from backend.evaluation.case_writer import write_case
from backend.evaluation.keypoints import COUNT, SEVEN
from backend.evaluation.meshes import read_obj, read_picked_points
from backend.evaluation.regions import REGIONS

F64 = NDArray[np.float64]

_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_MM = 1e-3


def import_realy(source: Path, out: Path, images: Path | None = None) -> int:
    """Write a case into ``out`` for every photograph of REALY; returns how many.

    The regions are apart, as published: each is a piece of its own in the case's mesh.
    Raises: BadInput when a file of the layout is missing or does not fit.
    """
    scans = _there(source / "REALY_scan_region")
    points = _there(source / "REALY_HIFI3D_keypoints")
    scales = _scales(source)
    photos = _photos(images or _there(source / "REALY_image"))
    for photo in photos:
        number = photo.stem.split("_")[0]
        if not number.isdigit() or not 1 <= int(number) <= len(scales):
            raise BadInput(f"'{photo}' is not named after one of REALY's {len(scales)} subjects")
        subject = str(int(number))
        unit = scales[int(number) - 1] * _MM
        marks, _ = read_obj(points / f"{subject}.obj")
        if len(marks) != COUNT:
            raise BadInput(f"'{points / subject}.obj' has {len(marks)} key points, not {COUNT}")
        view = photo.stem.partition("_")[2]
        write_case(
            out,
            _record(
                f"realy-{photo.stem}", f"realy-{subject}", f"view {view}" if view else "front", photo, "REALY"
            ),
            photo,
            _joined({name: read_obj(scans / subject / f"{name}.obj") for name in REGIONS}, unit),
            {"points85_head": marks * unit},
        )
    return len(photos)


def import_now(source: Path, out: Path, images: Path | None = None) -> int:
    """Write a case into ``out`` for every photograph of NoW's validation set; returns how many.

    The truth is the neutral scan; the photographed expression is not known.
    Raises: BadInput when a file of the layout is missing or does not fit.
    """
    root = source / "final_release_version"
    root = root if root.is_dir() else source
    pictures = images or _there(root / "iphone_pictures")
    listing = next((p for p in (source, root) if (p / "imagepathsvalidation.txt").is_file()), None)
    if listing is None:
        raise BadInput(f"'{source}' has no imagepathsvalidation.txt; is this NoW's validation set?")
    lines = (listing / "imagepathsvalidation.txt").read_text().split()
    meshes: dict[str, tuple[Path, F64]] = {}
    for line in lines:
        parts = Path(line).parts[-3:]
        if len(parts) != 3:
            raise BadInput(f"'{line}' of imagepathsvalidation.txt is not <subject>/<challenge>/<file>")
        subject, challenge, file = parts
        photo = pictures / subject / challenge / file
        if not photo.is_file():
            raise BadInput(f"'{photo}' is listed but not there")
        record = _record(f"now-{subject}-{challenge}-{photo.stem}", f"now-{subject}", challenge, photo, "NoW")
        if subject not in meshes:
            vertices, triangles = read_obj(_only(root / "scans" / subject, ".obj"))
            points = read_picked_points(_only(root / "scans_lmks_onlypp" / subject, ".pp"))
            if len(points) != len(SEVEN):
                raise BadInput(f"the landmarks of '{subject}' are {len(points)}, not {len(SEVEN)}")
            arrays: dict[str, NDArray[np.generic]] = {"triangles": triangles}
            arrays["vertices_neutral_head"] = (vertices * _MM).astype(np.float32)
            marks = np.full((68, 3), np.nan)
            marks[list(SEVEN)] = points * _MM  # the published order is that of SEVEN
            made = write_case(out, record, photo, arrays, {"points68_neutral_head": marks})
            meshes[subject] = (made / "truth" / "mesh.npz", marks)
        else:
            mesh, marks = meshes[subject]
            write_case(out, record, photo, mesh, {"points68_neutral_head": marks})
    return len(lines)


def _record(case_id: str, subject: str, group: str, photo: Path, source: str) -> CaseRecord:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(photo) as image:
            width, height = image.size
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(f"'{photo}' cannot be read as a picture") from error
    return CaseRecord(
        schema=SCHEMA,
        id=case_id,
        subject=subject,
        group=group,
        photo=PhotoFile(file=f"photo{photo.suffix.lower()}", width_px=width, height_px=height),
        provenance=Provenance(
            made_by=f"likeness {__version__} evaluate import",
            sources=(Source(name=source, licence="its own, to the person who signed it"),),
        ),
    )


def _joined(pieces: dict[str, tuple[F64, NDArray[np.int64]]], unit: float) -> dict[str, NDArray[np.generic]]:
    """Meshes side by side in one, with a region mask for each."""
    total = sum(len(vertices) for vertices, _ in pieces.values())
    arrays: dict[str, NDArray[np.generic]] = {}
    faces, start = [], 0
    for name, (vertices, triangles) in pieces.items():
        mask = np.zeros(total, np.uint8)
        mask[start : start + len(vertices)] = 1
        arrays[f"region_{name}"] = mask
        faces.append(triangles + start)
        start += len(vertices)
    every = np.concatenate([vertices for vertices, _ in pieces.values()]) * unit
    return arrays | {"vertices_head": every.astype(np.float32), "triangles": np.concatenate(faces)}


def _scales(source: Path) -> list[float]:
    path = next((p for p in (source, source / "data") if (p / "metrical_scale.txt").is_file()), source)
    try:
        scales = [float(word) for word in (path / "metrical_scale.txt").read_text().split()]
    except (OSError, ValueError) as error:
        raise BadInput(f"'{path / 'metrical_scale.txt'}' is missing or not a list of numbers") from error
    return scales


def _photos(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in _PICTURES)
    if not found:
        raise BadInput(f"'{folder}' holds no photographs")
    return found


def _there(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadInput(f"'{folder}' is not there; see `likeness evaluate import --help`")
    return folder


def _only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else []
    if len(found) != 1:
        raise BadInput(f"'{folder}' should hold one {suffix} file and holds {len(found)}")
    return found[0]
