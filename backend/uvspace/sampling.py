"""Reading images between their pixels: pyramids, bicubic and bilinear, in continuous coordinates.

Continuous coordinates put pixel ``[r, c]``'s centre at (c + 0.5, r + 0.5); beyond the border the border
pixel repeats. ``cv2.remap`` is not used: it rounds positions to 1/32 pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import srgb_to_linear
from backend.uvspace.kernels import compiled, in_bands


@dataclass(frozen=True)
class ImagePyramid:
    """An image and its halvings (box filter), in one array so that compiled code can walk it.

    At level k, continuous coordinates are those of the image divided by 2^k.
    """

    texels: F32  # (sum of all levels' pixels, C)
    offset: NDArray[np.int64]  # (L,) first row of each level in texels
    height: NDArray[np.int64]  # (L,)
    width: NDArray[np.int64]  # (L,)

    @staticmethod
    def build(image: NDArray[np.floating[Any]], levels: int = 16) -> ImagePyramid:
        """The pyramid of an ``(H, W, C)`` image with at most ``levels`` levels, down to one pixel."""
        height, width = [image.shape[0]], [image.shape[1]]
        while len(height) < levels and max(height[-1], width[-1]) > 1:
            height.append((height[-1] + 1) // 2)
            width.append((width[-1] + 1) // 2)
        sizes = np.array(height, np.int64) * np.array(width, np.int64)
        offset = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        channels = image.shape[2]
        texels = np.empty((int(sizes.sum()), channels), np.float32)
        texels[: sizes[0]] = image.reshape(-1, channels)
        for level in range(1, len(height)):
            above = texels[offset[level - 1] : offset[level]].reshape(height[level - 1], width[level - 1], -1)
            here = texels[offset[level] : offset[level] + sizes[level]].reshape(
                height[level], width[level], -1
            )
            _halve_in_bands(above, here)
        return ImagePyramid(texels, offset, np.array(height, np.int64), np.array(width, np.int64))

    def sample(self, xy: NDArray[np.floating[Any]], level: NDArray[np.floating[Any]]) -> F32:
        """Trilinear values ``(N, C)`` at continuous ``xy`` ``(N, 2)`` and pyramid ``level`` ``(N,)``."""
        points = np.ascontiguousarray(xy, np.float64)
        levels = np.ascontiguousarray(level, np.float64)
        out = np.empty((len(points), self.texels.shape[1]), np.float32)

        def band(start: int, end: int) -> None:
            _trilinear(
                self.texels,
                self.offset,
                self.height,
                self.width,
                points[start:end],
                levels[start:end],
                out[start:end],
            )

        in_bands(band, len(points), least_rows=4096)
        return out


def sample_bilinear(image: NDArray[np.floating[Any]], xy: NDArray[np.floating[Any]]) -> F32:
    """Values ``(..., C)`` of an ``(H, W, C)`` image at continuous positions ``xy`` ``(..., 2)``."""
    points = np.asarray(xy, np.float64).reshape(-1, 2)
    flat = ImagePyramid.build(image, levels=1).sample(points, np.zeros(len(points)))
    return flat.reshape(*np.shape(xy)[:-1], image.shape[2])


def sample_chart(image: NDArray[np.floating[Any]], uv: NDArray[np.floating[Any]]) -> F32:
    """Bilinear values ``(..., C)`` of a chart ``(S, S, C)`` at ``uv`` ``(..., 2)``, origin bottom-left."""
    uv64 = np.asarray(uv, np.float64)
    height, width = image.shape[:2]
    return sample_bilinear(image, np.stack([uv64[..., 0] * width, (1 - uv64[..., 1]) * height], -1))


def linear_light(rgb_srgb: NDArray[np.floating[Any]]) -> F32:
    """``backend.colour.srgb_to_linear`` of an ``(H, W, 3)`` photo in [0, 1], by table: within 1e-6, fast."""
    table = srgb_to_linear(np.linspace(0, 1, 8193))
    image = np.ascontiguousarray(rgb_srgb, np.float32)
    out = np.empty(image.shape, np.float32)
    in_bands(lambda start, end: _decode(image[start:end], table, out[start:end]), len(image))
    return out


def _halve_in_bands(above: F32, here: F32) -> None:
    in_bands(lambda start, end: _halve(above, here, start, end), len(here))


@compiled
def _decode(image: F32, table: F32, out: F32) -> None:
    last = len(table) - 1
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for c in range(image.shape[2]):
                at = min(max(image[y, x, c], 0.0), 1.0) * last
                k = min(int(at), last - 1)
                out[y, x, c] = table[k] + (at - k) * (table[k + 1] - table[k])


@compiled
def _halve(above: F32, here: F32, start: int, end: int) -> None:
    """Rows ``[start, end)`` of the next level; an odd last row or column counts twice."""
    height, width, channels = above.shape
    for y in range(start, end):
        low = min(2 * y + 1, height - 1)
        for x in range(here.shape[1]):
            right = min(2 * x + 1, width - 1)
            for c in range(channels):
                here[y, x, c] = 0.25 * (
                    above[2 * y, 2 * x, c]
                    + above[2 * y, right, c]
                    + above[low, 2 * x, c]
                    + above[low, right, c]
                )


@compiled
def add_bilinear(
    texels: F32, first: int, height: int, width: int, x: float, y: float, weight: float, out: F32
) -> None:
    """Add ``weight`` times the bilinear value at continuous (x, y) of one level to ``out`` ``(C,)``."""
    fx, fy = min(max(x - 0.5, 0.0), width - 1.0), min(max(y - 0.5, 0.0), height - 1.0)
    c0, r0 = int(fx), int(fy)
    tx, ty = fx - c0, fy - r0
    c1, r1 = min(c0 + 1, width - 1), min(r0 + 1, height - 1)
    top, low = first + r0 * width, first + r1 * width
    w00, w01, w10, w11 = (1 - tx) * (1 - ty), tx * (1 - ty), (1 - tx) * ty, tx * ty
    for c in range(out.shape[0]):
        out[c] += weight * (
            w00 * texels[top + c0, c]
            + w01 * texels[top + c1, c]
            + w10 * texels[low + c0, c]
            + w11 * texels[low + c1, c]
        )


@compiled
def write_bilinear(image: F32, x: float, y: float, out: F32) -> None:
    """Write ``image`` ``(H, W, C)`` at continuous (x, y) into ``out`` ``(C,)``."""
    out[:] = 0.0
    height, width, channels = image.shape
    add_bilinear(image.reshape(height * width, channels), 0, height, width, x, y, 1.0, out)


@compiled
def add_bicubic(
    texels: F32, first: int, height: int, width: int, x: float, y: float, weight: float, out: F32
) -> None:
    """As ``add_bilinear`` with the Catmull-Rom kernel, which keeps edges sharp under magnification."""
    fx, fy = x - 0.5, y - 0.5
    c0, r0 = int(np.floor(fx)), int(np.floor(fy))
    tx, ty = fx - c0, fy - r0
    for j in range(4):
        row = first + min(max(r0 + j - 1, 0), height - 1) * width
        wy = weight * catmull_rom(ty, j)
        for i in range(4):
            at = row + min(max(c0 + i - 1, 0), width - 1)
            w = wy * catmull_rom(tx, i)
            for c in range(out.shape[0]):
                out[c] += w * texels[at, c]


@compiled
def catmull_rom(t: float, tap: int) -> float:
    """Weight of tap 0…3 (at −1, 0, 1, 2) for a position ``t`` in [0, 1) between taps 1 and 2 (Keys 1981)."""
    if tap == 0:
        return ((-0.5 * t + 1.0) * t - 0.5) * t
    if tap == 1:
        return (1.5 * t - 2.5) * t * t + 1.0
    if tap == 2:
        return ((-1.5 * t + 2.0) * t + 0.5) * t
    return (0.5 * t - 0.5) * t * t


@compiled
def _trilinear(
    texels: F32,
    offset: NDArray[np.int64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    xy: NDArray[np.float64],
    level: NDArray[np.float64],
    out: F32,
) -> None:
    for n in range(len(xy)):
        out[n] = 0.0
        at = min(max(level[n], 0.0), len(offset) - 1.0)
        k = int(at)
        blend = at - k
        scale = 0.5**k
        add_bilinear(
            texels, offset[k], height[k], width[k], xy[n, 0] * scale, xy[n, 1] * scale, 1 - blend, out[n]
        )
        if blend > 0.0:
            k, scale = k + 1, scale * 0.5
            add_bilinear(
                texels, offset[k], height[k], width[k], xy[n, 0] * scale, xy[n, 1] * scale, blend, out[n]
            )
