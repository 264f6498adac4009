"""Materials: the even-lit chart split into albedo, normal, roughness, specular and displacement.

Relief is in the normal map, all of it: on rendered heads no displacement read from a photo came nearer to
the truth than none, so none is shipped, and no wavelength shades twice. Roughness and specular are those of
the region, as nothing tried in the photo told them better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, EvenUV, HeadFit, Materials, Run
from backend.colour import luminance
from backend.errors import BadInput
from backend.texture.grid import dilate, enlarge, fill_unknown, log_luminance, weighted_reduce, working_chart
from backend.texture.lighting import plain_skin
from backend.texture.microrelief import add_microrelief
from backend.texture.mirror import mirror_index
from backend.texture.reflectance import regional
from backend.texture.regions import region_map, to_chart
from backend.texture.relief import furrows, tangent_normals
from backend.texture.shaded_relief import shaded_relief
from backend.texture.trust import smoothstep, texel_metres

SKIN_LUMINANCE = (0.05, 0.60)  # of a whole face: the darkest and lightest skin measured, with a margin
ALBEDO_RANGE = (0.01, 0.80)  # of a texel's channel: black hair to the whitest skin
# Luminance against red over blue, through light (0.38 at 2.1) and dark (0.07 at 4.5) skin, and how far below
# that line a face may lie.
_MELANIN_SCALE, _MELANIN_SLOPE = 1.95 / 1.5, -2.2
_MELANIN_TRUST = 0.75
# The lightest luminance by green over blue, which blood changes little: 0.46 at 1.45, 0.105 at 1.95.
_YELLOW_LIGHT, _YELLOW_SLOPE = (0.46, 1.45), -5.0
_YELLOW_TRUST = 0.65
_LEAST_YELLOW = 1.36  # green over blue of the rosiest skin; under it the light's blue was left in
_KNEE = 0.7  # where the upper limit begins to bend
_NOT_RELIEF = ("lips", "brows", "eyes", "lashes", "eyelids", "nostrils")


def materials(even: EvenUV, fit: HeadFit, chart: ChartMaps, size: int, run: Run) -> Materials:
    """The five maps at ``size`` texels a side, resampled when the chart has another size.

    Deterministic in ``run.seed`` (pores). Raises: BadInput for a size under 16.
    """
    if size < 16:
        raise BadInput(f"a map of {size} texels is too small; take 512 or more")
    head = fit.head
    work = working_chart(chart)
    corners = (head.triangles, work.face_id, work.barycentric)
    inside: NDArray[np.bool_] = chart.inside & (chart.face_id >= 0)
    texel = texel_metres(work)

    # The face tells the tone: scalp, neck and ears are mostly made up, under less certain light.
    face = region_map(head, ("cheeks", "forehead", "nose"), *corners[1:])
    plain = to_chart(plain_skin(head), *corners)
    tells = plain * smoothstep(face / 0.5)
    albedo = _albedo(even.rgb_linear, inside, work.factor, tells if tells.max() > 0.9 else plain)
    run.progress("materials", 0.3)

    low, _ = weighted_reduce(albedo, inside.astype(np.float32), work.factor)
    skin = 1 - region_map(head, _NOT_RELIEF, work.face_id, work.barycentric)
    lined = furrows(log_luminance(albedo), work, log_luminance(low), skin, texel)
    shaded = shaded_relief(log_luminance(low), work, skin, mirror_index(head, *corners[1:]), fit, texel)
    run.progress("materials", 0.6)

    priors = dilate(to_chart(regional(head), *corners), work.inside)
    height = lined + enlarge(dilate(shaded.height_m, work.inside), chart.size)
    slope = enlarge(np.ascontiguousarray(priors[..., 2:4]), chart.size)
    add_microrelief(height, slope, chart, texel / work.factor, run.seed)
    normal = tangent_normals(height, chart, texel / work.factor)
    fill_unknown(normal, inside)
    _make_unit(normal)
    # The normal map shades this relief again.
    albedo *= np.exp(-enlarge(dilate(shaded.log_shading, work.inside), chart.size))[..., None]
    np.clip(albedo, *ALBEDO_RANGE, out=albedo)
    made = Materials(
        albedo,
        normal,
        roughness=enlarge(np.ascontiguousarray(priors[..., 0]), chart.size),
        specular=enlarge(np.ascontiguousarray(priors[..., 1]), chart.size),
        displacement_m=np.zeros((chart.size, chart.size), np.float32),
    )
    return made if size == chart.size else _resized(made, size)


def _albedo(rgb: F32, inside: NDArray[np.bool_], factor: int, plain: F32) -> F32:
    """``rgb`` on the absolute scale of skin, told where ``plain`` is near 1; in ALBEDO_RANGE, dilated."""
    low, cover = weighted_reduce(rgb, inside.astype(np.float32), factor)
    use = (cover > 0.99) & (plain > 0.9)
    median = np.median(low[use if use.any() else cover > 0], axis=0)
    typical = max(float(luminance(median)), 1e-6)
    scale = plausible_luminance(median) / typical
    out = np.multiply(rgb, (scale * plausible_white(median)).astype(np.float32))
    np.maximum(out, ALBEDO_RANGE[0], out=out)
    room = ALBEDO_RANGE[1] - _KNEE
    high = out > _KNEE
    out[high] = _KNEE + room * np.tanh((out[high] - _KNEE) / room)
    fill_unknown(out, inside)
    return out


def plausible_luminance(colour: NDArray[np.floating[Any]]) -> float:
    """The luminance that a face of this typical linear ``colour`` ``(3,)`` may have.

    Photo and light fix albedo only up to scale, and a fit leans to the mean of its basis. Melanin takes
    blue before red, so dark skin is never pale: a face darker than its red-blue ratio allows is an
    underexposed light one, and is raised. It takes blue before green too, and blood does not: a face
    lighter than its green-blue ratio says was pulled to the mean, and is lowered part of the way.
    """
    found = max(float(luminance(np.asarray(colour, np.float32))), 1e-6)
    red, green, blue = (max(float(c), 1e-6) for c in colour)
    darkest = _MELANIN_SCALE * (red / blue) ** _MELANIN_SLOPE
    likely = _YELLOW_LIGHT[0] * (green / blue / _YELLOW_LIGHT[1]) ** _YELLOW_SLOPE
    if found < darkest:
        found *= (darkest / found) ** _MELANIN_TRUST
    elif found > max(likely, darkest):
        found *= (max(likely, darkest) / found) ** _YELLOW_TRUST
    return float(np.clip(found, *SKIN_LUMINANCE))


def plausible_white(colour: NDArray[np.floating[Any]]) -> F32:
    """Gains ``(3,)`` that keep luminance and bring a typical ``colour`` ``(3,)`` out of blue and grey.

    All skin reflects more green than blue; where it does not, bluish skylight was taken for the skin's.
    """
    short = _LEAST_YELLOW * max(float(colour[2]), 1e-6) / max(float(colour[1]), 1e-6)
    gain = np.ones(3)
    if short > 1:
        # The sky's blue lacks red as well.
        gain[2], gain[0] = 1 / short, short**0.3
    gain *= luminance(np.asarray(colour, np.float32)) / max(float(luminance(gain * colour)), 1e-6)
    return gain.astype(np.float32)


def _make_unit(vectors: F32) -> None:
    length = np.sqrt(np.einsum("rck,rck->rc", vectors, vectors))
    vectors /= np.maximum(length, 1e-6)[..., None]


def _resized(made: Materials, size: int) -> Materials:
    import cv2

    def to(image: F32) -> F32:
        smaller = size < image.shape[0]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        out: F32 = cv2.resize(image, (size, size), interpolation=method).astype(np.float32)
        return out

    normal = to(made.normal_tangent)
    _make_unit(normal)
    return Materials(
        to(made.albedo_linear),
        normal,
        to(made.roughness),
        to(made.specular),
        to(made.displacement_m),
    )
