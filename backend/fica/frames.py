"""Frames that a FiCA prior decodes: an avatar's splats for any pose of its mesh.

The prior is asked for the pose's expression and gaze on the upright head; its Gaussians are tied to the mesh
with that expression and carried to where the mesh stands now: head, neck and whatever else moved it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from backend.artifacts import F32, F64
from backend.errors import BadInput
from backend.fica.atlas import Atlas
from backend.fica.files import read_identity
from backend.fica.mesh_drive import MeshSolver
from backend.fica.path import FicaAvatar
from backend.gaussians.surface import I32, bind, placed
from backend.head.base import ParametricHead
from blender_addon import splat_sh
from blender_addon.bundle import Avatar, Mesh
from blender_addon.splats import Splats

# Views that the colours are asked for, yaw and pitch in degrees; harmonics of degree 1 go through them.
_VIEWS = ((0, 0), (45, 0), (-45, 0), (90, 0), (-90, 0), (0, 40), (0, -40), (180, 0))


@dataclass(frozen=True)
class Places:
    """Where the atlas' texels lie on the mesh, in the order of ``Frame.rows``."""

    triangle: I32  # (N,)
    barycentric: F32  # (N, 3)


@dataclass(frozen=True)
class FicaFrames:
    """One avatar, ready to be decoded frame by frame (as ``backend.gaussians.frames.FrameDecoder``)."""

    avatar: FicaAvatar
    mesh: Mesh
    head: ParametricHead
    places: Places
    solver: MeshSolver

    def decode(self, vertices: F32) -> Splats:
        """Splats in head space on the posed ``vertices`` ``(V, 3)``, metres. Raises: BadInput."""
        count = len(self.mesh.vertices_neutral_head)
        if vertices.shape != (count, 3) or not np.isfinite(vertices).all():
            raise BadInput(f"this avatar's mesh has {count} vertices; import the head again")
        pose = self.solver.solve(vertices)
        drive = torch.from_numpy(np.concatenate([pose.weights, pose.gaze]))
        upright = splats_of(self.avatar, drive)
        nothing = np.zeros((len(upright), 3), np.float32)
        bound = bind(
            upright,
            self.places.triangle,
            self.places.barycentric,
            self.mesh.posed(pose.weights),
            self.head.triangles,
            nothing,
            nothing,
            np.zeros(len(upright), np.uint8),
        )
        carried = placed(bound, vertices, self.head.triangles)
        return Splats(
            carried.positions,
            carried.log_scales,
            carried.rotations,
            carried.opacity_logits,
            turned(upright.sh, pose.turn),
        )


def frames_of(found: Avatar) -> FicaFrames:
    """The decoder of an avatar whose record names FiCA's. Raises: BadInput (files gone, changed)."""
    avatar, head, atlas = read_identity(found)
    return FicaFrames(avatar, found.mesh, head, places_of(atlas), MeshSolver(found.mesh, head))


def places_of(atlas: Atlas) -> Places:
    """Of the texels that show a surface."""
    rows = np.flatnonzero(atlas.inside.reshape(-1))
    raster = atlas.raster
    return Places(raster.triangle.reshape(-1)[rows].astype(np.int32), raster.barycentric.reshape(-1, 3)[rows])


def splats_of(avatar: FicaAvatar, drive: torch.Tensor) -> Splats:
    """``avatar`` for ``drive`` ``(56,)`` on the upright head; colours seen from all sides as harmonics."""
    views = _directions()
    made = avatar.decode_views(drive, torch.from_numpy(views))
    seen = np.stack([g.colours_srgb.numpy() for g in made])  # (K, N, 3)
    sides = splat_sh.basis(-views, 1)  # a splat's direction runs from the eye to it
    fitted = np.linalg.pinv(sides) @ (seen - splat_sh.COLOUR_OFFSET).reshape(len(views), -1)
    sh = fitted.reshape(4, -1, 3).transpose(1, 0, 2)
    first = made[0]
    return Splats(
        first.positions.numpy(),
        first.log_scales.numpy(),
        first.rotations.numpy(),
        first.opacity_logits.numpy(),
        np.ascontiguousarray(sh, np.float32),
    )


def turned(sh: F32, rotation: F64) -> F32:
    """Harmonics ``(N, 4, 3)`` of colours that turn along with the head by ``rotation``."""
    matrix = splat_sh.rotation_matrix(rotation, 1)
    return np.asarray(np.einsum("kl,nlc->nkc", matrix, sh), np.float32)


def _directions() -> F32:
    yaw, pitch = np.radians(np.array(_VIEWS, np.float32)).T
    return np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], 1)
