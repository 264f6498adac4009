"""The five material maps at another size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb, srgb_to_linear
from backend.marcus.superres.enlarge import enlarge_chart, enlarge_grey, enlarge_normals
from backend.uvspace.seams import SeamPairs


def enlarged_materials(
    made: Materials,
    enlarged: Callable[..., F32],
    inside: NDArray[np.bool_],
    inside_large: NDArray[np.bool_],
    seams: SeamPairs,
    progress: Callable[[float], None],
) -> Materials:
    """All maps by ``enlarged`` (``enlarge`` and a network): albedo as sRGB, the others as what they are."""
    done = 0.0

    def chart(image: F32) -> F32:
        nonlocal done
        start = done

        def told(fraction: float) -> None:
            progress(start + fraction / 5)

        large = enlarge_chart(image, inside, inside_large, seams, partial(enlarged, progress=told))
        done += 1 / 5
        return large

    albedo = srgb_to_linear(chart(np.asarray(linear_to_srgb(made.albedo_linear), np.float32)))
    return Materials(
        albedo_linear=np.asarray(albedo, np.float32),
        normal_tangent=enlarge_normals(made.normal_tangent, chart),
        roughness=enlarge_grey(made.roughness, chart),
        specular=enlarge_grey(made.specular, chart),
        displacement_m=enlarge_grey(made.displacement_m, chart),
    )


def resized_materials(made: Materials, size: int) -> Materials:
    """The maps resampled to ``size`` texels a side: averaged where they shrink, bicubic where they grow."""
    import cv2

    if size == made.size:
        return made
    method = cv2.INTER_AREA if size < made.size else cv2.INTER_CUBIC

    def to(image: F32) -> F32:
        return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.float32)

    normal = to(made.normal_tangent)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    albedo, roughness, specular = (
        np.clip(to(x), 0, 1) for x in (made.albedo_linear, made.roughness, made.specular)
    )
    return Materials(albedo, normal, roughness, specular, to(made.displacement_m))
