"""Materials: the even-lit chart split into albedo, normal, roughness, specular and displacement.

Relief is in the normal map, all of it: on rendered heads no displacement read from a photo came nearer to
the truth than none, so none is shipped, and no wavelength shades twice. Roughness and specular are those of
the region, as nothing tried in the photo told them better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, ChartMaps, EvenUV, HeadFit, Materials, Run
from backend.errors import BadInput
from backend.texture.grid import dilate, enlarge, fill_unknown, log_luminance, weighted_reduce, working_chart
from backend.texture.microrelief import add_microrelief
from backend.texture.mirror import mirror_index
from backend.texture.reflectance import regional
from backend.texture.regions import region_map, to_chart
from backend.texture.relief import furrows, tangent_normals
from backend.texture.shaded_relief import shaded_relief
from backend.texture.trust import texel_metres

ALBEDO_RANGE = (0.01, 0.80)  # of a texel's channel: black hair to the whitest skin
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

    albedo = _albedo(even.rgb_linear, inside)
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


def _albedo(rgb: F32, inside: NDArray[np.bool_]) -> F32:
    """``rgb``, which is on albedo's own scale already, in ALBEDO_RANGE and dilated."""
    out = np.maximum(rgb, ALBEDO_RANGE[0]).astype(np.float32)
    room = ALBEDO_RANGE[1] - _KNEE
    high = out > _KNEE
    out[high] = _KNEE + room * np.tanh((out[high] - _KNEE) / room)
    fill_unknown(out, inside)
    return out


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
