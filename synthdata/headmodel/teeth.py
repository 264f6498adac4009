"""Procedural teeth, gums and tongue, placed along ICT's tooth arches and moved by ICT's jaw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from backend.head.base import ParametricHead
from synthdata.headmodel.parts import PartHalf, affine_carry, same_chart_mirrored

I32 = NDArray[np.int32]
F64 = NDArray[np.float64]

# First vertices of ICT's left teeth, back molar to central incisor, and one past the last (mesh components).
UPPER_STARTS = (17039, 17230, 17416, 17607, 17730, 17895, 17991, 18067, 18143)
LOWER_STARTS = (19247, 19426, 19602, 19814, 19952, 20079, 20169, 20263, 20349)
UPPER_ALL, LOWER_ALL = (17039, 19247), (19247, 21451)
TOOTH_CELLS = 3  # quads along each edge of a tooth's box
# Against ICT's arches, which touch the lips: room for lips that slide over the teeth.
ARCH_NARROWING, ARCH_BACK_M = 0.955, 0.0016
TONGUE_TIP = np.array([0.0, -0.0428, 0.0935])
TONGUE_ROOT = np.array([0.0, -0.0415, 0.0370])
TONGUE_OUT_M = np.array([0.0, 0.0, 0.036])
# Height gained by reach, metres: the blade leaves over lower teeth and lip, the tip hangs.
TONGUE_RISE_M = ((0.0, 0.0), (0.3, 0.0060), (0.62, 0.0070), (0.8, 0.0030), (1.0, -0.0075))
# What opens the lips for the tongue, shares of ARKit's shapes; ICT has no ``tongueOut``.
OPENED_FOR_TONGUE = {"jawOpen": 0.22, "mouthLowerDownLeft": 0.25, "mouthLowerDownRight": 0.25}


@dataclass(frozen=True)
class Arch:
    """The eight teeth of one quadrant, back molar first; metres."""

    up: float  # +1 when the root is above the crown (upper jaw)
    bite: F64  # (8, 3) middle of each biting edge
    outward: F64  # (8, 3) unit, horizontal, away from the tongue
    along: F64  # (8, 3) unit, horizontal, along the arch towards the midline
    width: F64  # (8,) along the arch
    depth: F64  # (8,) across it
    crown: F64  # (8,) visible height


def fit_arch(ict: ParametricHead, starts: tuple[int, ...], up: float) -> Arch:
    """Measure ICT's teeth of one left quadrant."""
    v = ict.mean_vertices.astype(np.float64)
    count = len(starts) - 1
    crown = np.linspace(0.0070, 0.0108, count)
    centre = np.zeros((count, 3))
    tips = []
    for k in range(count):
        p = v[starts[k] : starts[k + 1]]
        edge = p[:, 1].min() if up > 0 else p[:, 1].max()
        tip = p[np.abs(p[:, 1] - edge) < crown[k]]
        centre[k] = [
            0.5 * (tip[:, 0].min() + tip[:, 0].max()),
            edge,
            0.5 * (tip[:, 2].min() + tip[:, 2].max()),
        ]
        tips.append(tip)
    across = centre[-1] * np.array([-1.0, 1.0, 1.0])
    line = np.concatenate([centre[:1] - (centre[1] - centre[0]), centre, across[None]])
    along = line[2:] - line[:-2]
    along[:, 1] = 0.0
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = np.stack([along[:, 2], np.zeros(count), -along[:, 0]], 1)
    width = np.array([np.ptp(t @ a) for t, a in zip(tips, along, strict=True)])
    depth = np.array([np.ptp(t @ o) for t, o in zip(tips, outward, strict=True)])
    placed = centre * np.array([ARCH_NARROWING, 1.0, 1.0]) - np.array([0.0, 0.0, ARCH_BACK_M])
    return Arch(up, placed, outward, along, 1.07 * ARCH_NARROWING * width, 0.9 * depth, crown)


def build_teeth(ict: ParametricHead) -> list[PartHalf]:
    """Upper and lower teeth, upper and lower gums, tongue."""
    upper, lower = fit_arch(ict, UPPER_STARTS, 1.0), fit_arch(ict, LOWER_STARTS, -1.0)
    parts = []
    for arch, ids, row in ((upper, np.arange(*UPPER_ALL), 0.5), (lower, np.arange(*LOWER_ALL), 0.0)):
        source = ict.mean_vertices[ids].astype(np.float64)
        for name, build in (("teeth", _teeth), ("gums", _gums)):
            vertices, quads, uvs, quad_uvs = build(arch)
            uvs = np.stack([0.5 + 0.5 * uvs[:, 0], row + 0.5 * uvs[:, 1]], 1)
            parts.append(
                PartHalf(
                    name,
                    name,
                    vertices,
                    quads,
                    uvs,
                    quad_uvs,
                    affine_carry(ids, source, vertices),
                    {},
                    same_chart_mirrored,
                )
            )
    vertices, quads, uvs, quad_uvs, reach = _tongue()
    ids = np.arange(*LOWER_ALL)
    carry = affine_carry(ids, ict.mean_vertices[ids].astype(np.float64), vertices)
    parts.append(
        PartHalf(
            "tongue",
            "tongue",
            vertices,
            quads,
            np.stack([0.5 + 0.5 * uvs[:, 0], uvs[:, 1]], 1),
            quad_uvs,
            carry,
            {"tongueOut": reach[:, None] * TONGUE_OUT_M + _rise(reach) + carry(opened_for_tongue(ict))},
            same_chart_mirrored,
        )
    )
    return parts


def opened_for_tongue(ict: ParametricHead) -> F64:
    """Offsets at ICT's vertices ``(26719, 3)``, metres, that let the tongue out."""
    shapes = (
        share * ict.expression_basis[ict.expression_names.index(name)].astype(np.float64)
        for name, share in OPENED_FOR_TONGUE.items()
    )
    return np.asarray(sum(shapes))


def rounded_box(cells: int, power: float) -> tuple[F64, I32, F64, I32]:
    """A superquadric |x|^p + |y|^p + |z|^p = 1 of six ``cells²`` grids, and its box net in [0, 1]²."""
    points: dict[tuple[int, int, int], int] = {}
    quads: list[list[int]] = []
    uvs: list[F64] = []
    quad_uvs: list[list[int]] = []
    for side, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)]):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        if sign < 0:
            a, b = b, a
        corner_uv = {}
        for j in range(cells + 1):
            for i in range(cells + 1):
                key = [0, 0, 0]
                key[axis], key[a], key[b] = (cells if sign > 0 else 0), i, j
                points.setdefault(tuple(key), len(points))  # type: ignore[arg-type]
                corner_uv[i, j] = (points[tuple(key)], len(uvs))  # type: ignore[index]
                cell = np.array([side % 3, side // 3])
                uvs.append((cell + 0.04 + 0.92 * np.array([i, j]) / cells) / np.array([3.0, 2.0]))
        for j in range(cells):
            for i in range(cells):
                ring = [corner_uv[i, j], corner_uv[i + 1, j], corner_uv[i + 1, j + 1], corner_uv[i, j + 1]]
                quads.append([r[0] for r in ring])
                quad_uvs.append([r[1] for r in ring])
    grid = 2.0 * np.asarray(list(points), np.float64) / cells - 1.0
    size = (np.abs(grid) ** power).sum(1) ** (1 / power)
    return grid / size[:, None], np.asarray(quads, np.int32), np.asarray(uvs), np.asarray(quad_uvs, np.int32)


def _teeth(arch: Arch) -> tuple[F64, I32, F64, I32]:
    box, quads, uvs, quad_uvs = rounded_box(TOOTH_CELLS, 4.0)
    out = []
    count = len(arch.width)
    for k in range(count):
        front = k / (count - 1)  # 0 molar, 1 incisor
        height = 0.5 * (arch.crown[k] + 0.004)  # 4 mm of it hidden in the gum
        down = 0.5 + 0.5 * box[:, 1]  # 0 biting edge, 1 root
        thin = np.interp(down, [0, 0.6, 1], [1 - 0.72 * front**1.5, 1.0, 0.9])
        narrow = np.interp(down, [0, 0.4, 1], [0.94, 1.0, 0.72])
        lean = 0.35 * arch.depth[k] * front * (1 - down)  # incisors lean out towards the biting edge
        local = (
            arch.bite[k]
            + arch.along[k] * (0.5 * arch.width[k] * box[:, :1] * narrow[:, None])
            + arch.outward[k] * (0.5 * arch.depth[k] * box[:, 2] * thin + lean)[:, None]
            + np.array([0.0, arch.up, 0.0]) * (height * (1 + box[:, 1]))[:, None]
        )
        out.append(local)
    flip = np.linalg.det(np.stack([arch.along[0], [0.0, arch.up, 0.0], arch.outward[0]])) < 0
    all_quads = np.concatenate([quads + k * len(box) for k in range(count)])
    cell = np.array([4.0, 2.0])
    all_uvs = np.concatenate([(uvs * 0.96 + 0.02 + np.array([k % 4, k // 4])) / cell for k in range(count)])
    all_uv_quads = np.concatenate([quad_uvs + k * len(uvs) for k in range(count)])
    if flip:
        all_quads, all_uv_quads = all_quads[:, ::-1], all_uv_quads[:, ::-1]
    return np.concatenate(out), all_quads.astype(np.int32), all_uvs, all_uv_quads.astype(np.int32)


def _gums(arch: Arch) -> tuple[F64, I32, F64, I32]:
    """A band over the roots: outer fold, margin, ridge, margin, inner wall."""
    steps = 24
    t = np.linspace(0, len(arch.width), steps + 1)
    mid = np.arange(len(arch.width)) + 0.5
    last = arch.bite[-1] * np.array([0.0, 1.0, 1.0]) + np.array([0.0, 0.0, 0.0012])
    margin = arch.bite + np.array([0.0, arch.up, 0.0]) * arch.crown[:, None]
    margin_end = last + np.array([0.0, arch.up * arch.crown[-1], 0.0])
    knots = np.r_[0.0, mid, len(mid)]
    back = margin[0] - 0.5 * arch.width[0] * arch.along[0]
    path = np.stack([np.interp(t, knots, np.r_[back[c], margin[:, c], margin_end[c]]) for c in range(3)], 1)
    path = _smooth(path)
    path[-1, 0] = 0.0
    tangent = np.gradient(path, axis=0)
    tangent[-1] = [-1.0, 0.0, 0.0]
    tangent[:, 1] = 0
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    outward = np.stack([tangent[:, 2], np.zeros(steps + 1), -tangent[:, 0]], 1)
    half_depth = 0.5 * np.interp(t, knots, np.r_[arch.depth[0], arch.depth, arch.depth[-1]])
    section = [  # (share of half depth, extra offset, height above the margin), metres
        (1.0, -0.0030, 0.0095),  # slopes back, or the fold would pierce a chin that the lips' motion flattens
        (1.0, -0.0004, 0.0058),
        (1.0, 0.0007, 0.0022),
        (1.0, 0.0001, 0.0001),
        (0.0, 0.0, 0.0010),
        (-1.0, -0.0001, 0.0001),
        (-1.0, -0.0012, 0.0025),
        (-1.0, -0.0030, 0.0070),
    ]
    rows = [
        path + outward * (share * half_depth + extra)[:, None] + np.array([0.0, arch.up * rise, 0.0])
        for share, extra, rise in section
    ]
    vertices = np.concatenate(rows)
    quads, uvs = _grid(len(section) - 1, steps)
    if arch.up < 0:
        quads = quads[:, ::-1]
    return vertices, quads, uvs[:, ::-1], quads


def _tongue() -> tuple[F64, I32, F64, I32, F64]:
    """A flattened tube from root to tip; the section runs from the lower to the upper midline."""
    length, around = 16, 9
    t = np.linspace(0, 1, length + 1)
    bend = np.sin(np.pi * t) * 0.0015
    spine = TONGUE_ROOT + (TONGUE_TIP - TONGUE_ROOT) * t[:, None] + np.array([0.0, 1.0, 0.0]) * bend[:, None]
    taper = np.sqrt(np.clip(1 - (0.97 * np.clip((t - 0.55) / 0.45, 0, 1)) ** 2.2, 0.02, 1))
    width = 0.0185 * taper
    height = np.interp(t, [0, 0.6, 1], [0.0072, 0.0056, 0.0032]) * (0.45 + 0.55 * taper)
    phi = np.linspace(-np.pi / 2, np.pi / 2, around + 1)
    x = np.sign(np.cos(phi)) * np.abs(np.cos(phi)) ** 0.8
    x[[0, -1]] = 0.0
    groove = 1 - 0.18 * np.exp(-((x / 0.25) ** 2)) * (phi > 0)
    vertices = (
        spine[:, None, :]
        + np.array([1.0, 0.0, 0.0]) * (width[:, None] * x)[..., None]
        + np.array([0.0, 1.0, 0.0]) * (height[:, None] * np.sin(phi) * groove)[..., None]
    ).reshape(-1, 3)
    quads, uvs = _grid(length, around)
    base = length * (around + 1)
    tip = [[base + k, base + k + 1, base + around - 1 - k, base + around - k] for k in range(around // 2)]
    quads = np.concatenate([quads, np.asarray(tip, np.int32)])
    fan = (vertices[:, 0] >= 0).astype(float)  # keep a copy of every UV: the tip shares the last section's
    reach = np.repeat(np.clip((t - 0.15) / 0.85, 0, 1) ** 1.2, around + 1) * fan
    tip_uv = uvs[base : base + around + 1].copy()
    spread = np.abs(np.linspace(-1, 1, around + 1))
    tip_uv[:, 1] = 0.95 + 0.05 * (1 - spread)
    uvs[:, 1] *= 0.94
    uvs = np.stack([uvs[:, 0], uvs[:, 1]], 1)
    quad_uvs = quads.copy()
    quad_uvs[-len(tip) :] += len(uvs) - base
    return vertices, quads, np.concatenate([uvs, tip_uv]), quad_uvs.astype(np.int32), reach


def _rise(reach: F64) -> F64:
    up = PchipInterpolator(*np.array(TONGUE_RISE_M).T)(reach)
    return np.asarray(up[:, None] * np.array([0.0, 1.0, 0.0]))


def _grid(rows: int, columns: int) -> tuple[I32, F64]:
    """Quads of a (rows + 1)×(columns + 1) vertex grid in row order, and UVs (u along columns)."""
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))
    first = (j * (columns + 1) + i).ravel()
    quads = np.stack([first, first + 1, first + columns + 2, first + columns + 1], 1).astype(np.int32)
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    return quads, np.stack([u.ravel(), v.ravel()], 1)


def _smooth(path: F64) -> F64:
    out = path.copy()
    for _ in range(3):
        out[1:-1] = 0.25 * out[:-2] + 0.5 * out[1:-1] + 0.25 * out[2:]
    return out
