"""A hair shell without learned weights: a volume about the skull, carved by the photo, covered by Gaussians.

Where hair can be is a prior (how thick it stands off the scalp in the picture's outline, hanging hair behind
the ears); the photo's pixels carve it as a visual hull does. What the photo does not show is mirrored from
the other side and fades into what lies around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from backend.artifacts import F32, F64, HeadFit
from backend.colour import srgb_to_linear
from backend.gaussians.hair_mask import HairSeen, HeadWindow, around
from backend.gaussians.hairline import MIRROR, room_for_hair
from backend.gaussians.surface import HAIR, BoundGaussians, bind, quaternions_of
from backend.uvspace.normals import vertex_normals
from backend.uvspace.sampling import sample_bilinear
from blender_addon import splat_sh
from blender_addon.splats import Splats

CELL_M = 0.0042
_MOST_SPLIT, _MOST_LOCKS = 3, 24_000  # Gaussians for each cell of the surface, and of all
_INSIDE_M = 0.013  # the volume goes on below the scalp, so that thin hair is not lost in its smoothing
_FARTHEST_M = 0.12  # from the head that hair can hang
_FRINGE_M = 0.009  # how far hair stands off the forehead
_BEHIND_EAR_M = 0.014  # hanging hair begins this far before the ears' middle
_ALONG_M, _ACROSS_M, _THIN_M = 0.0042, 0.0016, 0.0012  # standard deviations of a lock
_LOGIT = 2.2
_STRAND_NOISE, _STREAKS = 0.04, 0.10  # of display brightness: from lock to lock, and along strands
_BELOW_M = 0.0012  # the middle of a lock lies this far below the hair's outline
_LENDERS = 32  # seen locks that lend an unseen one their colour; fewer in all say too little
_MIRROR_M = 0.02  # how near a mirrored lock must lie to lend its colour


def grow_hair(
    window: HeadWindow, seen: HairSeen, fit: HeadFit, rng: np.random.Generator
) -> BoundGaussians | None:
    """Gaussians of the hair on the photographed head; None where nothing is left of the volume."""
    full = _volume(window, seen, fit)
    locks = _surface(full, rng)
    if len(locks.position) < 100:
        return None
    colours, is_seen = _colours(window, seen, fit, locks, rng)
    frame = _lock_frames(locks, seen.middle_head, fit)
    count = len(locks.position)
    # Seen locks are finer: they carry the photo's detail.
    size = np.where(is_seen, 0.8, 1.1)[:, None]
    scales = locks.size * np.array([_ALONG_M, _ACROSS_M, _THIN_M]) * size * rng.uniform(0.8, 1.25, (count, 1))
    splats = Splats(
        positions=locks.position.astype(np.float32),
        log_scales=np.log(scales).astype(np.float32),
        rotations=quaternions_of(frame).astype(np.float32),
        opacity_logits=np.full(count, _LOGIT, np.float32),
        sh=_constant(colours),
    )
    triangle, barycentric = _scalp_points(locks.position, fit)
    return bind(
        splats,
        triangle,
        barycentric,
        fit.vertices_head,
        fit.head.triangles,
        np.clip(srgb_to_linear(colours) * _albedo_gain(colours), 0, 1),
        locks.normal,
        np.full(count, HAIR, np.uint8),
    )


def under_hair(
    skin: BoundGaussians,
    positions: F32,
    on_scalp: F32,
    seen: F32,
    hair: BoundGaussians,
    hair_positions: F32,
) -> BoundGaussians:
    """``skin`` with the hair's colour, darker, where hair lies close over it: no scalp shines through.

    ``positions`` ``(N, 3)`` are the skin's, ``hair_positions`` the hair's; ``on_scalp`` and
    ``seen`` ``(N,)`` in [0, 1] are how far the skin is scalp, and how far the photo shows it and it keeps its
    colour.
    """
    gap, near = cKDTree(hair_positions).query(positions, k=6)
    crowd = np.exp(-((gap / 0.010) ** 2)).mean(1)
    share = (
        np.clip((crowd - 0.25) / 0.35, 0, 1)[:, None, None]
        * ((skin.part == 0) * on_scalp * (1 - seen))[:, None, None]
    )
    covered = hair.sh[near].mean(1)
    covered[:, 0] -= 0.06 / splat_sh.C0
    if covered.shape[1] < skin.sh.shape[1]:
        covered = np.pad(covered, ((0, 0), (0, skin.sh.shape[1] - covered.shape[1]), (0, 0)))
    mixed = skin.sh * (1 - share) + covered * share
    albedo = skin.albedo_linear * (1 - share[..., 0]) + hair.albedo_linear[near].mean(1) * share[..., 0]
    values = {**vars(skin), "sh": mixed.astype(np.float32), "albedo_linear": albedo.astype(np.float32)}
    return BoundGaussians(**values)


@dataclass(frozen=True)
class _Volume:
    share: F32  # (X, Y, Z) smoothed occupancy
    origin: F64  # (3,) centre of cell 0, 0, 0
    skull: F32  # (X, Y, Z) distance to the head's surface, metres, negative inside


@dataclass(frozen=True)
class _Locks:
    position: F64  # (N, 3)
    normal: F64  # (N, 3) unit, outwards
    size: float  # how much larger than usual, where they are few


def _volume(window: HeadWindow, seen: HairSeen, fit: HeadFit) -> _Volume:
    head, vertices = fit.head, fit.vertices_head.astype(np.float64)
    skull = vertices[head.regions["scalp"] > 0.5]
    reach = float(seen.thickness_m.max()) + 0.012
    low, high = skull.min(0) - reach, skull.max(0) + reach
    ears = vertices[head.regions["ears"] > 0.5]
    ear_z, ear_low = float(ears[:, 2].mean()), float(ears[:, 1].min())
    if seen.hangs:
        low[1] = vertices[:, 1].min()
    axes = [np.arange(a, b + CELL_M, CELL_M) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    points = grid.reshape(-1, 3)

    # What the photo shows to be free is left out before anything dear is worked out.
    possible = np.flatnonzero(~free_of_hair(window, seen, points))
    points = points[possible]
    skin = np.unique(head.triangles[head.triangle_part == 0])
    gap, near = cKDTree(vertices[skin]).query(points, distance_upper_bound=_FARTHEST_M)
    gap = np.minimum(gap, _FARTHEST_M)
    owner = skin[np.minimum(near, len(skin) - 1)]
    normals = vertex_normals(fit.vertices_head, head.triangles)
    outside = ((points - vertices[owner]) * normals[owner]).sum(1)
    signed = np.where(outside > -0.25 * gap, gap, -gap)

    def weight(name: str) -> F64:
        return np.asarray(head.regions[name][owner], np.float64)

    # How thick hair may be here: as in the outline where this lies to the side, as usual before and behind.
    to_middle = points - seen.middle_head
    forward = window.camera.world_to_camera[2, :3]
    depth = to_middle @ forward
    aside = np.sqrt(np.maximum((to_middle**2).sum(1) - depth**2, 0))
    sideways = np.clip(1.6 * aside / np.maximum(np.linalg.norm(to_middle, axis=1), 1e-6) - 0.6, 0, 1)
    turn = around(window.camera, points, seen.middle_head)
    outline = np.interp(
        turn * len(seen.thickness_m) - 0.5, np.arange(len(seen.thickness_m)), seen.thickness_m
    )
    thick = sideways * outline + (1 - sideways) * seen.usual_m
    behind = points[:, 2] < ear_z + _BEHIND_EAR_M
    cap = (weight("scalp") + weight("ears") * (behind & seen.hangs) > 0.45) & (signed < thick)
    fringe = (weight("scalp") + weight("forehead") > 0.3) & (signed < _FRINGE_M)
    rising = signed < room_for_hair(window, seen, points, signed)
    cap, fringe = cap & rising, fringe & rising
    hanging = np.zeros(len(points), bool)
    if seen.hangs:
        # Wider the lower it hangs; behind, as round as the head.
        drop = np.maximum(seen.middle_head[1] - points[:, 1], 0)
        hanging = behind & (points[:, 1] < seen.middle_head[1] + 0.03)
        hanging &= signed < np.minimum(thick + 0.008 + 0.9 * drop, _FARTHEST_M)
        half = np.array([np.abs(skull[:, 0]).max() + reach, 1.0, np.ptp(skull[:, 2]) / 2 + seen.usual_m])
        hanging &= ((to_middle / half)[:, [0, 2]] ** 2).sum(1) < 1
        hanging &= points[:, 1] > _lowest(window, seen)
    lower = points[:, 1] < ear_low - 0.03
    is_there = (signed > -_INSIDE_M) & (cap | fringe | hanging) & (~lower | hanging)
    is_there &= ~_before_skin(window, seen, points, fringe & ~cap)
    share, skull_distance = (
        np.zeros(grid.shape[:3], np.float32),
        np.full(grid.shape[:3], _FARTHEST_M, np.float32),
    )
    share.ravel()[possible] = is_there
    skull_distance.ravel()[possible] = signed
    return _Volume(gaussian_filter(share, 1.1), grid[0, 0, 0], skull_distance)


def _lowest(window: HeadWindow, seen: HairSeen) -> float:
    """Height, head space, of the lowest hair seen, at the depth of the head's middle."""
    row = float(np.quantile(np.nonzero(seen.mask)[0], 0.995))
    camera = window.camera
    depth = float(camera.to_camera(seen.middle_head)[2])
    ray = np.array([0.0, (row + 0.5 - camera.principal_px[1]) / camera.focal_px, 1.0]) * depth
    back: F64 = camera.world_to_camera[:, :3].T @ (ray - camera.world_to_camera[:, 3])
    return float(back[1])


def free_of_hair(window: HeadWindow, seen: HairSeen, points: F64) -> NDArray[np.bool_]:
    """Which points the photo shows to be free of hair: neither hair nor behind the head.

    Of what lies behind the head, the other side tells.
    """
    is_hair, is_behind = _looked_up(window, seen, points)
    hidden = np.flatnonzero(is_behind)
    free = ~is_hair & ~is_behind
    is_hair, is_behind = _looked_up(window, seen, points[hidden] * MIRROR)
    free[hidden] = ~is_hair & ~is_behind
    return np.asarray(free)


def _before_skin(
    window: HeadWindow, seen: HairSeen, points: F64, is_fringe: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which points of a fringe are not shown to be hair: over bare skin there is none unless it is seen."""
    is_hair, _ = _looked_up(window, seen, points)
    return np.asarray(is_fringe & ~is_hair)


def _looked_up(
    window: HeadWindow, seen: HairSeen, points: F64
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the photo shows hair at each point, and whether the point lies behind the head.

    Beyond the photo's edge it is as at the edge: hair that is cut off goes on there, nothing begins.
    """
    pixels, depth = window.camera.project(points)
    rows, columns = np.nonzero(window.in_photo)
    c = np.clip(np.floor(pixels[:, 0]).astype(int), columns.min(), columns.max())
    r = np.clip(np.floor(pixels[:, 1]).astype(int), rows.min(), rows.max())
    return seen.mask[r, c], depth > window.drawn.depth[r, c] + 0.002


def _surface(full: _Volume, rng: np.random.Generator) -> _Locks:
    share = full.share
    gradient = np.stack(np.gradient(share), -1)
    steep = np.linalg.norm(gradient, axis=-1)
    shell = (share > 0.32) & (share < 0.80) & (steep > 0.05)
    outward = -gradient / np.maximum(steep, 1e-6)[..., None]
    away = np.stack(np.gradient(full.skull), -1)
    away /= np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
    # What lies below the scalp, or faces it from close by, is never seen.
    shell &= (full.skull > -0.003) & ~((full.skull < 0.006) & ((outward * away).sum(-1) < -0.2))
    cells = np.argwhere(shell)
    normal = outward[shell]
    # One step of Newton to where the smoothed volume is half full.
    step = np.clip((share[shell] - 0.5) / steep[shell], -1.2, 1.2)
    base = cells + normal * step[:, None]
    split = int(np.clip(_MOST_LOCKS // max(len(base), 1), 1, _MOST_SPLIT))
    base, normals = np.repeat(base, split, 0), np.repeat(normal, split, 0)
    position = base + rng.uniform(-0.55, 0.55, base.shape)
    lift = ((position - base) * normals).sum(1)
    position -= (0.7 * lift)[:, None] * normals  # spread over the surface rather than across it
    return _Locks(full.origin + CELL_M * position - _BELOW_M * normals, normals, (_MOST_SPLIT / split) ** 0.5)


def _colours(
    window: HeadWindow, seen: HairSeen, fit: HeadFit, locks: _Locks, rng: np.random.Generator
) -> tuple[F32, NDArray[np.bool_]]:
    """Display sRGB ``(N, 3)`` and which locks the photo shows."""
    import cv2

    camera = window.camera
    pixels, depth = camera.project(locks.position)
    height, width = seen.mask.shape
    c = np.clip(np.floor(pixels[:, 0]).astype(int), 0, width - 1)
    r = np.clip(np.floor(pixels[:, 1]).astype(int), 0, height - 1)
    nearest = np.full((height, width), np.inf)
    np.minimum.at(nearest, (r, c), depth)
    nearest = -cv2.dilate(-nearest.clip(max=1e3).astype(np.float32), np.ones((5, 5), np.uint8))
    nearest = np.minimum(nearest, np.where(window.drawn.covered, window.drawn.depth, np.inf))
    core = cv2.erode(seen.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    towards = camera.centre_head - locks.position
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    facing = (towards * locks.normal).sum(1)
    is_seen = core[r, c] & seen.clean[r, c] & (depth < nearest[r, c] + 0.012) & (facing > 0.2)
    is_seen &= (pixels > 0).all(1) & (pixels < [width, height]).all(1)
    colours = np.zeros((len(depth), 3))
    if is_seen.sum() < _LENDERS:
        colours[:] = np.median(window.rgb_srgb[seen.clean if seen.clean.any() else seen.mask], 0)
        return np.asarray(colours, np.float32), is_seen
    colours[is_seen] = sample_bilinear(window.rgb_srgb, pixels[is_seen])
    tree = cKDTree(locks.position[is_seen])
    known = colours[is_seen]
    rest = np.flatnonzero(~is_seen)
    gap, near = tree.query(locks.position[rest], k=_LENDERS)
    weight = 1 / (gap + 0.004) ** 2
    smooth = (weight[..., None] * known[near]).sum(1) / weight.sum(1, keepdims=True)
    usual = np.median(known, 0)
    far = np.clip((gap[:, 0] - 0.01) / 0.05, 0, 0.6)[:, None]
    smooth = smooth * (1 - far) + usual * far
    mirrored = locks.position[rest] * MIRROR
    mirror_gap, mirror_near = tree.query(mirrored, k=4)
    lend = np.clip(1 - mirror_gap[:, 0] / _MIRROR_M, 0, 1)[:, None] * 0.7
    colours[rest] = smooth * (1 - lend) + known[mirror_near].mean(1) * lend
    grain = rng.normal(0, _STRAND_NOISE, (len(rest), 1))
    colours[rest] *= 1 + grain + _STREAKS * _streaks(locks.position[rest] - seen.middle_head, rng)[:, None]
    return np.clip(colours, 0, 1).astype(np.float32), is_seen


def _streaks(from_middle: F64, rng: np.random.Generator) -> F64:
    """Light and dark strands ``(N,)`` about 0, as they run from the crown down."""
    turn = np.arctan2(from_middle[:, 0], from_middle[:, 2] + 0.02)
    waves = [
        np.sin(k * turn + 25 * a * from_middle[:, 1] + 2 * np.pi * b)
        for k, a, b in zip((9, 17, 26, 41, 60, 83), rng.normal(size=6), rng.random(6), strict=True)
    ]
    return np.asarray(np.sum(waves, 0) / 6**0.5)


def _lock_frames(locks: _Locks, middle: F64, fit: HeadFit) -> F64:
    """Frames ``(N, 3, 3)``: along the lock, across, out. Locks run from the crown and hang."""
    from_crown = locks.position - (middle + np.array([0.0, 0.085, -0.02]))
    from_crown /= np.maximum(np.linalg.norm(from_crown, axis=1, keepdims=True), 1e-6)
    lowness = np.clip((middle[1] + 0.02 - locks.position[:, 1:2]) / 0.06, 0, 1)
    flow = from_crown * (1 - 0.7 * lowness) + np.array([0.0, -1.0, 0.0]) * (0.25 + lowness)
    flow -= locks.normal * (flow * locks.normal).sum(1, keepdims=True)
    length = np.linalg.norm(flow, axis=1, keepdims=True)
    other = np.cross(locks.normal, np.array([1.0, 0.0, 0.0]) + 1e-3)
    flow = np.where(length > 1e-3, flow / np.maximum(length, 1e-6), other)
    flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-9)
    return np.stack([flow, np.cross(locks.normal, flow), locks.normal], 2)


def _scalp_points(position: F64, fit: HeadFit) -> tuple[NDArray[np.int32], F32]:
    """The scalp's triangle nearest to each lock, and its middle: hair moves with the skull, not the jaw."""
    head = fit.head
    skin = np.flatnonzero(head.triangle_part == 0)
    scalp = skin[head.regions["scalp"][head.triangles[skin]].min(1) > 0.8]
    centres = fit.vertices_head.astype(np.float64)[head.triangles[scalp]].mean(1)
    _, near = cKDTree(centres).query(position)
    return scalp[near].astype(np.int32), np.full((len(position), 3), 1 / 3, np.float32)


def _albedo_gain(colours_srgb: F32) -> float:
    """Brings hair's typical colour to a plausible albedo where the photo's light was very bright or dim."""
    typical = float(np.median(srgb_to_linear(colours_srgb)))
    return float(np.clip(np.clip(typical, 0.01, 0.35) / max(typical, 1e-4), 0.5, 2.0))


def _constant(colours_srgb: F32) -> F32:
    harmonics = np.zeros((len(colours_srgb), 4, 3), np.float32)
    harmonics[:, 0] = (colours_srgb - splat_sh.COLOUR_OFFSET) / splat_sh.C0
    return harmonics
