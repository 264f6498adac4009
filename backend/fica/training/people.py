"""The people of a multi-view set as FiCA's trainers see them: head maps, moments, views with their truth."""

from __future__ import annotations

import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.artifacts import F32, Camera
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.fica.atlas import Atlas, build_atlas
from backend.fica.maps import Frame, HeadMaps, channels_first, frame_of
from backend.fica.poses import dense_maps
from backend.fica.training.kept import Kept
from backend.head.base import ParametricHead
from backend.head.lid_motion import person_vertices
from backend.training import pictures
from backend.training.loader import Moment, decode_moment, open_set
from backend.training.records import RecordIndex, index_records
from backend.training.schema import MomentMeta, Split
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import cropped_camera
from backend.uvspace.sampling import sample_bilinear

LEAST_FACING = 0.25  # cosine from which a view tells the colour of a texel
_MOUTH_DARK = 0.05  # display sRGB of texels that no view ever shows
_HEADER = 512
_KEPT_BYTES = 1 << 29  # of what a split has decoded: all of a small set


@dataclass(frozen=True)
class Sight:
    """One camera's picture of a moment, ``P×P``, with the surface it shows."""

    picture: Tensor  # (3, P, P) display sRGB
    mask: Tensor  # (1, P, P) 1 on the head
    uv: Tensor  # (2, P, P) atlas coordinates, 0 off the atlas
    vertex: Tensor  # (3, P, P) metres, head space, of the face as posed; 0 off the atlas
    normal: Tensor  # (3, P, P) unit, head space; 0 off the atlas
    known: Tensor  # (1, P, P) 1 where the picture shows a surface of the atlas
    camera: Camera  # of the picture


@dataclass(frozen=True)
class Place:
    """Where a moment lies in the set."""

    row: int
    first_row: int  # of the same person's neutral moment
    rows: tuple[int, ...]  # all of the person's moments


class People:
    """A split of a set. Reading is safe from several threads; head maps are kept, views while they fit."""

    def __init__(self, index: RecordIndex, head: ParametricHead, texels: int, pixels: int) -> None:
        self.head, self.pixels = head, pixels
        self.atlas: Atlas = build_atlas(head, texels)
        self.frame: Frame = frame_of(self.atlas)
        self._index = index
        self._metas = [_read_meta(index, row) for row in range(len(index))]
        self.places = _places(self._metas)
        self._maps: dict[int, HeadMaps] = {}
        self._lock = threading.Lock()
        self._kept = Kept(_KEPT_BYTES)

    def __len__(self) -> int:
        return len(self._index)

    def meta(self, row: int) -> MomentMeta:
        return self._metas[row]

    def persons(self) -> list[int]:
        """The neutral moments' rows."""
        return sorted({place.first_row for place in self.places})

    def maps(self, row: int) -> HeadMaps:
        """Texture and neutral geometry of the person of moment ``row``, with a batch axis of 1."""
        first = self.places[row].first_row
        with self._lock:
            if first not in self._maps:
                self._maps[first] = self._made_maps(first)
            return self._maps[first]

    def vertices(self, row: int, *, neutral: bool = False) -> F32:
        """``(V, 3)`` metres of moment ``row``, or of the same person without expression."""
        return self._kept.get(("vertices", row, neutral), lambda: self._shaped(row, neutral))

    def _shaped(self, row: int, neutral: bool) -> F32:
        person = self._metas[row].person
        identity = np.array(person.identity_coefficients, np.float32)
        rested, acted = person_vertices(self.head, identity, expression_of(self.head, person.expression))
        return rested if neutral else acted

    def posed(self, row: int) -> Tensor:
        """The posed head on the atlas, ``(3, S, S)`` metres."""
        return self._kept.get(
            ("posed", row), lambda: channels_first(self.atlas.on_texels(self.vertices(row)))
        )

    def drive(self, row: int) -> Tensor:
        """Expression weights by the head's order, then both eyes' gaze in radians: ``(K_exp + 4,)``."""
        meta = self._metas[row]
        gaze = np.radians(np.array(meta.gaze_degrees, np.float32).reshape(-1))
        weights = expression_of(self.head, meta.person.expression)
        return torch.from_numpy(np.concatenate([weights, gaze]).astype(np.float32))

    def views(self, row: int) -> int:
        return len(self._metas[row].views)

    def camera(self, row: int, view: int) -> Camera:
        """The camera of a picture as it is handed out, of ``pixels`` a side."""
        return resized(self._whole_camera(row, view), self.pixels)

    def sight(self, row: int, view: int) -> Sight:
        """What camera ``view`` saw of moment ``row``. Raises: BadInput."""
        return self._kept.get(("sight", row, view), lambda: self._looked(row, view))

    def photograph(self, row: int, view: int) -> tuple[Tensor, Tensor, Camera]:
        """Picture ``(3, P, P)``, mask ``(1, P, P)`` and camera, without the surface. Raises: BadInput."""
        return self._kept.get(("photograph", row, view), lambda: self._photographed(row, view))

    def _looked(self, row: int, view: int) -> Sight:
        picture, parts, camera = self._shot(row, view)
        return look(self.atlas, self.vertices(row), picture, parts > 0, camera, self.pixels)

    def _photographed(self, row: int, view: int) -> tuple[Tensor, Tensor, Camera]:
        picture, parts, camera = self._shot(row, view)
        return (
            channels_first(_shrunk(picture.astype(np.float32) / 255, self.pixels)),
            channels_first(_shrunk((parts > 0).astype(np.float32)[..., None], self.pixels)),
            resized(camera, self.pixels),
        )

    def _shot(self, row: int, view: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Camera]:
        _, members = self._index.read(row)
        try:
            picture = pictures.read_photo(members[f"view{view:03d}.jpg"])
            parts = pictures.read_labels(members[f"view{view:03d}.parts.png"])
        except KeyError as error:
            raise BadInput(f"moment {row} of the set lacks {error}") from error
        return picture, parts, self._whole_camera(row, view)

    def _whole_camera(self, row: int, view: int) -> Camera:
        c = self._metas[row].views[view].camera
        return Camera(c.focal_px, c.principal_px, c.width_px, c.height_px, np.array(c.world_to_camera))

    def _made_maps(self, first: int) -> HeadMaps:
        neutral = decode_moment(self._index.read(first))
        geometry = self.atlas.on_texels(self.vertices(first, neutral=True))
        uv = self.atlas.chart_uv()
        side = neutral.shaded_linear.shape[0]
        at = np.stack([uv[..., 0] * side, (1 - uv[..., 1]) * side], -1).reshape(-1, 2).astype(np.float32)
        skin = sample_bilinear(linear_to_srgb(np.clip(neutral.shaded_linear, 0, 1)), at).reshape(
            *uv.shape[:2], 3
        )
        seen = self._seen_colours(self.places[first].rows)
        texture = np.where((self.atlas.part == 0)[..., None], skin, seen)
        texture = np.where(self.atlas.inside[..., None], texture, 0).astype(np.float32)
        return HeadMaps(channels_first(texture)[None], channels_first(geometry)[None])

    def _seen_colours(self, rows: tuple[int, ...]) -> F32:
        """The mean colour ``(S, S, 3)`` of what all views of all moments show of each texel."""
        total = np.zeros((*self.atlas.part.shape, 3))
        weight = np.zeros(self.atlas.part.shape)
        for row in rows:
            moment: Moment = decode_moment(self._index.read(row))
            vertices = self.vertices(row)
            normals = self.atlas.on_texels(vertex_normals(vertices, self.head.triangles))
            places = self.atlas.on_texels(vertices)
            for view in moment.views:
                colour, trust = seen_by(self.atlas, places, normals, view.image_srgb, view.parts, view.camera)
                total += colour * trust[..., None]
                weight += trust
        mean = total / np.maximum(weight, 1e-6)[..., None]
        return np.where(weight[..., None] > 0, mean, _MOUTH_DARK).astype(np.float32)


def open_people(folder: Path, split: Split, head: ParametricHead, texels: int, pixels: int) -> People:
    """Raises: BadInput (no set, incomplete, of another head, or without moments of this split)."""
    return People(index_records(open_set(folder), "moments", split), head, texels, pixels)


def has_moments(folder: Path, split: Split) -> bool:
    """Whether a set has moments of this split. Raises: BadInput."""
    shards = open_set(folder).manifest.shards
    return any(s.kind == "moments" and s.split == split and s.records for s in shards)


def look(
    atlas: Atlas,
    vertices: F32,
    picture: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    camera: Camera,
    pixels: int,
) -> Sight:
    """A picture ``(H, H, 3)`` with the truth of the posed ``vertices`` ``(V, 3)``, ``pixels`` a side."""
    small = resized(camera, pixels)
    dense = dense_maps(atlas, vertices, small)
    return Sight(
        picture=channels_first(_shrunk(picture.astype(np.float32) / 255, pixels)),
        mask=channels_first(_shrunk(mask.astype(np.float32)[..., None], pixels)),
        uv=dense.uv[0],
        vertex=dense.vertex[0],
        normal=dense.normal[0],
        known=dense.known[0],
        camera=small,
    )


def seen_by(
    atlas: Atlas,
    places: F32,
    normals: F32,
    picture: NDArray[np.uint8],
    parts: NDArray[np.uint8],
    camera: Camera,
) -> tuple[F32, F32]:
    """Colours ``(S, S, 3)`` of the texels in a picture, and how far each is seen ``(S, S)``.

    A texel counts where it faces the camera and the picture shows its part in its place.
    """
    px, _ = camera.project(places)
    column, row = (np.floor(px[..., k]).astype(np.int64) for k in (0, 1))
    height, width = parts.shape
    within = (column >= 0) & (row >= 0) & (column < width) & (row < height) & atlas.inside
    column, row = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    towards = camera.centre_head - places
    towards = towards / np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-9)
    facing = (towards * normals).sum(-1)
    shown = within & (parts[row, column] == atlas.part + 1) & (facing > LEAST_FACING)
    colour = picture[row, column].astype(np.float32) / 255
    return colour, np.where(shown, facing, 0).astype(np.float32)


def resized(camera: Camera, pixels: int) -> Camera:
    """``camera`` with a square picture of ``pixels`` a side. Raises: BadInput where its own is not square."""
    if camera.width_px != camera.height_px:
        raise BadInput(f"the picture has {camera.width_px}×{camera.height_px} pixels, FiCA takes squares")
    return cropped_camera(camera, 0, 0, pixels, pixels, pixels / camera.width_px)


def expression_of(head: ParametricHead, weights: dict[str, float]) -> F32:
    """Weights by name in the head's order, ``(K_exp,)``."""
    return np.array([weights.get(name, 0.0) for name in head.expression_names], np.float32)


def _shrunk(image: F32, pixels: int) -> F32:
    import cv2

    if image.shape[0] == pixels:
        return image
    method = cv2.INTER_AREA if image.shape[0] > pixels else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (pixels, pixels), interpolation=method), np.float32)
    return small.reshape(pixels, pixels, image.shape[2])


def _read_meta(index: RecordIndex, row: int) -> MomentMeta:
    """The first member of a record alone: the pictures stay on disk. Raises: BadInput."""
    path = index.paths[index.shard[row]]
    try:
        with path.open("rb") as file:
            file.seek(int(index.start[row]))
            info = tarfile.TarInfo.frombuf(file.read(_HEADER), "utf-8", "strict")
            return msgspec.msgpack.decode(file.read(info.size), type=MomentMeta)
    except (OSError, tarfile.TarError, msgspec.DecodeError) as error:
        raise BadInput(f"shard '{path.name}' cannot be read ({error})") from error


def _places(metas: list[MomentMeta]) -> list[Place]:
    by_person: dict[int, list[int]] = {}
    for row, meta in enumerate(metas):
        by_person.setdefault(meta.person.identity, []).append(row)
    places = []
    for row, meta in enumerate(metas):
        rows = sorted(by_person[meta.person.identity], key=lambda r: metas[r].index)
        places.append(Place(row, rows[0], tuple(rows)))
    return places
