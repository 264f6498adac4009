"""How good a texture is: evenness, seams, what hair and glasses left in it, and albedo against truth.

Functions of arrays; ``texture_groups`` brings them to cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.colour import linear_to_srgb
from backend.head.base import ParametricHead
from backend.texture.mirror import mirror_index
from backend.uvspace.chart import chart_maps, chart_raster
from backend.uvspace.sampling import sample_bilinear, sample_chart
from backend.uvspace.seams import SeamPairs, seam_pairs

Mask = NDArray[Any]
Map = NDArray[np.floating[Any]]

# The paper's kernel of 55 texels, on maps of 1024. Its sigma is not told: OpenCV's for that kernel is taken.
BLUR_TEXELS, BLUR_MAP_TEXELS = 55, 1024
_LUMA_BT601 = np.array([0.299, 0.587, 0.114], np.float32)
BELIEVED = 0.5  # confidence from which a texel counts as the photo's
_STEP_TEXELS = 1.0  # between the two samples of a jump


def bs_error(albedo_srgb: Map, head: ParametricHead) -> float:
    """Brightness-symmetry error of a map ``(S, S, 3)`` in [0, 1], in grey levels of 255; 0 is even light.

    After FFHQ-UV (Bai et al., CVPR 2023): the mean of |B(Y) − F(B(Y))|, Y the map's luma, B a Gaussian blur
    of 55 texels, F the flip across the face. A face is nearly symmetric, so what is left is light. The
    authors publish formula and values, no code. Theirs flips the whole picture over, as their chart is
    symmetric; here a texel's mirror image is found on the head, whatever the chart, and blur and mean take
    the chart's texels alone. So values compare within this suite; with published ones, in size alone.
    """
    size = len(albedo_srgb)
    raster = chart_raster(head, size)
    inside = raster.covered.astype(np.float32)
    luma = (np.asarray(albedo_srgb, np.float32) @ _LUMA_BT601) * 255
    kernel = max(1, round(BLUR_TEXELS * size / BLUR_MAP_TEXELS)) | 1
    total = np.maximum(_blurred(inside, kernel), 1e-6)
    even = _blurred(luma * inside, kernel) / total
    partner = mirror_index(head, raster.triangle, raster.barycentric, size)
    known = raster.covered & (partner[..., 0] >= 0)
    if not known.any():
        raise ValueError(f"head '{head.name}' has no mirror image")
    row, column = partner[known].T
    mirrored = sample_bilinear(even[..., None], np.stack([column + 0.5, row + 0.5], -1))[..., 0]
    return float(np.mean(np.abs(even[known] - mirrored)))


def _blurred(values: F32, kernel: int) -> F32:
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (kernel, kernel), 0, borderType=cv2.BORDER_CONSTANT))


@dataclass(frozen=True)
class SeamJump:
    """Mean absolute sRGB differences in grey levels of 255."""

    across: float  # over the seam
    beside: float  # between neighbouring texels next to it

    @property
    def ratio(self) -> float | None:
        """How many times the neighbours' jump the seam's is; None on a map without any detail."""
        return self.across / self.beside if self.beside > 0 else None


def seam_jump(albedo_srgb: Map, head: ParametricHead) -> SeamJump | None:
    """The colour jump of a map ``(S, S, 3)`` across chart seams beside that of texels one apart.

    Both pairs lie one texel apart on the surface: half a texel on either side of the seam, and half and
    one and a half on the same side. None for a chart without seams.
    """
    return seam_jump_of(albedo_srgb, seam_pairs(head, len(albedo_srgb)))


def seam_jump_of(albedo_srgb: Map, pairs: SeamPairs) -> SeamJump | None:
    """``seam_jump`` for given pairs."""
    if len(pairs.uv) == 0:
        return None
    texel = _STEP_TEXELS / len(albedo_srgb)
    near = sample_chart(albedo_srgb, pairs.uv + pairs.inward * (0.5 * texel))
    far = sample_chart(albedo_srgb, pairs.uv + pairs.inward * (1.5 * texel))
    other = sample_chart(albedo_srgb, pairs.uv_across + pairs.inward_across * (0.5 * texel))
    return SeamJump(
        across=float(np.abs(near - other).mean()) * 255, beside=float(np.abs(near - far).mean()) * 255
    )


@dataclass(frozen=True)
class OccluderLeak:
    """Hair, glasses and hands in a texture."""

    of_texture: float | None  # share of the believed texels that show an occluder; None when none is believed
    believed_texels: int
    leaked_texels: int


def occluder_leak(
    head: ParametricHead,
    vertices_head: Map,
    believed: Map,
    camera: Camera,
    occluder_mask: Mask,
) -> OccluderLeak:
    """Texels that the unwrap believes although the truth has an occluder at their photo pixel.

    ``believed`` ``(S, S)`` is the unwrap's confidence, ``camera`` the reconstruction's for the photo in the
    size of ``occluder_mask`` ``(H, W)``. A believed texel was seen, so no other visibility is asked for.
    """
    chart = chart_maps(head, vertices_head, len(believed))
    texels = chart.inside & (np.asarray(believed) > BELIEVED)
    count = int(texels.sum())
    if count == 0:
        return OccluderLeak(None, 0, 0)
    pixel, depth = camera.project(chart.position_head[texels])
    column, row = np.floor(pixel).astype(np.int64).T
    height, width = occluder_mask.shape
    framed = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth > 0)
    leaked = int((np.asarray(occluder_mask)[row[framed], column[framed]] > 0).sum())
    return OccluderLeak(leaked / count, count, leaked)


@dataclass(frozen=True)
class AlbedoError:
    """Root-mean-square differences of linear albedo."""

    absolute: float
    one_scale: float  # after the one factor that fits best: light's brightness is not told by a photo
    channel_scale: float  # after a factor per channel: nor is its colour


def albedo_error(albedo_linear: Map, truth_linear: Map, mask: Mask) -> AlbedoError | None:
    """Albedo ``(H, W, 3)`` against truth's over the mask; None on an empty mask."""
    inside = np.asarray(mask) > 0
    if not inside.any():
        return None
    own = np.asarray(albedo_linear, np.float64)[inside]
    truth = np.asarray(truth_linear, np.float64)[inside]
    square = (own * own).sum(0)
    product = (own * truth).sum(0)
    one = product.sum() / max(square.sum(), 1e-12)
    each = product / np.maximum(square, 1e-12)

    def rms(difference: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.mean(difference**2)))

    return AlbedoError(rms(own - truth), rms(one * own - truth), rms(each * own - truth))


def to_srgb(linear: Map) -> F32:
    """sRGB in [0, 1] of linear values."""
    return np.clip(linear_to_srgb(linear), 0, 1)
