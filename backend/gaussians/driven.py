"""An avatar's splats moved by keyframes, as a film without Blender."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, Run
from backend.errors import BadInput
from backend.gaussians.frames import decoder_of
from backend.gaussians.movies import MOVING, check_output, write_pictures
from backend.gaussians.turntable import draw, orbit_camera
from blender_addon import bundle
from blender_addon.bundle import Mesh
from blender_addon.drive_file import DriveFile, DriveFileError, matrix_of, read_drive
from blender_addon.splat_binding import SplatBinding, read_bound_splats
from blender_addon.splats import Splats, SplatsError

U8 = NDArray[np.uint8]
STAGE = "film"
# From the middle between the eyes to where the head turns on the neck, in distances between the eyes.
_SKULL_BASE_FROM_EYES = np.array([0.0, -0.89, -1.42])
_NECK_SHARE = 0.55  # of the way from there to the bust's lower edge: below, nothing turns


@dataclass(frozen=True)
class Puppet:
    """An avatar's mesh and splats, ready to be posed."""

    mesh: Mesh
    splats: Splats
    tie: SplatBinding
    offsets: F32  # (E, V, 3) metres at weight 1
    turned: F32  # (V,) share of the head's turn that a vertex makes, in [0, 1]
    pivots: F32  # (V, 3) about which it turns, head space

    def live(self, vertices: F32) -> Splats:
        """The splats on posed ``vertices`` ``(V, 3)`` as Blender moves them, in the photo's colours."""
        return self.tie.placed(self.splats, vertices)

    def vertices(self, weights: F64, rotation: F64) -> F32:
        """Mesh vertices ``(V, 3)``, metres, for ``weights`` ``(E,)`` in [0, 1] and a turn ``(3, 3)``.

        The head turns, the bust stays and the neck bends.
        """
        from scipy.spatial.transform import Rotation

        used = np.flatnonzero(weights)
        vertices = self.mesh.vertices_neutral_head + np.tensordot(weights[used], self.offsets[used], 1)
        if len(self.mesh.correctives):
            vertices = vertices + self.mesh.correctives.moved(np.asarray(weights, np.float32), len(vertices))
        turn = Rotation.from_matrix(rotation).as_rotvec()
        whole = self.turned == 1
        out = np.asarray(vertices, np.float64)
        out[whole] = (out[whole] - self.pivots[whole]) @ rotation.T + self.pivots[whole]
        bent = (self.turned > 0) & ~whole
        by = Rotation.from_rotvec(self.turned[bent, None] * turn)
        out[bent] = by.apply(out[bent] - self.pivots[bent]) + self.pivots[bent]
        return out.astype(np.float32)


def puppet_of(avatar: Path) -> Puppet:
    """Read the ``avatar`` with its splats. Raises: BadInput."""
    try:
        mesh = bundle.read_bundle(avatar).mesh
        splats, tie = read_bound_splats(avatar, len(mesh.vertices_neutral_head))
    except (bundle.BundleError, SplatsError) as error:
        raise BadInput(str(error)) from error
    offsets = np.zeros((len(mesh.expression_names), *mesh.vertices_neutral_head.shape), np.float32)
    for e in range(len(offsets)):
        rows, offset = mesh.expressions.rows(e)
        offsets[e, rows] = offset
    left, right = mesh.eye_centres_head.astype(np.float64)
    base = (left + right) / 2 + float(np.linalg.norm(left - right)) * _SKULL_BASE_FROM_EYES
    height = mesh.vertices_neutral_head[:, 1].astype(np.float64)
    neck = base[1] + _NECK_SHARE * (height.min() - base[1])
    # In front the chin hangs below the skull's base and turns with it all the same.
    ahead = np.clip((mesh.vertices_neutral_head[:, 2] - base[2]) / (left[2] - base[2]), 0, 1)
    top = base[1] - ahead * 0.5 * (base[1] - neck)
    share = np.clip((height - neck) / (top - neck), 0, 1)
    share = share * share * (3 - 2 * share)
    pivots = np.broadcast_to(base, mesh.vertices_neutral_head.shape)
    return Puppet(mesh, splats, tie, offsets, share.astype(np.float32), pivots.astype(np.float32))


def weights_for(mesh: Mesh, drive: DriveFile) -> F64:
    """``(F, E)`` weights in the order of ``mesh``'s expressions; those that ``drive`` lacks are 0."""
    column = {name: k for k, name in enumerate(drive.expression_names)}
    known = drive.weights()
    out = np.zeros((len(known), len(mesh.expression_names)))
    for e, name in enumerate(mesh.expression_names):
        if name in column:
            out[:, e] = known[:, column[name]]
    return np.clip(out, 0, 1)


def render_driven(
    avatar: Path, keyframes: Path, output: Path, size: int, run: Run, *, live: bool = False
) -> None:
    """Write the ``avatar``'s splats as ``keyframes`` move them: ``.webp`` or ``.mp4``.

    Frames are ``size`` pixels a side and decoded, as baked ones are (``frames``): every pose has its own
    shading. ``live`` leaves the photo's colours on them, as Blender does without a bake.
    Raises: BadInput (avatar, keyframes, destination), LikenessError (no encoder), Cancelled.
    """
    check_output(output, MOVING)
    try:
        drive = read_drive(keyframes)
    except DriveFileError as error:
        raise BadInput(str(error)) from error
    puppet = puppet_of(avatar)
    shown = puppet.live if live else decoder_of(avatar).decode
    camera = orbit_camera(puppet.mesh.eye_centres_head, 0.0, 0.0, size)
    weights = weights_for(puppet.mesh, drive)

    def pictures() -> Iterator[U8]:
        for index, frame in enumerate(drive.frames):
            run.progress(STAGE, index / len(drive.frames))
            yield draw(shown(puppet.vertices(weights[index], matrix_of(frame.rotation))), camera)
        run.progress(STAGE, 1.0)

    write_pictures(pictures(), output, drive.frames_per_second)
