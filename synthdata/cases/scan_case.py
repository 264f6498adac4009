"""A scan in the studio: cases from several sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from backend.artifacts import Camera
from backend.errors import BadInput
from backend.evaluation.case_schema import Provenance, Source
from synthdata.cases.novel import TURNS_DEGREES, Pose, add_novel
from synthdata.cases.photograph import Photograph, make_case
from synthdata.cases.scan import read_scan
from synthdata.cases.scan_names import scan_case_id
from synthdata.cases.scene import Light, environment_of, open_studio, place_subject
from synthdata.cases.worker import ScanJob
from synthdata.headmodel.preview import look_at

DISTANCE_M = 1.2
FRAME_SHARE = 1.15  # of the scan's largest side, which fills the picture
BRIGHT_SKIN = 0.5
SUBSURFACE = 0.6


def make_scan_case(job: ScanJob, yaw_degrees: float, told: Callable[[float], object]) -> None:
    """Render the scan from ``yaw_degrees`` (camera towards its left) into a new folder. Raises: BadInput."""
    scan = Path(job.scan)
    normal = None if job.normal is None else Path(job.normal)
    subject = read_scan(scan, Path(job.albedo), normal, job.units, job.up, job.turn_degrees)
    lights = [_light(job.hdri, is_seen=True), *(_light(path, is_seen=False) for path in job.relit_hdris)]
    used = subject.vertices_head[np.unique(subject.triangles)]
    frame = FRAME_SHARE * float(np.ptp(used, axis=0)[:2].max())

    def camera(yaw: float) -> Camera:
        return look_at((0.0, 0.0, 0.0), yaw, 0.0, DISTANCE_M, frame, job.size)

    studio = open_studio()
    place_subject(studio, subject, SUBSURFACE)
    relit = tuple((light, view) for light in lights[1:] for view in ("photo", "left45", "right45"))
    plan = Photograph(
        id=scan_case_id(scan, yaw_degrees),
        subject=scan.stem,
        condition="front" if abs(yaw_degrees) < 15 else "turned",
        camera=camera(yaw_degrees),
        side_cameras={"left45": camera(45.0), "right45": camera(-45.0)},
        light=lights[0],
        relit=relit,
        bright_skin=BRIGHT_SKIN,
        jpeg_quality=None,
        ita_degrees=None,
        provenance=Provenance(
            made_by="likeness evaluate make-case",
            seed=job.seed,
            sources=(Source(name=scan.name, licence=job.licence),),
        ),
        samples=job.samples,
        seed=job.seed,
    )
    folder = Path(job.out) / plan.id
    share = (1 + len(relit)) / (1 + len(relit) + len(TURNS_DEGREES))
    make_case(studio, subject, plan, folder, lambda done: told(share * done))
    views = {turn: camera(yaw_degrees + turn) for turn in TURNS_DEGREES}
    add_novel(
        folder,
        iter([Pose(studio, subject, None, views)]),
        lights[0],
        job.samples,
        job.seed,
        lambda done: told(share + (1 - share) * done / len(views)),
    )


def _light(path: str, is_seen: bool) -> Light:
    try:
        environment_of(Path(path))
    except RuntimeError as error:
        raise BadInput(f"the HDRI '{path}' cannot be read; give a .hdr or .exr panorama") from error
    return Light(Path(path), 0.0, is_seen)
