"""What ``avatar.json`` says of an avatar's splats; no bpy, no backend."""

from __future__ import annotations

from typing import Literal

import msgspec


class SplatDecoder(msgspec.Struct, frozen=True, kw_only=True):
    """The learned networks that made the splats and decode their frames; the files lie in ``fica/``."""

    name: str  # "fica"
    size: Literal["full", "tiny"]  # tiny: an exercise of the path, no likeness
    texels: int  # a side of the atlas, one splat for each texel with a surface
    atlas: str  # digest of that atlas
    networks: str  # digest of all networks that took part
    created_by: str  # what packed them
    trained: dict[str, str]  # part: in one line, how
    files: dict[str, str]  # name: sha256


class SplatsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The avatar's Gaussian splats: ``splats.ply`` and its tie to the mesh, ``splats.npz``."""

    count: int
    sh_degree: int
    sha256: str  # of splats.ply
    binding_sha256: str  # of splats.npz
    decoder: SplatDecoder | None = None  # None: the embedded decoder, without learned weights
