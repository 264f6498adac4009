"""What a training set's files say of themselves (docs/dataset.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from backend.errors import BadInput

SCHEMA = 2
MANIFEST_NAME = "manifest.json"
SHARD_FOLDER = "shards"

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Kind = Literal["instances", "heads", "moments"]
Light = Literal["panorama", "studio", "sky"]
Renderer = Literal["transfer", "cycles"]

# Every member of a record beside its metadata, by kind: what verify demands and the reader decodes.
INSTANCE_MEMBERS = (
    "portrait.jpg",
    "t_inc.png",
    "visibility.png",
    "t_env.png",
    "t_hom.png",
    "albedo.png",
    "normal.png",
    "roughness.png",
    "specular.png",
    "displacement.png",
)
HEAD_MEMBERS = (
    "vertices.npy",
    "direct.npy",
    "bounce.npy",
    "visibility.npy",
    "albedo.png",
    "normal.png",
    "roughness.png",
    "specular.png",
    "displacement.png",
)
MOMENT_MEMBERS = ("texture.png", "shaded.png", "inside.png", "position.png")
# Members that a record may have besides: all of its kind's, or none.
OPTIONAL_MEMBERS: dict[Kind, tuple[str, ...]] = {
    "instances": (
        "labels.png",
        "cover.png",
        "depth.png",
        "normal_camera.png",
        "uv.png",
        "face_id.png",
        "landmarks.npy",
    )
}
DEPTH_STEP_M = 1e-4  # of depth.png
# What labels.png counts from 1 on; 0 is neither the person nor anything worn.
LABELS = ("skin", "hair", "cloth", "frame", "lens", "hat", "hand", "eyes", "mouth")
META = "meta.msgpack"


def members_of(kind: Kind, cameras: int = 0) -> tuple[str, ...]:
    """The members of a record of ``kind`` without its metadata, in their order in the tar.

    ``cameras`` is how many views a moment has; the others have none.
    """
    if kind == "moments":
        views = (f"view{k:03d}.{what}" for k in range(cameras) for what in ("jpg", "parts.png"))
        return (*MOMENT_MEMBERS, *views)
    return INSTANCE_MEMBERS if kind == "instances" else HEAD_MEMBERS


def kinds_of(recipe: Recipe) -> tuple[Kind, ...]:
    """What a set of ``recipe`` is made of; a unit of work gives one piece of each."""
    return ("moments",) if recipe.cameras else ("instances", "heads")


class CameraMeta(msgspec.Struct, frozen=True, kw_only=True):
    """As ``artifacts.Camera``."""

    focal_px: float
    principal_px: tuple[float, float]
    width_px: int
    height_px: int
    world_to_camera: tuple[tuple[float, float, float, float], ...]  # 3 rows


class PersonMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Who it is: one identity with one skin and one expression, in one or more lights."""

    identity: int  # number of the identity in the set; its records are all in one split
    seed: int
    identity_coefficients: tuple[float, ...]  # standard deviations of the head's modes
    expression: dict[str, float]  # ARKit names, those above zero
    skin: str  # what made the skin
    albedo_coefficients: tuple[float, ...]
    tone_ita_degrees: float  # individual typology angle of the median albedo
    mean_albedo_linear: tuple[float, float, float]
    displacement_scale_m: float
    age_years: float | None = None  # that shape and skin were drawn for; None in older sets
    is_male: bool | None = None


class LightMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What the instance is lit by."""

    kind: Light
    name: str  # of the panorama, or of the recipe
    turn_degrees: float  # right-handed about +Y, as ``latlong.rotate``
    strength: float  # factor on the panorama's radiance
    colour: tuple[float, float, float]  # and by channel; its mean is 1
    radiance_sh: tuple[tuple[float, float, float], ...]  # degree 2, head space, as lit: turned and scaled
    key_azimuth_degrees: float  # where most light comes from: 0 before the face, positive on its left
    key_elevation_degrees: float
    key_share: float  # |degree 1| over degree 0 of the luminance, 0 even … 1 one lamp


class DressMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a rendered person wears; names as ``synthdata.cycles`` has them, "" for nothing."""

    hair: str
    hair_linear: tuple[float, float, float]
    beard: str
    glasses: str
    lens_transmittance: tuple[float, float, float]  # (1, 1, 1) without glasses
    hat: str
    garment: str
    has_scarf: bool
    has_hand: bool


class LensMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a rendered picture's lens and sensor do besides projecting."""

    f_number: float  # of a lens before a sensor 24 mm high
    focus_m: float  # depth that is sharp
    shake_px: float  # length of the way that the picture moved while it was taken
    white_balance: tuple[float, float, float]  # times ``exposure`` by channel, in portrait, t_inc and t_env


class InstanceMeta(msgspec.Struct, frozen=True, kw_only=True, tag="instance"):
    """The metadata of one instance."""

    schema: int
    index: int  # of the instance in the set
    person: PersonMeta
    camera: CameraMeta
    yaw_degrees: float  # of the camera towards the subject's left
    pitch_degrees: float
    light: LightMeta
    exposure: float  # radiance times this is what portrait, t_inc and t_env hold; t_hom is in radiance 1
    seen_share: float  # of the chart's texels that the portrait shows
    renderer: Renderer = "transfer"
    lens: LensMeta | None = None  # of renderer cycles, as the next
    dress: DressMeta | None = None


class HeadMeta(msgspec.Struct, frozen=True, kw_only=True, tag="head"):
    """The metadata of one posed head with its transfer."""

    schema: int
    person: PersonMeta
    degrees: tuple[int, int, int]  # of direct, bounce and visibility


class ViewMeta(msgspec.Struct, frozen=True, kw_only=True):
    """One camera of a dome at one moment."""

    camera: CameraMeta
    yaw_degrees: float
    pitch_degrees: float
    seen_share: float  # of the picture that the head covers


class MomentMeta(msgspec.Struct, frozen=True, kw_only=True, tag="moment"):
    """One expression of one person, seen by all cameras of a dome at once."""

    schema: int
    index: int  # of the moment in the set
    person: PersonMeta
    gaze_degrees: tuple[tuple[float, float], tuple[float, float]]  # left, right eye: to its left, up
    views: tuple[ViewMeta, ...]
    light: LightMeta
    exposure: float  # radiance times this is what views and shaded hold
    parts: tuple[str, ...]  # what the numbers in the views' parts mean: 0 nothing, k + 1 parts[k]
    renderer: Renderer = "transfer"
    dress: DressMeta | None = None  # of a rendered person


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One tar file."""

    name: str  # in SHARD_FOLDER
    kind: Kind
    split: Split
    records: int
    identities: tuple[int, ...]
    bytes: int
    sha256: str


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """What went into the set and under which terms."""

    what: str
    licence: str
    sha256: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes follow from: the same recipe gives the same records on one machine."""

    preset: str
    count: int  # instances, or moments
    seed: int
    instances_per_person: int  # lights; expressions where a dome of cameras looks on
    persons_per_shard: int
    texels: int
    portrait_px: int
    cameras: int = 0  # of a dome; 0: one free camera for each instance
    cycles_every: int = 0  # every such person is rendered by Cycles; 0: none, 1: all
    cycles_instances: int = 0  # of each of them
    cycles_samples: int = 0  # a pixel
    panoramas: tuple[Licence, ...]
    head: str = "open"
    head_sha256: str
    photographs: tuple[Licence, ...] = ()  # person k has the face of photograph k; without any it is drawn
    scans: tuple[Licence, ...] = ()
    scan_share: float = 0.0  # in [0, 1]: how much of a person's skin is a scan
    versions: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``manifest.json``: rewritten whole whenever a shard is finished."""

    format: str
    schema: int
    recipe: Recipe
    licences: tuple[Licence, ...]
    skipped: tuple[str, ...]  # inputs that could not be used, and why
    shards: tuple[Shard, ...]
    complete: bool


FORMAT = "likeness-synth"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set. Raises: BadInput."""
    path = folder / MANIFEST_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(
            f"'{folder}' has no {MANIFEST_NAME}; `likeness synth run` makes training sets"
        ) from error
    except OSError as error:
        raise BadInput(f"'{path}' cannot be read ({error.strerror})") from error
    try:
        head = msgspec.json.decode(data, type=dict)
        if head.get("format") != FORMAT:
            raise BadInput(f"'{path}' is not the manifest of a training set")
        if head.get("schema") != SCHEMA:
            raise BadInput(
                f"'{folder}' has schema {head.get('schema')}, this version reads {SCHEMA}; "
                "use the version of Likeness that made it, or make it again"
            )
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise BadInput(f"'{path}' is damaged ({error})") from error
