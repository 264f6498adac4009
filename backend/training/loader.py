"""Streaming a training set: shards one after the other, shuffled, decoded by threads beside the training.

    for batch_of_one in stream(open_set(folder), Reading(split="train", shuffle=256, seed=epoch)):
        …

OpenCV and zlib release the interpreter while they decode, so threads are enough; a process of its own for
each GPU reads its part (``rank`` of ``world``).
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, Materials
from backend.errors import BadInput
from backend.shading.transfer import Transfer
from backend.training import pictures
from backend.training.schema import (
    DEPTH_STEP_M,
    META,
    OPTIONAL_MEMBERS,
    SCHEMA,
    SHARD_FOLDER,
    CameraMeta,
    HeadMeta,
    InstanceMeta,
    Kind,
    Manifest,
    MomentMeta,
    Split,
    ViewMeta,
    members_of,
    read_manifest,
)
from backend.training.shards import records

Record = tuple[str, dict[str, bytes]]
Made = TypeVar("Made")
_AHEAD = 4  # records decoded in advance, for each thread


@dataclass(frozen=True)
class PortraitView:
    """What the pixels of a rendered portrait show, ``H×W``; geometry is the bare head's."""

    labels: NDArray[np.uint8]  # 0, or 1 + place in schema.LABELS
    skin: F32  # share of the pixel that is the head's bare skin
    coverage: F32  # share that is the person with all that is worn
    lens: F32  # share that lies behind a lens
    depth_m: F32  # z in camera space, 0 beside the head
    normal_camera: F32  # (H, W, 3) unit, smooth; 0 beside the head
    uv: F32  # (H, W, 2) of the chart
    face_id: NDArray[np.int32]  # triangle of the head, −1 beside it
    landmarks: F32  # (478, 6) x, y px; x, y, z metres in head space; 1 where seen. NaN where unknown


@dataclass(frozen=True)
class Instance:
    """One instance. Chart maps are ``S×S``; light is linear, exposed as the portrait is but for t_hom."""

    meta: InstanceMeta
    portrait_srgb: NDArray[np.uint8]  # (P, P, 3)
    t_inc: F32  # (S, S, 3) what the portrait shows of the chart, 0 elsewhere
    visibility: F32  # (S, S) confidence of t_inc
    t_env: F32  # (S, S, 3) the whole chart in the instance's light, seen from its camera
    t_hom: F32  # (S, S, 3) the whole chart in white light of radiance 1, each texel seen from above
    materials: Materials
    view: PortraitView | None = None  # of instances that Cycles rendered

    @property
    def camera(self) -> Camera:
        """Of the portrait."""
        return _camera(self.meta.camera)


@dataclass(frozen=True)
class PosedHead:
    """A posed head that can be relit while training (``shading.transfer``)."""

    meta: HeadMeta
    vertices_head: F32  # (V, 3) metres
    transfer: Transfer
    materials: Materials


@dataclass(frozen=True)
class View:
    """What one camera of a dome saw."""

    meta: ViewMeta
    image_srgb: NDArray[np.uint8]  # (P, P, 3)
    parts: NDArray[np.uint8]  # (P, P) 0 beside the head, k + 1 on the moment's parts[k]

    @property
    def camera(self) -> Camera:
        """Of the picture."""
        return _camera(self.meta.camera)


@dataclass(frozen=True)
class Moment:
    """One expression of one person before a dome of cameras; chart maps are ``S×S``."""

    meta: MomentMeta
    texture_linear: F32  # (S, S, 3) albedo
    shaded_linear: F32  # (S, S, 3) in the dome's light, each texel seen from above, exposed as the views
    inside: NDArray[np.bool_]  # (S, S) texels of the chart
    position_head: F32  # (S, S, 3) metres
    views: tuple[View, ...]


@dataclass(frozen=True)
class TrainingSet:
    """A folder whose manifest was read."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Reading:
    """What is read, and in which order."""

    split: Split
    shuffle: int = 0  # records in the buffer that the next is drawn from; 0 keeps the set's order
    seed: int = 0  # another one for each epoch
    threads: int = 2
    rank: int = 0  # this process reads every world-th shard from here on
    world: int = 1


def open_set(folder: Path) -> TrainingSet:
    """A set that is complete. Raises: BadInput."""
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise BadInput(f"'{folder}' is not complete; `likeness synth run … --resume` goes on with it")
    return TrainingSet(folder, manifest)


def instances(data: TrainingSet, reading: Reading) -> Iterator[Instance]:
    """The instances of a split. Raises: BadInput."""
    return _decoded(raw_records(data, "instances", reading), decode_instance, reading.threads)


def heads(data: TrainingSet, reading: Reading) -> Iterator[PosedHead]:
    """The posed heads of a split, for light of one's own. Raises: BadInput."""
    return _decoded(raw_records(data, "heads", reading), decode_head, reading.threads)


def moments(data: TrainingSet, reading: Reading) -> Iterator[Moment]:
    """The moments of a split. Raises: BadInput."""
    return _decoded(raw_records(data, "moments", reading), decode_moment, reading.threads)


def raw_records(data: TrainingSet, kind: Kind, reading: Reading) -> Iterator[Record]:
    """Records not decoded, shards and then records shuffled. Raises: BadInput."""
    if not 0 <= reading.rank < reading.world:
        raise BadInput(f"rank {reading.rank} is not one of {reading.world}")
    shards = [s for s in data.manifest.shards if s.kind == kind and s.split == reading.split]
    order = np.arange(len(shards))
    if reading.shuffle:
        np.random.default_rng([reading.seed, 0]).shuffle(order)  # alike in every process
    mine = [shards[k] for k in order[reading.rank :: reading.world]]
    paths = (data.folder / SHARD_FOLDER / shard.name for shard in mine)
    found = itertools.chain.from_iterable(records(path) for path in paths)
    rng = np.random.default_rng([reading.seed, 1, reading.rank])
    return shuffled(found, reading.shuffle, rng) if reading.shuffle else found


def shuffled(found: Iterable[Made], buffer: int, rng: np.random.Generator) -> Iterator[Made]:
    """Each thing once, drawn from a buffer of the next ``buffer``."""
    held: list[Made] = []
    for thing in found:
        if len(held) < buffer:
            held.append(thing)
            continue
        at = int(rng.integers(len(held)))
        held[at], thing = thing, held[at]
        yield thing
    rng.shuffle(held)  # type: ignore[arg-type]  # a list is shuffled in place
    yield from held


def decode_instance(record: Record) -> Instance:
    """Raises: BadInput."""
    key, members = record
    meta = _meta(key, members, InstanceMeta)
    _check(key, members, "instances")
    return Instance(
        meta=meta,
        portrait_srgb=pictures.read_photo(members["portrait.jpg"]),
        t_inc=pictures.read_srgb(members["t_inc.png"]),
        visibility=pictures.read_share(members["visibility.png"]),
        t_env=pictures.read_radiance(members["t_env.png"]),
        t_hom=pictures.read_radiance(members["t_hom.png"]),
        materials=pictures.read_materials(members, meta.person.displacement_scale_m),
        view=_view(key, members) if meta.renderer == "cycles" else None,
    )


def _view(key: str, members: dict[str, bytes]) -> PortraitView:
    lost = sorted(set(OPTIONAL_MEMBERS["instances"]) - set(members))
    if lost:
        raise BadInput(f"record {key} lacks {', '.join(lost)}")
    face_id = pictures.read_wide(members["face_id.png"]).astype(np.int32) - 1
    inside = face_id >= 0
    cover = pictures.read_share(members["cover.png"])
    normal = pictures.read_photo(members["normal_camera.png"]).astype(np.float32) / np.float32(127.5) - 1
    length = np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), np.float32(1e-6))
    return PortraitView(
        labels=pictures.read_labels(members["labels.png"]),
        skin=cover[..., 0],
        coverage=cover[..., 1],
        lens=cover[..., 2],
        depth_m=pictures.read_wide(members["depth.png"]) * np.float32(DEPTH_STEP_M),
        normal_camera=np.where(inside[..., None], normal / length, 0).astype(np.float32),
        uv=pictures.read_wide(members["uv.png"])[..., :2] / np.float32(65535),
        face_id=face_id,
        landmarks=pictures.read_array(members["landmarks.npy"]),
    )


def decode_head(record: Record) -> PosedHead:
    """Raises: BadInput."""
    key, members = record
    meta = _meta(key, members, HeadMeta)
    _check(key, members, "heads")
    direct, bounce, seen = (
        pictures.read_array(members[f"{name}.npy"]) for name in ("direct", "bounce", "visibility")
    )
    return PosedHead(
        meta=meta,
        vertices_head=pictures.read_array(members["vertices.npy"]),
        transfer=Transfer(direct, bounce, seen),
        materials=pictures.read_materials(members, meta.person.displacement_scale_m),
    )


def decode_moment(record: Record) -> Moment:
    """Raises: BadInput."""
    key, members = record
    meta = _meta(key, members, MomentMeta)
    _check(key, members, "moments", len(meta.views))
    views = (
        View(
            view,
            pictures.read_photo(members[f"view{number:03d}.jpg"]),
            pictures.read_labels(members[f"view{number:03d}.parts.png"]),
        )
        for number, view in enumerate(meta.views)
    )
    return Moment(
        meta=meta,
        texture_linear=pictures.read_srgb(members["texture.png"]),
        shaded_linear=pictures.read_srgb(members["shaded.png"]),
        inside=pictures.read_labels(members["inside.png"]) > 0,
        position_head=pictures.read_positions(members["position.png"]),
        views=tuple(views),
    )


DECODERS: dict[Kind, Callable[[Record], Instance | PosedHead | Moment]] = {
    "instances": decode_instance,
    "heads": decode_head,
    "moments": decode_moment,
}


def _camera(c: CameraMeta) -> Camera:
    return Camera(c.focal_px, c.principal_px, c.width_px, c.height_px, np.array(c.world_to_camera))


def _meta(key: str, members: dict[str, bytes], kind: type[Made]) -> Made:
    try:
        meta = msgspec.msgpack.decode(members[META], type=kind)
    except KeyError as error:
        raise BadInput(f"record {key} has no {META}") from error
    except msgspec.DecodeError as error:
        raise BadInput(f"the metadata of record {key} are damaged ({error})") from error
    schema: Any = getattr(meta, "schema", None)
    if schema != SCHEMA:
        raise BadInput(f"record {key} has schema {schema}, this version reads {SCHEMA}")
    return meta


def _check(key: str, members: dict[str, bytes], kind: Kind, cameras: int = 0) -> None:
    lost = sorted(set(members_of(kind, cameras)) - set(members))
    if lost:
        raise BadInput(f"record {key} lacks {', '.join(lost)}")


def _decoded(found: Iterator[Record], decode: Callable[[Record], Made], threads: int) -> Iterator[Made]:
    """In order, a few ahead of whoever asks; the shards are read off the caller's thread, too."""
    ready: queue.Queue[Future[Made] | BaseException | None] = queue.Queue(_AHEAD * max(threads, 1))
    left = threading.Event()  # nobody asks any more

    def hand_over(thing: Future[Made] | BaseException | None) -> bool:
        while not left.is_set():
            try:
                ready.put(thing, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read(pool: ThreadPoolExecutor) -> None:
        try:
            for record in found:
                if not hand_over(pool.submit(decode, record)):
                    return
        except BaseException as error:  # raised again on the caller's thread
            hand_over(error)
        else:
            hand_over(None)

    with ThreadPoolExecutor(max(threads, 1)) as pool, ThreadPoolExecutor(1) as reader:
        reader.submit(read, pool)
        try:
            while (next_one := ready.get()) is not None:
                if isinstance(next_one, BaseException):
                    raise next_one
                yield next_one.result()
        finally:
            left.set()
