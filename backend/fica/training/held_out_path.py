"""All parts together on held-out people: a photograph, the project's own fit, the path, and what it shows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch import Tensor

from backend import engines
from backend.artifacts import Camera, HeadFit, Photo, Run
from backend.errors import BadInput
from backend.evaluation.align import fit_similarity
from backend.evaluation.registration import moved_camera
from backend.fica.assembly import Packed, load_packed
from backend.fica.keep import with_seen
from backend.fica.path import (
    FicaAvatar,
    agreed,
    completed,
    partial_of,
    refined_maps,
    resized_maps,
)
from backend.fica.poses import posed_portrait
from backend.fica.surface import surfels
from backend.fica.training.held_out import Means, Tally, open_held_out, psnr
from backend.fica.training.people import People
from backend.fica.training.refinement import GREY
from backend.fica.training.samples import hwc
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.renderer import Gaussians, over
from backend.head.base import ParametricHead
from backend.photo.decode import load_photo
from backend.photo.observe import observe

PIXELS = 192  # of the pictures that are compared
_DETECTED_PX = 768  # a side, to which photographs are enlarged for the face detector
_ASIDE_DEGREES = 40.0
_SEED = 0


@torch.no_grad()
def measure_path(networks: Path, folder: Path) -> list[Means]:
    """PSNR over the head in the view most from the front and in one about 40° aside, of every part's result.

    The fit's head is laid onto the true one by the face. People in whose picture no face is found are left
    out. Raises: Missing, BadWeights, BadInput (nobody held out, no face in any picture).
    """
    packed = load_packed(networks)
    tally = Tally()
    for split, people in enumerate(open_held_out(folder, packed.head, packed.manifest.texels, PIXELS)):
        for row in people.persons():
            front, aside = _views(people, row)
            try:
                photo, fit = _fitted(people, row, front, packed.head)
                shown = _shown(photo, fit, packed)
            except BadInput:
                continue
            face = fit.head.regions["face"] > 0.5
            onto = fit_similarity(fit.vertices_head[face], people.vertices(row)[face])
            for view, where in ((front, "own view"), (aside, "another view")):
                picture, mask, camera = people.photograph(row, view)
                wanted, head = picture * mask + GREY * (1 - mask), (mask > 0.5).float()
                seen_by = moved_camera(camera, onto)
                for name, gaussians in shown(seen_by).items():
                    drawn = over(NumbaRenderer().render(gaussians, seen_by), GREY).permute(2, 0, 1)
                    tally.add(f"{name}, {where}", (split, row), {"psnr_db": psnr(drawn, wanted, head)})
    found = tally.means()
    if not found:
        raise BadInput(f"no face is found in the pictures of the people held out in '{folder}'")
    return found


def _views(people: People, row: int) -> tuple[int, int]:
    views = people.meta(row).views
    front = min(range(len(views)), key=lambda k: abs(views[k].yaw_degrees) + abs(views[k].pitch_degrees))
    others = [k for k in range(len(views)) if k != front]
    return front, min(
        others,
        key=lambda k: abs(abs(views[k].yaw_degrees) - _ASIDE_DEGREES) + 0.2 * abs(views[k].pitch_degrees),
    )


def _fitted(people: People, row: int, view: int, head: ParametricHead) -> tuple[Photo, HeadFit]:
    picture = hwc(people.photograph(row, view)[0])
    size = (_DETECTED_PX, _DETECTED_PX)
    large = cv2.resize(
        np.rint(255 * picture[..., ::-1]).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC
    )
    run = Run()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        cv2.imwrite(str(path), large)
        photo = load_photo(path, run, None)
    return photo, engines.choose("embedded").fit(observe(photo, run, None), head, run)


class _Shown:
    """What each part makes of a photograph, as a camera sees it."""

    def __init__(self, meshes: dict[str, Gaussians], avatar: FicaAvatar, drive: Tensor) -> None:
        self._meshes, self._avatar, self._drive = meshes, avatar, drive

    def __call__(self, camera: Camera) -> dict[str, Gaussians]:
        return {**self._meshes, "avatar by the prior": self._avatar.decode(self._drive, camera)}


def _shown(photo: Photo, fit: HeadFit, packed: Packed) -> _Shown:
    networks, frames = packed.networks, packed.frames
    portrait = posed_portrait(photo.rgb_srgb, fit, packed.atlas, packed.manifest.pixels)
    partial = partial_of(portrait, networks.predictor, frames.maps)
    first = completed(portrait.picture, partial, networks, frames.maps, _SEED)
    seen = agreed(portrait, networks.predictor, frames.maps)
    kept = with_seen(first, seen, portrait.motion, frames.maps)
    refined = refined_maps(portrait, kept, networks.refinement, frames.maps, NumbaRenderer())
    meshes = {
        name: surfels(maps.texture, maps.geometry + portrait.motion, frames.maps)[0]
        for name, maps in (("completed", first), ("with what is seen", kept), ("refined", refined))
    }
    large = resized_maps(refined, frames.maps, frames.prior)
    return _Shown(meshes, FicaAvatar.of(large, networks.prior, frames.prior), portrait.drive[0])
