"""What of a fitted head a photograph shows, and how far each picture element can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera
from backend.errors import BadInput
from backend.uvspace.buffers import Rasteriser
from backend.uvspace.rasterise import camera_depth, cropped_camera, rasterise_camera

# The z-buffer's longer side: fine enough for eyelids, whatever the photo's resolution.
LEAST_SIDE_PX, MOST_SIDE_PX = 768, 1536
# As parts of the head's bounding-box diagonal (0.5 m): a quarter and half a millimetre.
BIAS = 0.0005
FOLD = 0.001
STEEPEST = 5.0  # depth over width of a surface at the grazing angle where use begins (78°)
# How far beside a depth edge the picture is given up wholly, and from where on it is trusted wholly: the
# fit is not exact to the pixel. What lies behind suffers most, for the nearer surface may really cover it;
# on the near side the skin mask helps. Metres, and photo pixels where that is more.
BEHIND_LOST_M, BEHIND_SAFE_M = 0.002, 0.006
BEFORE_LOST_M, BEFORE_SAFE_M = 0.001, 0.003
LOST_PX, SAFE_PX = 2.5, 4.5  # the bicubic kernel reaches two pixels, of the pyramid level it reads


@dataclass(frozen=True)
class Window:
    """A rectangle of the photo, whole pixels."""

    x0: int
    y0: int
    width: int
    height: int


@dataclass(frozen=True)
class Visibility:
    """The head's z-buffer in its window of the photo."""

    window: Window
    scale: float  # z-buffer pixels per photo pixel
    depth: F32  # (h, w) metres, camera z of the nearest surface of any part, inf beside the head
    trust: F32  # (h, w) in [0, 1], falling to 0 at occlusion edges
    bias_m: float  # depth by which a surface may lie behind the nearest one and still be it
    pixel_m: float  # a z-buffer pixel's width on the head, metres


def head_window(vertices_head: NDArray[np.floating[Any]], camera: Camera, margin_px: int = 4) -> Window:
    """The part of the photo that the projected head fills. Raises: BadInput when it is outside the frame."""
    pixels, depth = camera.project(vertices_head)
    pixels = pixels[depth > 0]
    frame = (camera.width_px, camera.height_px)
    if len(pixels) == 0:
        raise BadInput("the fitted head lies behind the camera; choose a photo with a clear face")
    low = np.maximum(np.floor(pixels.min(0)) - margin_px, 0)
    high = np.minimum(np.ceil(pixels.max(0)) + margin_px, frame)
    if (high <= low).any():
        raise BadInput("the fitted head lies outside the photo; choose a photo with the face in the frame")
    (x0, y0), (x1, y1) = low.astype(int), high.astype(int)
    return Window(int(x0), int(y0), int(x1 - x0), int(y1 - y0))


def visibility(
    vertices_head: NDArray[np.floating[Any]],
    triangles: NDArray[np.int32],
    camera: Camera,
    window: Window,
    reach_px: float = 1.0,
    rasteriser: Rasteriser | None = None,
) -> Visibility:
    """Rasterise all ``triangles`` ``(T, 3)`` as occluders into ``window`` and mark the depth edges.

    ``reach_px`` is the width in photo pixels of the pixels that will be read, those of a pyramid level.
    """
    side = max(window.width, window.height)
    scale = float(np.clip(side, LEAST_SIDE_PX, MOST_SIDE_PX)) / side
    width, height = (max(1, round(n * scale)) for n in (window.width, window.height))
    small = cropped_camera(camera, window.x0, window.y0, width, height, scale)
    depth = rasterise_camera(vertices_head, triangles, small, rasteriser).depth

    diagonal = float(np.linalg.norm(np.ptp(vertices_head, axis=0)))
    covered = np.isfinite(depth)
    middle = float(np.median(depth[covered])) if covered.any() else 1.0
    pixel_m = middle / small.focal_px
    z = np.where(covered, depth, _beside(depth, diagonal))
    trust = _edge_trust(z, FOLD * diagonal, pixel_m, reach_px * scale)
    return Visibility(window, scale, depth, trust, BIAS * diagonal, pixel_m)


def pixel_depth(
    vertices_head: NDArray[np.floating[Any]], triangles: NDArray[np.int32], camera: Camera, window: Window
) -> F32:
    """Depth ``(H, W)`` in metres of what the photo's own pixels of ``window`` show at their centres."""
    exact = cropped_camera(camera, window.x0, window.y0, window.width, window.height)
    depth = camera_depth(vertices_head, triangles, exact)
    diagonal = float(np.linalg.norm(np.ptp(vertices_head, axis=0)))
    return np.where(np.isfinite(depth), depth, _beside(depth, diagonal))


def _beside(depth: F32, diagonal_m: float) -> np.float32:
    """The depth that counts for what lies beside the head: far behind it."""
    seen = depth[np.isfinite(depth)]
    return np.float32((np.median(seen) if len(seen) else 1.0) + 10 * diagonal_m)


def _edge_trust(z: F32, fold_m: float, pixel_m: float, reach: float) -> F32:
    """Trust ``(h, w)`` in [0, 1] by distance from depth jumps, in pixels of the z-buffer ``z``.

    A step between two pixels is a jump when it exceeds by ``fold_m`` twice the steps on its either side,
    for a surface that turns away grows steeper gradually, or what a surface still worth reading can fall.
    """
    import cv2

    nearest, farthest = z.copy(), z.copy()
    edge = np.zeros(z.shape, bool)
    for view, low, high, jump in (
        (edge, nearest, farthest, z),
        (edge.T, nearest.T, farthest.T, z.T),
    ):
        step = np.abs(np.diff(jump, axis=1))
        beside = np.pad(step, ((0, 0), (1, 1)))  # no step beyond the window
        usual = np.minimum(2 * np.maximum(beside[:, :-2], beside[:, 2:]), STEEPEST * pixel_m)
        jumps = step - usual > fold_m
        view[:, 1:] |= jumps
        view[:, :-1] |= jumps
        near, far = np.minimum(jump[:, 1:], jump[:, :-1]), np.maximum(jump[:, 1:], jump[:, :-1])
        for side in (np.s_[:, 1:], np.s_[:, :-1]):
            low[side] = np.minimum(low[side], near)
            high[side] = np.maximum(high[side], far)
    if not edge.any():
        return np.ones(z.shape, np.float32)
    distance, label = cv2.distanceTransformWithLabels(
        (~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Of its closest jump: which side a pixel is on, and how high it is. The jump itself runs half a pixel
    # beside the centres of edge pixels.
    between = np.zeros(int(label.max()) + 1, np.float32)
    height = np.zeros_like(between)
    between[label[edge]] = 0.5 * (nearest + farthest)[edge]
    height[label[edge]] = (farthest - nearest)[edge]
    before = z < between[label]
    # A fold of a millimetre cannot be missed by more than about that.
    most = 0.5 * height[label]
    lost_m = np.minimum(np.where(before, BEFORE_LOST_M, BEHIND_LOST_M), most)
    safe_m = np.minimum(np.where(before, BEFORE_SAFE_M, BEHIND_SAFE_M), 3 * most)
    lost = np.maximum(lost_m / pixel_m, LOST_PX * reach)
    safe = np.maximum(safe_m / pixel_m, SAFE_PX * reach)
    t = np.clip((distance + 0.5 - lost) / (safe - lost), 0, 1)
    trust: F32 = (t * t * (3 - 2 * t)).astype(np.float32)
    return trust


def picture_trust(
    skin_mask: F32,
    person_mask: F32,
    window: Window,
    frame: tuple[int, int],
    pixel_m: float,
    reach_px: float = 1.0,
) -> F32:
    """How far each photo pixel of ``window`` is skin, well inside the frame: ``(h, w)`` in [0, 1].

    ``skin_mask`` and ``person_mask`` ``(H, W)`` in [0, 1]; ``frame`` is the photo's (width, height);
    ``pixel_m`` a photo pixel's width on the face, ``reach_px`` as for ``visibility``. The mask is shrunk
    by a millimetre, at least two pixels, because pixels on its border mix skin with what lies beside it.
    """
    import cv2

    part = np.s_[window.y0 : window.y0 + window.height, window.x0 : window.x0 + window.width]
    skin = np.minimum(skin_mask[part], person_mask[part]).astype(np.float32)
    radius = max(round(2 * reach_px), round(0.001 / pixel_m))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    shrunk = cv2.erode(skin, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    x = np.arange(window.width) + window.x0 + 0.5
    y = np.arange(window.height) + window.y0 + 0.5
    to_border = np.minimum(np.minimum(x, frame[0] - x)[None], np.minimum(y, frame[1] - y)[:, None])
    return smoothstep(0.3, 0.8, shrunk) * smoothstep(1.5, 4.5, to_border.astype(np.float32))


def smoothstep(low: float, high: float, x: F32) -> F32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    result: F32 = (t * t * (3 - 2 * t)).astype(np.float32)
    return result
