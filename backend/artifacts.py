"""What flows between the stages: frozen dataclasses, one per arrow of ``backend.pipeline``.

Conventions (docs/architecture.md): head space is metres, right-handed, +Y up, face to +Z; camera
space is OpenCV (x right, y down, z forward); pixel centres lie at .5; images are float32 ``H×W×C``
with the top row first; UV origin is bottom-left, so ``row = (1 − v)·S − 0.5``. Colour is linear
Rec. 709 unless a name says ``srgb``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.errors import Cancelled

if TYPE_CHECKING:
    from backend.gaussians.surface import BoundGaussians
    from backend.head.base import ParametricHead
    from blender_addon.splats_record import SplatDecoder

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def _never() -> bool:
    return False


def _silent(stage: str, fraction: float) -> None:
    return None


def _unseen(stage: str, picture: F32) -> None:
    return None


@dataclass(frozen=True)
class Run:
    """What every stage is handed beside its input: the job's seed, warnings, progress, cancel."""

    seed: int = 0
    on_progress: Callable[[str, float], None] = _silent  # (stage name, fraction in [0, 1])
    is_cancelled: Callable[[], bool] = _never
    warnings: list[str] = field(default_factory=list)  # shown to the artist, kept in avatar.json
    on_preview: Callable[[str, F32], None] = _unseen  # (stage name, small picture (h, w, 3) sRGB)

    def warn(self, message: str) -> None:
        """Record one plain sentence for the artist; the same sentence is kept once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def progress(self, stage: str, fraction: float) -> None:
        """Report progress and stop here if the user cancelled. Raises: Cancelled."""
        if self.is_cancelled():
            raise Cancelled("cancelled")
        self.on_progress(stage, fraction)

    def rng(self, salt: int = 0) -> np.random.Generator:
        """A generator that depends on the job's seed and ``salt`` alone."""
        return np.random.default_rng([self.seed, salt])


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright, sRGB primaries and transfer, alpha composited away."""

    name: str  # file name without folder and suffix
    sha256: str  # of the file's bytes
    rgb_srgb: F32  # (H, W, 3) in [0, 1]
    focal_35mm: float | None  # EXIF 35 mm equivalent focal length, of the whole picture
    source_size: tuple[int, int]  # (width, height) in the file after orientation, before any reduction

    @property
    def width(self) -> int:
        return int(self.rgb_srgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb_srgb.shape[0])


@dataclass(frozen=True)
class FaceBox:
    """A detected face in photo pixels."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float  # detector confidence in [0, 1]

    @property
    def size(self) -> tuple[float, float]:
        return self.x1 - self.x0, self.y1 - self.y0


@dataclass(frozen=True)
class Observation:
    """What the photograph shows of one face."""

    photo: Photo
    faces: tuple[FaceBox, ...]  # every face found, the best first
    face_index: int  # which of them this is
    landmarks_px: F32  # (478, 2) MediaPipe Face Mesh points with iris, photo pixels (x, y)
    landmarks_depth: F32  # (478,) MediaPipe's relative depth, scaled to pixels, smaller is nearer
    landmarks_visible: F32  # (478,) in [0, 1], low where the point faces away or leaves the frame
    skin_mask: F32  # (H, W) in [0, 1]: face and neck skin, lips, brows; not hair, eyes, teeth, cloth, glasses
    person_mask: F32  # (H, W) in [0, 1]: the whole person
    focal_px: float  # initial focal length
    focal_source: Literal["exif", "estimated"]

    @property
    def face_box(self) -> FaceBox:
        return self.faces[self.face_index]


@dataclass(frozen=True)
class Description:
    """What is seen of the face in words, for networks that are led by text."""

    lit: str  # with the light on it
    unlit: str  # without


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, OpenCV axes, square pixels."""

    focal_px: float
    principal_px: tuple[float, float]  # (cx, cy), pixel centres at .5
    width_px: int
    height_px: int
    world_to_camera: F64  # (3, 4): head space (metres) to camera space (metres)

    def to_camera(self, points_head: NDArray[np.floating[Any]]) -> F64:
        """``(..., 3)`` head-space points to camera space, metres."""
        rt = self.world_to_camera
        return np.asarray(np.asarray(points_head, np.float64) @ rt[:, :3].T + rt[:, 3])

    def project(self, points_head: NDArray[np.floating[Any]]) -> tuple[F64, F64]:
        """Pixels ``(..., 2)`` and depth ``(...)`` in metres of head-space points."""
        p = self.to_camera(points_head)
        centre = np.asarray(self.principal_px, np.float64)
        return self.focal_px * p[..., :2] / p[..., 2:3] + centre, p[..., 2]

    @property
    def centre_head(self) -> F64:
        """The camera's position in head space, metres ``(3,)``."""
        return -self.world_to_camera[:, :3].T @ self.world_to_camera[:, 3]


@dataclass(frozen=True)
class HeadFit:
    """A parametric head fitted to an observation: S = mean + B_id·α + B_exp·δ (MARCUS, method 1)."""

    head: ParametricHead
    identity: F32  # (K_id,) α, in standard deviations
    expression: F32  # (K_exp,) δ, each in [0, 1], order of head.expression_names
    albedo_coefficients: F32  # (K_tex,) β, in standard deviations
    radiance_sh: F32  # (9, 3) environment radiance in head space, backend.shading.sh order
    camera: Camera
    vertices_head: F32  # (V, 3) metres, identity and expression applied (the photographed face)
    neutral_head: F32  # (V, 3) metres, identity only
    iris_srgb: F32  # (3,) iris colour seen in the photo, or the head's default
    landmark_error_px: float  # mean over landmarks held out of the fit
    landmark_error_iod: float  # the same, over the projected outer-eye-corner distance
    photometric_psnr_db: float  # albedo basis × SH light against the photo, over visible skin
    focal_source: Literal["exif", "estimated"]


@dataclass(frozen=True)
class ChartMaps:
    """A head's geometry laid into its UV chart, ``S×S`` texels; what unwrap and shading share."""

    face_id: NDArray[np.int32]  # (S, S) triangle of the head, −1 outside the chart
    barycentric: F32  # (S, S, 3)
    inside: NDArray[np.bool_]  # (S, S) texels whose centre lies in the chart
    position_head: F32  # (S, S, 3) metres
    normal_head: F32  # (S, S, 3) unit smooth normal
    tangent_head: F32  # (S, S, 4) unit MikkTSpace tangent (+u) and handedness sign

    @property
    def size(self) -> int:
        return int(self.face_id.shape[0])


@dataclass(frozen=True)
class PartialUV:
    """The photo unwrapped into the chart: FiCA's ``[rgb, mask, normal, vertex]``, MARCUS' T_inc."""

    chart: ChartMaps  # of the photographed (expressive) face
    rgb_linear: F32  # (S, S, 3), 0 where confidence is 0
    confidence: F32  # (S, S) in [0, 1]: seen, frontal enough, skin, in frame
    texels_per_pixel: float  # median texels per photo pixel over seen texels (linear, not area)


@dataclass(frozen=True)
class CompleteUV:
    """A full chart, still lit as in the photo."""

    rgb_linear: F32  # (S, S, 3), every chart texel filled, dilated beyond the chart's border
    seen: F32  # (S, S) in [0, 1]: 1 from the photo, 0 made up
    implementation: str = ""


@dataclass(frozen=True)
class EvenUV:
    """A full chart under uniform white light, MARCUS' T_hom."""

    rgb_linear: F32  # (S, S, 3)
    relit: F32  # (S, S) in [0, 1]: how strongly light was taken out (0 nothing changed)


@dataclass(frozen=True)
class Materials:
    """The five maps, all ``S×S``, dilated beyond the chart's border."""

    albedo_linear: F32  # (S, S, 3) in [0, 1]
    normal_tangent: F32  # (S, S, 3) unit, OpenGL (+Y), MikkTSpace
    roughness: F32  # (S, S) in [0, 1], perceptual (alpha = roughness²)
    specular: F32  # (S, S) in [0, 1], F0 = 0.08·specular
    displacement_m: F32  # (S, S) metres along the smooth normal, signed

    @property
    def size(self) -> int:
        return int(self.roughness.shape[0])


@dataclass(frozen=True)
class OnHead:
    """All that is made of one face on one head, before it is called a reconstruction."""

    fit: HeadFit
    partial: PartialUV
    complete: CompleteUV
    even: EvenUV
    materials: Materials


@dataclass(frozen=True)
class StageRecord:
    """One line of ``avatar.json``'s ``stages``."""

    name: str
    implementation: str
    seconds: float


class SplatKeeper(Protocol):
    """What learned networks leave in the avatar folder, so that frames are decoded later."""

    def write(self, folder: Path) -> SplatDecoder:
        """Write it; what ``avatar.json`` says of it. Raises: OSError."""
        ...


@dataclass(frozen=True)
class Splatted:
    """Splats on the photographed face."""

    bound: BoundGaussians
    keeper: SplatKeeper | None = None  # None: the embedded decoder made them


class SplatNetworks(Protocol):
    """Learned networks that make splats."""

    @property
    def implementation(self) -> str:
        """What ``avatar.json`` calls them."""
        ...

    def make(self, made: Reconstruction, run: Run) -> Splatted:
        """Splats of a reconstruction. Raises: BadInput, Cancelled."""
        ...


@dataclass(frozen=True)
class Reconstruction:
    """Everything that the pipeline knows of one face, ready to be written as an avatar bundle."""

    observation: Observation
    fit: HeadFit
    partial: PartialUV
    complete: CompleteUV
    even: EvenUV
    materials: Materials
    engine: str
    seed: int
    stages: tuple[StageRecord, ...]
    warnings: tuple[str, ...]
    others: tuple[Observation, ...] = ()  # further photographs of the same person that took part
    splats: BoundGaussians | None = None  # None: not asked for
    splat_keeper: SplatKeeper | None = None  # None: the embedded decoder made them
