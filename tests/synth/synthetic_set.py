"""Small sets made without a head: what the folder, the pool and the readers do can be seen in a second."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from backend.artifacts import Materials
from backend.errors import BadInput
from backend.training import pictures
from backend.training.schema import (
    SCHEMA,
    CameraMeta,
    HeadMeta,
    InstanceMeta,
    LightMeta,
    PersonMeta,
    Recipe,
)
from backend.training.shards import record_bytes
from synthdata.run.cluster import RayCrew
from synthdata.run.plan import Unit, plan_shards, plan_units
from synthdata.run.sources import Job
from synthdata.run.store import keep_unit, open_store
from synthdata.run.workers import LocalCrew, Made, Work, run_units

TEXELS = 16


def recipe(count: int = 22, seed: int = 5) -> Recipe:
    return Recipe(
        preset="smoke",
        count=count,
        seed=seed,
        instances_per_person=2,
        persons_per_shard=3,
        texels=TEXELS,
        portrait_px=TEXELS,
        panoramas=(),
        head_sha256="",
        versions={},
    )


def materials(seed: int) -> Materials:
    rng = np.random.default_rng(seed)
    grey = rng.random((5, TEXELS, TEXELS)).astype(np.float32)
    normal = np.dstack([0.3 * grey[0], 0.2 * grey[1], np.ones_like(grey[0])])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    colour = np.dstack([grey[2], grey[3], grey[4]])
    return Materials(colour, normal, grey[0], grey[1], 0.001 * (grey[2] - 0.5))


def person(identity: int) -> PersonMeta:
    return PersonMeta(
        identity=identity,
        seed=0,
        identity_coefficients=(0.0,),
        expression={"jawOpen": 0.5},
        skin="noise",
        albedo_coefficients=(0.0,),
        tone_ita_degrees=30.0,
        mean_albedo_linear=(0.5, 0.4, 0.3),
        displacement_scale_m=0.002,
    )


def light() -> LightMeta:
    return LightMeta(
        kind="studio",
        name="flash",
        turn_degrees=0.0,
        strength=1.0,
        colour=(1.0, 1.0, 1.0),
        radiance_sh=((1.0, 1.0, 1.0),) * 9,
        key_azimuth_degrees=10.0,
        key_elevation_degrees=5.0,
        key_share=0.4,
    )


def instance(index: int, identity: int) -> bytes:
    camera = CameraMeta(
        focal_px=20.0,
        principal_px=(8.0, 8.0),
        width_px=TEXELS,
        height_px=TEXELS,
        world_to_camera=((1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 0.0), (0.0, 0.0, -1.0, 1.0)),
    )
    meta = InstanceMeta(
        schema=SCHEMA,
        index=index,
        person=person(identity),
        camera=camera,
        yaw_degrees=-12.0,
        pitch_degrees=3.0,
        light=light(),
        exposure=1.0,
        seen_share=0.3,
    )
    maps = materials(index)
    scale = meta.person.displacement_scale_m
    members = {
        "portrait.jpg": pictures.photo_jpeg(np.full((TEXELS, TEXELS, 3), 90, np.uint8), 90),
        "t_inc.png": pictures.srgb_png(maps.albedo_linear),
        "t_env.png": pictures.radiance_png(3 * maps.albedo_linear),
        "t_hom.png": pictures.radiance_png(maps.albedo_linear),
        **pictures.material_pngs(maps, maps.roughness, scale),
    }
    return record_bytes(f"{index:09d}", "instances", meta, members)


def posed_head(identity: int) -> bytes:
    maps = pictures.material_pngs(materials(identity), np.ones((TEXELS, TEXELS)), 0.002)
    del maps["visibility.png"]
    rows = np.full((4, 25), identity, np.float16)
    members = {
        "vertices.npy": pictures.array_bytes(np.zeros((4, 3), np.float32)),
        "direct.npy": pictures.array_bytes(rows),
        "bounce.npy": pictures.array_bytes(rows[:, :9]),
        "visibility.npy": pictures.array_bytes(rows),
        **maps,
    }
    meta = HeadMeta(schema=SCHEMA, person=person(identity), degrees=(4, 2, 4))
    return record_bytes(f"head{identity:07d}", "heads", meta, members)


def quick(job: Job, unit: Unit) -> Made:
    """Work for ``run_units`` that takes no time."""
    made = b"".join(instance(k, unit.identity) for k in range(unit.first, unit.end))
    return {"instances": made, "heads": posed_head(unit.identity)}


def slow(job: Job, unit: Unit) -> Made:
    time.sleep(0.05)
    return quick(job, unit)


def dies_once(job: Job, unit: Unit) -> Made:
    """The worker of identity 4 is killed the first time, in the middle of its work."""
    (mark,) = job.panoramas  # a file that is not there yet
    if unit.identity == 4 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return slow(job, unit)


def signs(job: Job, unit: Unit) -> Made:
    """Leaves the number of its process beside the set."""
    (job.panoramas[0].parent / "places" / str(os.getpid())).touch()
    return slow(job, unit)


def refuses(job: Job, unit: Unit) -> Made:
    if unit.identity == 2:
        raise BadInput("person 2 cannot be made")
    return quick(job, unit)


def always_dies(job: Job, unit: Unit) -> Made:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def make(
    folder: Path,
    workers: int = 1,
    count: int = 22,
    work: Work = quick,
    resume: bool = False,
    ray: str = "",
) -> list[str]:
    """Make or go on with a set; what was said on the way."""
    wanted = recipe(count)
    told: list[str] = []
    job = Job(msgspec.json.encode(wanted), (folder.resolve().with_suffix(".mark"),))
    with open_store(folder, wanted, (), (), plan_shards(wanted), resume) as (store, said):
        told += said
        store.seal_what_is_whole()
        crew = RayCrew(job, ray, workers, work) if ray else LocalCrew(job, workers, work)
        for unit, made in run_units(crew, store.missing(), told.append):
            keep_unit(folder, unit, made)
            store.seal_what_is_whole()
    return told


def make_here(folder: Path, count: int = 22) -> None:
    """The same without processes."""
    wanted = recipe(count)
    with open_store(folder, wanted, (), (), plan_shards(wanted), False) as (store, _):
        for unit in plan_units(wanted):
            keep_unit(folder, unit, quick(Job(b""), unit))
        store.seal_what_is_whole()


if __name__ == "__main__":
    make(Path(sys.argv[1]), workers=2, count=int(sys.argv[2]), work=slow, resume=len(sys.argv) > 3)
