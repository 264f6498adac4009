"""``case.json`` and what a truth may hold (docs/case-format.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

from blender_addon.bundle import CameraRecord

SCHEMA = 1
CASE_NAME = "case.json"
MAPS = ("albedo", "normal", "roughness", "specular", "displacement")
VIEWS = ("photo", "left45", "right45")
PARTS = (
    "camera",
    "light",
    "mesh",
    "neutral mesh",
    "landmarks",
    *(f"map {name}" for name in MAPS),
    *(f"view {name}" for name in VIEWS),
    "relit pictures",
    "novel pictures",
)


class PhotoFile(msgspec.Struct, frozen=True, kw_only=True):
    """The photograph that a method sees; ``file`` is relative to the case folder."""

    file: str
    width_px: int
    height_px: int


class LightRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The light that the photograph was taken in."""

    kind: Literal["hdri", "sh"]
    name: str
    rotation_degrees: float = 0.0  # Blender's Mapping rotation about the vertical
    strength: float = 1.0


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Something of others that the case was made from."""

    name: str
    licence: str


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Who made the case, and how it can be made again."""

    made_by: str
    seed: int | None = None
    sources: tuple[Source, ...] = ()


class CaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``case.json``."""

    schema: int
    id: str
    group: str  # the condition: "front", "turned", …
    photo: PhotoFile
    provenance: Provenance
    subject: str = ""  # whose head this is; cases of one subject are not independent. Empty: the id
    units: str = "m"
    camera: CameraRecord | None = None
    light: LightRecord | None = None
    skin_tone_ita_degrees: float | None = None
    parts: tuple[str, ...] = ()  # what the truth is meant to have, in the names of PARTS


class RelitPicture(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``truth/relit/relit.json``."""

    file: str
    view: str
    hdri: str
    rotation_degrees: float = 0.0
    strength: float = 1.0


class NovelPicture(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``truth/novel/novel.json``: the head in the photo's light from elsewhere, or moved."""

    file: str  # RGBA: sRGB, transparent beside the head
    face_file: str  # grey, above 127 where the face is seen
    turn_degrees: float  # of the camera about the head, from the photo's; positive to the subject's left
    camera: CameraRecord
    expression: dict[str, float] | None = None  # weights by ARKit's names; None: the photographed one
