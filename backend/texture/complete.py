"""Completion: every texel that the photo does not show, filled from the other side and the albedo basis.

All is done on the logarithm of *seen colour over modelled colour* (albedo basis × fitted light), so
light differences between the two sides cancel before anything is copied. Slow variation is solved
on the surface, where no chart seam exists; detail is cloned in the gradient domain (Pérez et al.
2003) on the working grid; what is finer is carried over at the map's own resolution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64, CompleteUV, HeadFit, PartialUV, Run
from backend.texture import multigrid
from backend.texture.albedo_prior import plain_skin, skin_prior
from backend.texture.grain import Sample, close_up, measure
from backend.texture.grid import (
    LOG_FLOOR,
    WorkingChart,
    dilate,
    fill_unknown,
    log_luminance,
    remap,
    safe_log,
    weighted_reduce,
    working_chart,
)
from backend.texture.lighting import illumination, transfer_of
from backend.texture.mirror import mirror_index, mirrored_corners
from backend.texture.noise import octaves_at
from backend.texture.regions import region_map, to_chart, to_vertices
from backend.texture.surface import SkinSurface, skin_surface
from backend.texture.trust import FEATURES, SURE, better_across, smoothstep, texel_metres, trusted
from backend.uvspace.kernels import compiled, in_bands
from backend.uvspace.sampling import write_bilinear

IMPLEMENTATION = "mirror and albedo-basis fill, Poisson blend"
_FOLLOW_M = 0.004  # the surface field follows seen colour down to this length
_FADE_M = 0.10  # far from seen skin the field returns to its own median over this length
# How far (log) what is spread over unseen skin may be off the bare skin; how much less where beards grow.
_TINT_LOG, _BRIGHT_LOG, _BEARD_NARROWS = 0.10, 0.5, 0.6
_MIRROR_PULL = 0.03  # the other side's slow variation, relative to seen colour
_CLONE_M = 0.012  # cloned detail may drift from the surface field over this length


def complete(partial: PartialUV, fit: HeadFit, run: Run) -> CompleteUV:
    """Fill the chart, still lit as in the photo. Deterministic in ``run.seed``.

    Warns when little of the face is seen.
    """
    head, chart = fit.head, partial.chart
    work = working_chart(chart)
    corners = (head.triangles, work.face_id, work.barycentric)
    count = len(head.mean_vertices)
    inside = work.inside.astype(np.float32)

    seen_rgb, cover = weighted_reduce(partial.rgb_linear, partial.confidence, work.factor)
    skin = skin_surface(head, fit.vertices_head)
    albedo_v = skin_prior(fit, skin)
    _, whole = to_vertices(seen_rgb, inside, *corners, count)

    # A first trust, by plain confidence, finds the light; the light then tells what does not belong;
    # what does belong finds the light again, as homogenisation will.
    plain = to_chart(plain_skin(head), *corners)
    transfer = transfer_of(fit)
    trust = (smoothstep((cover - SURE[0]) / 0.5) * inside).astype(np.float32)
    shown = work.inside & (cover > 0)
    for last in (False, True):
        colour_v, mass = to_vertices(seen_rgb, trust, *corners, count)
        light = illumination(transfer, fit, colour_v, _share(mass, whole))
        model = safe_log(to_chart(albedo_v * light.shading, *corners))
        # Dilated, so that sampling across the chart's border or the photo's meets no undefined ratio.
        ratio = np.where(shown[..., None], safe_log(seen_rgb) - model, 0).astype(np.float32)
        ratio = dilate(ratio, shown)
        if not last:
            trust = trusted(work, cover, ratio, plain, region_map(head, FEATURES, *corners[1:]))
    index = mirror_index(head, work.face_id, work.barycentric)
    trust = trust * (1 - better_across(work, seen_rgb, ratio, trust, plain, index))
    run.progress("complete UV", 0.3)
    if trust.sum() < 0.02 * inside.sum():
        run.warn("Little of the face could be seen; most of its skin is made up.")

    ratio_v, mass = to_vertices(ratio, trust, *corners, count)
    share = _share(mass, whole)
    calm = _calmed(ratio_v, share * plain_skin(head), head.regions.get("beard", np.zeros(count, np.float32)))
    field_v = _surface_field(skin, head.mirror_vertex, calm, share)
    field = to_chart(field_v, *corners)
    run.progress("complete UV", 0.5)

    across, across_trust = remap(ratio, index), remap(trust, index)
    cloned = _clone(work, ratio, trust, across, across_trust, field)
    run.progress("complete UV", 0.7)

    texel = texel_metres(work)
    map_texel = texel / work.factor
    skin_seen = (trust * (plain > 0.9)).astype(np.float32)
    grain = measure(
        (
            Sample(work.position_head, work.inside, log_luminance(seen_rgb), skin_seen, texel),
            close_up(chart, work, partial.rgb_linear, skin_seen, map_texel),
        ),
        map_texel,
        map_texel * max(partial.texels_per_pixel, 1e-3),
        run.seed,
    )
    fill = dilate(cloned + model, work.inside)
    base = dilate(safe_log(seen_rgb), cover > 0.02)
    rgb = np.zeros_like(partial.rgb_linear)
    seen = np.zeros_like(partial.confidence)
    made = (
        partial.rgb_linear,
        partial.confidence,
        np.ascontiguousarray(chart.face_id),
        chart.barycentric,
        chart.position_head,
        np.ascontiguousarray(fill),
        np.ascontiguousarray(base),
        np.ascontiguousarray(trust[..., None]),
        mirrored_corners(head),
        work.factor,
        1.0 / np.asarray(grain.wavelengths_m or (1.0,), np.float64),
        np.asarray(grain.amplitudes or (0.0,), np.float64),
        np.asarray(grain.lost or (0.0,), np.float64),
        run.seed & 0x7FFFFFFF,
    )
    in_bands(lambda start, end: _compose(*made, start, end, rgb, seen), chart.size)
    fill_unknown(rgb, chart.inside & (chart.face_id >= 0))
    return CompleteUV(rgb, seen, IMPLEMENTATION)


def _share(mass: F32, whole: F32) -> F32:
    """Which part ``(V,)`` of a vertex's surroundings was seen."""
    return np.where(whole > 0, mass / np.maximum(whole, 1e-6), 0).astype(np.float32)


def _surface_field(skin: SkinSurface, mirror: NDArray[np.int32], ratio_v: F32, share: F32) -> F32:
    """The slow part ``(V, 3)`` of the log ratio: seen, else the other side's, else its median."""
    own, own_weight = skin.gather(ratio_v, share)
    other, other_weight = skin.gather(ratio_v[mirror], share[mirror])
    own_weight = own_weight / np.maximum(own_weight.max(), 1e-9)
    other_weight = other_weight / np.maximum(other_weight.max(), 1e-9)
    median = _weighted_median(own, own_weight)
    pull = _MIRROR_PULL * other_weight * (1 - own_weight)
    fade = np.full_like(pull, (_FOLLOW_M / _FADE_M) ** 2)
    total = own_weight + pull + fade
    target = own_weight[:, None] * own + pull[:, None] * other + fade[:, None] * median
    return skin.scatter(skin.smooth(target / total[:, None], total, _FOLLOW_M))


def _calmed(ratio_v: F32, weight: F32, beard: F32) -> F32:
    """The log ratio ``(V, 3)`` as it is spread over what is not seen: no farther off than skin may be.

    Beard, a last strand of hair, a shadow's rim stay where they are seen; behind them the skin goes on.
    """
    bare = weight * (1 - beard)
    centre = _weighted_median(ratio_v.astype(np.float64), bare.astype(np.float64))
    off = ratio_v - centre
    bright = off.mean(-1, keepdims=True)
    tint = off - bright
    narrow = 1 - _BEARD_NARROWS * np.clip(beard, 0, 1)[:, None]
    far = np.maximum(np.linalg.norm(tint, axis=-1, keepdims=True), 1e-6)
    tint = tint * (_TINT_LOG * narrow * np.tanh(far / (_TINT_LOG * narrow)) / far)
    bright = _BRIGHT_LOG * narrow * np.tanh(bright / (_BRIGHT_LOG * narrow))
    return np.asarray(centre + bright + tint, np.float32)


def _weighted_median(values: F64, weight: F64) -> F64:
    if weight.sum() <= 0:
        return np.zeros(values.shape[1])
    out = np.zeros(values.shape[1])
    for k in range(values.shape[1]):
        order = np.argsort(values[:, k])
        running = np.cumsum(weight[order])
        out[k] = values[order[np.searchsorted(running, 0.5 * running[-1])], k]
    return out


def _clone(work: WorkingChart, ratio: F32, trust: F32, across: F32, across_trust: F32, field: F32) -> F32:
    """Seen log ratio where trusted, the other side's gradients elsewhere, anchored to the surface field."""
    pin = (texel_metres(work) / _CLONE_M) ** 2
    screen = (4 * trust**2 + pin * (1 - trust)).astype(np.float32)
    data = (4 * (trust**2)[..., None] * ratio + (pin * (1 - trust))[..., None] * field) / np.maximum(
        screen, 1e-9
    )[..., None]

    def guide(axis: int) -> F32:
        def step(image: F32) -> F32:
            return np.diff(image, axis=axis, append=np.take(image, [-1], axis))

        def both(weight: F32) -> F32:
            return np.minimum(weight, np.roll(weight, -1, axis))[..., None]

        a, b = both(trust), both(across_trust)
        # The field's own slope where neither side is known: flat guidance would fight its data term.
        return (a * step(ratio) + (1 - a) * (b * step(across) + (1 - b) * step(field))).astype(np.float32)

    return multigrid.solve(
        data.astype(np.float32), screen, guide(1), guide(0), work.inside, iterations=15, tolerance=1e-3
    )


@compiled
def _all_seen(confidence: NDArray[np.float32], x: float, y: float) -> bool:
    """Whether all four texels around continuous (x, y) have some ``confidence`` ``(S, S)``."""
    last = confidence.shape[0] - 1
    c, r = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    for i in range(2):
        for j in range(2):
            if confidence[min(max(r + i, 0), last), min(max(c + j, 0), last)] <= 0:
                return False
    return True


@compiled
def _compose(
    photo: NDArray[np.float32],
    confidence: NDArray[np.float32],
    face_id: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    position: NDArray[np.float32],
    fill: NDArray[np.float32],
    base: NDArray[np.float32],
    trust: NDArray[np.float32],
    mirrored: NDArray[np.float32],
    factor: int,
    frequency: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    lost: NDArray[np.float64],
    seed: int,
    start: int,
    end: int,
    out: NDArray[np.float32],
    seen: NDArray[np.float32],
) -> None:
    """Photo where trusted, else ``exp(fill)`` with the mirrored photo's finest band or noise on top.

    What the photo's pixels are too wide for, ``lost`` of each octave, is noise everywhere, so that a map
    finer than the photo is not smoother than skin. ``fill``, ``base`` (low-passed log photo) and ``trust``
    are on the working grid.
    """
    size = face_id.shape[0]
    unseen = amplitude * lost
    value = np.zeros(3, np.float32)
    low = np.zeros(3, np.float32)
    far = np.zeros(3, np.float32)
    one = np.zeros(1, np.float32)
    for r in range(start, end):
        for c in range(size):
            f = face_id[r, c]
            if f < 0:
                continue
            x, y = (c + 0.5) / factor, (r + 0.5) / factor
            write_bilinear(trust, x, y, one)
            t = one[0] if confidence[r, c] > 0 else 0.0
            seen[r, c] = t
            if t >= 0.999:
                finer = np.exp(octaves_at(position[r, c], frequency, unseen, seed))
                for k in range(3):
                    out[r, c, k] = photo[r, c, k] * finer
                continue
            write_bilinear(fill, x, y, value)
            u, v = 0.0, 0.0
            for k in range(3):
                u += barycentric[r, c, k] * mirrored[f, k, 0]
                v += barycentric[r, c, k] * mirrored[f, k, 1]
            m = 0.0
            if np.isfinite(u + v):
                across_x, across_y = u * size, (1 - v) * size
                write_bilinear(trust, across_x / factor, across_y / factor, one)
                # A texel that the photo lost is black: beside it the mirrored photo has no fine band.
                m = one[0] if factor == 1 or _all_seen(confidence, across_x, across_y) else 0.0
                if m > 0 and factor > 1:
                    write_bilinear(base, across_x / factor, across_y / factor, low)
                    write_bilinear(photo, across_x, across_y, far)
                    for k in range(3):
                        fine = np.log(max(far[k], LOG_FLOOR)) - low[k]
                        value[k] += m * min(max(fine, -0.7), 0.7)
            grain = octaves_at(position[r, c], frequency, amplitude, seed) if m < 1 else 0.0
            finer = octaves_at(position[r, c], frequency, unseen, seed) if t > 0 or m > 0 else 0.0
            for k in range(3):
                made = np.exp(value[k] + (1 - m) * grain + m * finer)
                out[r, c, k] = t * photo[r, c, k] * np.exp(finer) + (1 - t) * made
