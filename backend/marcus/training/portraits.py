"""Portraits as the encoder sees them, with what the self-supervised loss needs: attention, 88 landmarks.

A set knows its landmarks and where skin shows; for photographs (``photographs``) a detector and a segmenter
say so. The head that a set was made with need not be the head that is trained for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32, F64, Camera
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.head.correspondences import points88
from backend.head.lid_motion import person_vertices
from backend.marcus.geometry.alignment import Alignment, align, crop, five_of_face_mesh
from backend.marcus.geometry.face_model import FRAME
from backend.marcus.training.set_task import Instances
from backend.training.loader import Instance
from backend.training.schema import PersonMeta
from backend.uvspace.normals import vertex_normals
from backend.uvspace.rasterise import rasterise_camera

_FACING = 0.15  # cosine of normal and view below which a point is not looked at
_SKIN = 0


@dataclass(frozen=True)
class Portrait:
    """A crop of ``pixels`` a side; places in its pixels, centres at .5, y down."""

    rgb_srgb: Tensor  # (3, P, P) in [0, 1]
    attention: Tensor  # (1, P, P) in [0, 1]: skin of the face that is seen
    landmarks: Tensor  # (88, 2)
    weight: Tensor  # (88,) 0 where a point is hidden


class Portraits(Protocol):
    """What the encoder learns from."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> Portrait:
        """Raises: BadInput."""

    def read_shown(self) -> list[Portrait]:
        """Those that pictures on the way show."""


class SetPortraits:
    """A set's instances."""

    def __init__(self, data: Instances, sitters: Sitters) -> None:
        self._data, self._sitters = data, sitters

    def __len__(self) -> int:
        return len(self._data)

    def read(self, row: int) -> Portrait:
        """Raises: BadInput."""
        return self._sitters.portrait(self._data.read(row))

    def read_shown(self) -> list[Portrait]:
        """Raises: BadInput."""
        return [self._sitters.portrait(instance) for instance in self._data.read_shown()]


class Sitters:
    """Portraits of a set's instances on the head that they were made with."""

    def __init__(self, head: ParametricHead, pixels: int, standard: F64) -> None:
        """``standard`` ``(5, 3)`` decimetres is what crops are aligned to.

        Raises: BadInput when the head does not say where its face and Face Mesh's points are.
        """
        if "face" not in head.regions or (head.mediapipe.triangle < 0).all():
            raise BadInput(f"the head '{head.name}' does not say where its face is; make the set with `open`")
        self._head, self._pixels, self._standard = head, pixels, standard
        self._points = points88(head)

    def portrait(self, instance: Instance) -> Portrait:
        """The aligned crop of one instance."""
        head, photo, camera = self._head, instance.portrait_srgb, instance.camera
        vertices = true_vertices(head, instance.meta.person)
        mesh, _ = camera.project(head.mediapipe.positions(vertices, head.triangles))
        frame = align(five_of_face_mesh(mesh.astype(np.float32)), self._standard, *photo.shape[1::-1])
        seen, _ = camera.project(self._points.positions(vertices, head.triangles))
        attention = self._attention(vertices, camera)
        return Portrait(
            rgb_srgb=in_pixels(crop(photo.astype(np.float32) / 255, frame), self._pixels),
            attention=in_pixels(crop(np.repeat(attention[..., None], 3, 2), frame), self._pixels)[:1],
            landmarks=torch.from_numpy(photo_to_crop(seen, frame) * (self._pixels / FRAME)).float(),
            weight=torch.from_numpy(self._facing(vertices, camera) * self._points.trust).float(),
        )

    def _attention(self, vertices: F32, camera: Camera) -> F32:
        drawn = rasterise_camera(vertices, self._head.opaque_triangles, camera)
        face = drawn.interpolate(self._head.regions["face"][:, None], self._head.triangles)[..., 0]
        skin = drawn.covered & (self._head.triangle_part[np.maximum(drawn.triangle, 0)] == _SKIN)
        return np.asarray(face * skin, np.float32)

    def _facing(self, vertices: F32, camera: Camera) -> F32:
        at = self._points.positions(vertices, self._head.triangles)
        normal = self._points.positions(vertex_normals(vertices, self._head.triangles), self._head.triangles)
        view = camera.centre_head - at
        cosine = (normal * view).sum(1) / np.maximum(
            np.linalg.norm(normal, axis=1) * np.linalg.norm(view, axis=1), 1e-9
        )
        return np.asarray(cosine > _FACING, np.float32)


def in_pixels(square: F32, pixels: int) -> Tensor:
    """A crop ``(224, 224, 3)`` as ``(3, pixels, pixels)``, areas averaged."""
    import cv2

    small = cv2.resize(square, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1), np.float32))


def true_vertices(head: ParametricHead, person: PersonMeta) -> F32:
    """Vertices ``(V, 3)`` in metres of a set's person. Raises: BadInput when made with another head."""
    if len(person.identity_coefficients) > len(head.identity_basis):
        raise BadInput(f"the set was made with another head than '{head.name}'; give it as --head")
    weights = np.array([person.expression.get(name, 0.0) for name in head.expression_names], np.float32)
    return person_vertices(head, np.array(person.identity_coefficients, np.float32), weights)[1]


def photo_to_crop(photo_px: F64, frame: Alignment) -> F64:
    """Places in the photo to places in its crop of 224, both y down with pixel centres at .5."""
    (width, height), (left, up) = frame.resized, frame.corner
    stretch = np.array([width / frame.width, height / frame.height])
    return np.asarray(photo_px * stretch - np.array([left, up]))
