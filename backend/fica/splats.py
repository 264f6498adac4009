"""Splats of a reconstruction by FiCA's networks: portrait to drivable Gaussians, tied to the fitted mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Reconstruction, Run, Splatted
from backend.colour import srgb_to_linear
from backend.errors import BadInput
from backend.fica.assembly import Packed, load_packed
from backend.fica.files import FicaIdentity
from backend.fica.frames import Places, places_of, splats_of
from backend.fica.path import FicaAvatar, make_avatar
from backend.fica.poses import PosedPortrait, posed_portrait
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.surface import bind
from backend.uvspace.buffers import interpolate_at
from backend.uvspace.normals import vertex_normals
from backend.uvspace.sampling import sample_bilinear

STAGE = "splats"
EXERCISE = (
    "The splats come from FiCA's tiny networks, which only exercise the path: they are no likeness. "
    "Leave out --splats-by for the embedded decoder."
)


class FicaSplats:
    """Networks of a folder, and what they make of a reconstruction.

    Raises: Missing, BadWeights, BadInput (a head without an atlas).
    """

    def __init__(self, folder: Path) -> None:
        self.packed = load_packed(folder)

    @property
    def implementation(self) -> str:
        """For ``avatar.json``."""
        return f"FiCA, {self.packed.manifest.size} networks {self.packed.manifest.digest()[:12]}"

    def make(self, made: Reconstruction, run: Run) -> Splatted:
        """Splats on the photographed face, and what decodes them for other poses.

        Raises: BadInput (too little of a head seen, another head than the networks'), Cancelled.
        """
        run.progress(STAGE, 0.0)
        packed = self.packed
        portrait = portrait_of(made, packed)
        avatar = make_avatar(portrait, packed.networks, packed.frames, NumbaRenderer(), run.seed)
        run.progress(STAGE, 0.8)
        upright = splats_of(avatar, portrait.drive[0])
        places, fit = places_of(packed.prior_atlas), made.fit
        normals = interpolate_at(
            places.triangle,
            places.barycentric,
            vertex_normals(fit.vertices_head, fit.head.triangles),
            fit.head.triangles,
        )
        part = fit.head.triangle_part[places.triangle].astype(np.uint8)
        bound = bind(
            upright,
            places.triangle,
            places.barycentric,
            fit.vertices_head,
            fit.head.triangles,
            _albedo(made, avatar, places, part),
            normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9),
            part,
        )
        if packed.manifest.is_exercise:
            run.warn(EXERCISE)
        return Splatted(bound, FicaIdentity(avatar, packed.prior_atlas, packed.manifest))


def portrait_of(made: Reconstruction, packed: Packed) -> PosedPortrait:
    """What the networks look at. Raises: BadInput (a fit of another head)."""
    if made.fit.head.name != packed.head.name:
        raise BadInput(
            f"these networks are made for --head {packed.head.name}, not for '{made.fit.head.name}'"
        )
    return posed_portrait(made.observation.photo.rgb_srgb, made.fit, packed.atlas, packed.manifest.pixels)


def _albedo(made: Reconstruction, avatar: FicaAvatar, places: Places, part: NDArray[np.uint8]) -> F32:
    """Linear, for new light: the reconstruction's on the skin, elsewhere the colour itself."""
    head, size = made.fit.head, made.materials.size
    uv = np.einsum("nk,nkc->nc", places.barycentric, head.uvs[head.triangle_uvs[places.triangle]])
    at = np.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size], 1).astype(np.float32)
    skin = sample_bilinear(made.materials.albedo_linear, at)
    own = avatar.maps.texture[0].flatten(1)[:, avatar.frame.rows].T.numpy()
    return np.asarray(np.where((part == 0)[:, None], skin, srgb_to_linear(own.clip(0, 1))), np.float32)
