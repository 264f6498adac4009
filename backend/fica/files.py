"""FiCA's part of an avatar folder: the head's maps and the prior that decodes them, in ``fica/``.

The prior comes along, so that an avatar is whole without the networks that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from backend.errors import BadInput, LikenessError
from backend.fica.atlas import Atlas, build_atlas
from backend.fica.maps import Frame, HeadMaps, frame_of
from backend.fica.networks import NetworksManifest, atlas_digest
from backend.fica.path import FicaAvatar
from backend.fica.prior import UniversalPrior
from backend.fica.sizes import prior_config
from backend.fica.store import SETTINGS, load_network, save_network, sha256_of
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.weights.reading import read_safetensors
from blender_addon.bundle import Avatar
from blender_addon.splats_record import SplatDecoder

FOLDER = "fica"
IDENTITY, PRIOR = "identity.safetensors", "prior.safetensors"
NAME = "fica"


@dataclass(frozen=True)
class FicaIdentity:
    """What is kept of a made avatar (``backend.artifacts.SplatKeeper``)."""

    avatar: FicaAvatar
    atlas: Atlas  # of the prior
    networks: NetworksManifest

    def write(self, folder: Path) -> SplatDecoder:
        """Write ``fica/`` into the avatar ``folder``; what its manifest says of it. Raises: OSError."""
        from safetensors.torch import save_file

        place = folder / FOLDER
        place.mkdir()
        maps, size, texels = self.avatar.maps, self.networks.size, self.atlas.size
        held = {"texture": maps.texture, "geometry": maps.geometry}
        save_file({name: t.detach().cpu().contiguous() for name, t in held.items()}, place / IDENTITY)
        save_network(place, "prior", self.avatar.prior, size, texels)
        return SplatDecoder(
            name=NAME,
            size=size,
            texels=texels,
            atlas=atlas_digest(self.atlas),
            networks=self.networks.digest(),
            created_by=self.networks.created_by,
            trained={name: str(part) for name, part in self.networks.parts.items()},
            files={name: sha256_of(place / name) for name in (IDENTITY, PRIOR, SETTINGS)},
        )


def read_identity(found: Avatar) -> tuple[FicaAvatar, ParametricHead, Atlas]:
    """The avatar of a folder, on the processor.

    Raises: BadInput (a file is gone, changed or of another version; another head).
    """
    record = found.manifest.splats.decoder if found.manifest.splats is not None else None
    if record is None or record.name != NAME:
        raise BadInput(f"'{found.directory.name}' was not made by FiCA's networks")
    again = "reconstruct it again with --splats-by"
    place = found.directory / FOLDER
    for name, digest in record.files.items():
        if Path(name).name != name or not (place / name).is_file():
            raise BadInput(f"'{found.directory.name}/{FOLDER}' lacks {name}; {again}")
        if sha256_of(place / name) != digest:
            raise BadInput(f"'{found.directory.name}/{FOLDER}/{name}' has changed or is damaged; {again}")
    if not {IDENTITY, PRIOR} <= set(record.files):
        raise BadInput(f"the splats of '{found.directory.name}' are of another version; {again}")
    try:
        head = load_head(found.manifest.head)
        atlas = build_atlas(head, record.texels)
        if atlas_digest(atlas) != record.atlas or len(found.mesh.vertices_neutral_head) != len(
            head.mean_vertices
        ):
            raise BadInput(f"the splats of '{found.directory.name}' are of another head; {again}")
        frame = frame_of(atlas)
        prior = UniversalPrior(prior_config(record.size, record.texels), frame)
        load_network(place, "prior", prior, record.size, record.texels)
        kept = read_safetensors(place / IDENTITY)
    except BadInput:
        raise
    except LikenessError as error:
        raise BadInput(str(error)) from error
    prior.eval().requires_grad_(False)
    return FicaAvatar.of(_maps(kept, frame, found.directory.name, again), prior, frame), head, atlas


def _maps(kept: dict[str, torch.Tensor], frame: Frame, name: str, again: str) -> HeadMaps:
    shape = (1, 3, frame.size, frame.size)
    if any(key not in kept or kept[key].shape != shape for key in ("texture", "geometry")):
        raise BadInput(f"'{name}/{FOLDER}/{IDENTITY}' is damaged; {again}")
    return HeadMaps(kept["texture"].float(), kept["geometry"].float())
