"""How alike two pictures are on a mask: PSNR, SSIM, gradient similarity, and identity by a face embedder.

Pictures are sRGB ``(H, W, 3)`` in [0, 1]; masks ``(H, W)``, above 0 where pixels count. Nothing outside the
mask has any influence. LPIPS, which needs a published network, is in ``lpips_network``;
``gradient_similarity`` stands in where that network is absent and never bears its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Picture = NDArray[np.floating[Any]]
Mask = NDArray[Any]
FaceEmbedder = Callable[[Picture], "NDArray[np.floating[Any]] | None"]  # None: no face was found

_SIGMA, _RADIUS = 1.5, 5  # Wang et al. 2004: an 11×11 Gaussian window
_K1, _K2 = 0.01, 0.03
_BT601 = np.array([0.299, 0.587, 0.114])
_GRADIENT_SCALES = 4
_GRADIENT_C = 170 / 255**2  # Xue et al. 2014 give 170 for pictures up to 255


def psnr_db(picture: Picture, truth: Picture, mask: Mask) -> float | None:
    """Peak signal-to-noise ratio of sRGB values, peak 1; infinite when equal, None on an empty mask."""
    inside = _inside(mask, picture, truth)
    if not inside.any():
        return None
    error = np.asarray(picture, np.float64)[inside] - np.asarray(truth, np.float64)[inside]
    mean_square = float(np.mean(error**2))
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))


def ssim(picture: Picture, truth: Picture, mask: Mask) -> float | None:
    """Mean structural similarity over the mask and the channels (Wang et al. 2004), None on an empty mask.

    Gaussian windows as scikit-image's ``gaussian_weights=True, use_sample_covariance=False,
    data_range=1``; a window that reaches beyond the mask (or the picture) takes the rest of its pixels alone.
    """
    inside = _inside(mask, picture, truth)
    if not inside.any():
        return None
    box = _box(inside)
    return float(ssim_map(picture[box], truth[box], inside[box])[inside[box]].mean())


def ssim_map(picture: Picture, truth: Picture, mask: Mask) -> F64:
    """The similarity at each pixel ``(H, W, 3)``; see ``ssim``. Meaningless outside the mask."""
    weight = _inside(mask, picture, truth).astype(np.float64)
    total = np.maximum(_window(weight), 1e-12)[..., None]

    def mean(values: F64) -> F64:
        inner: F64 = _window(values * weight[..., None]) / total
        return inner

    a, b = np.asarray(picture, np.float64), np.asarray(truth, np.float64)
    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    similarity: F64 = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return similarity


def gradient_similarity(picture: Picture, truth: Picture, mask: Mask) -> float | None:
    """Multi-scale gradient-magnitude similarity: 1 when every edge agrees, None where the mask is too small.

    Xue et al. 2014 compare Prewitt gradients of luma, (2ab + c)/(a² + b² + c); here its mean over the mask is
    averaged over four scales, each half the last. Deterministic and without a network: what is reported in
    LPIPS' place, under its own name.
    """
    whole = _inside(mask, picture, truth)
    if not whole.any():
        return None
    box = _box(whole, 2 ** (_GRADIENT_SCALES - 1))
    inside = whole[box]
    a, b = (np.asarray(p[box], np.float64) @ _BT601 for p in (picture, truth))
    found = []
    for _ in range(_GRADIENT_SCALES):
        core = _eroded(inside)  # where the 3×3 gradient knows all its pixels
        if core.any():
            ga, gb = _gradient(a)[core], _gradient(b)[core]
            found.append(float(np.mean((2 * ga * gb + _GRADIENT_C) / (ga**2 + gb**2 + _GRADIENT_C))))
        if min(inside.shape) < 6:
            break
        a, b, inside = _halved(a), _halved(b), _halved(inside.astype(np.float64)) == 1
    return float(np.mean(found)) if found else None


def identity_similarity(embed: FaceEmbedder, picture: Picture, truth: Picture) -> float | None:
    """CSIM: the cosine of the two faces' embeddings, in [−1, 1]; None where ``embed`` finds no face."""
    a, b = embed(picture), embed(truth)
    if a is None or b is None:
        return None
    u, v = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    length = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / length if length > 0 else None


def _inside(mask: Mask, *pictures: Picture) -> NDArray[np.bool_]:
    for picture in pictures:
        if picture.shape != (*mask.shape, 3):
            raise ValueError(f"a picture of shape {picture.shape} does not belong to a mask of {mask.shape}")
    return np.asarray(mask) > 0


def _box(inside: NDArray[np.bool_], step: int = 1) -> tuple[slice, slice]:
    """Rows and columns that hold the mask, from multiples of ``step``: nothing else counts."""
    found = []
    for axis in (1, 0):
        known = np.flatnonzero(inside.any(axis))
        found.append(slice(known[0] // step * step, -(-(known[-1] + 1) // step) * step))
    return found[0], found[1]


def _window(values: F64) -> F64:
    """Gaussian sums over rows and columns; beyond the border lies nothing."""
    from scipy.ndimage import gaussian_filter1d

    out = values
    for axis in (0, 1):
        out = gaussian_filter1d(out, _SIGMA, axis=axis, mode="constant", radius=_RADIUS)
    return np.asarray(out)


def _eroded(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    return np.asarray(binary_erosion(inside, np.ones((3, 3), bool)))


def _gradient(luma: F64) -> F64:
    from scipy.ndimage import prewitt

    magnitude: F64 = np.hypot(prewitt(luma, 0), prewitt(luma, 1)) / 3
    return magnitude


def _halved(values: F64) -> F64:
    height, width = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    mean: F64 = values[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return mean
