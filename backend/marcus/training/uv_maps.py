"""Pictures that the UV trainers learn from: sRGB-like values in [0, 1], as the diffusion model sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.artifacts import F32, Materials
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.training.loader import Instance

# The release erodes what is seen by a box of 12 texels at 1024 (facts: unwrap to the LoRA's input).
_EROSION = 12 / 1024
# B of the packed map is displacement in units of the release's s_disp (1 mm), 0.5 being the smooth surface.
DISPLACEMENT_UNIT_M = 1e-3


def incomplete(instance: Instance, texels: int) -> Tensor:
    """T_inc ``(3, S, S)``: black where nothing is seen."""
    import cv2

    side = instance.visibility.shape[0]
    seen = (instance.visibility > 0.5).astype(np.uint8)
    box = np.ones((max(round(_EROSION * side), 1),) * 2, np.uint8)
    seen = cv2.erode(seen, box)
    return _picture(linear_to_srgb(instance.t_inc) * seen[..., None], texels)


def shaded(instance: Instance, texels: int) -> Tensor:
    """T_env ``(3, S, S)``: the whole chart in the instance's light; beyond white is white."""
    return _picture(linear_to_srgb(np.minimum(instance.t_env, 1)), texels)


def even(instance: Instance, texels: int) -> Tensor:
    """T_hom ``(3, S, S)``: the whole chart in white light from everywhere."""
    return _picture(linear_to_srgb(np.minimum(instance.t_hom, 1)), texels)


def material_pictures(materials: Materials, texels: int) -> Tensor:
    """The three branches' targets ``(3, 3, S, S)``: albedo (sRGB), normal (0.5 + 0.5 n), and packed
    roughness, specular, displacement (0.5 + metres / 1 mm, cut to [0, 1]).
    """
    height = np.clip(0.5 + materials.displacement_m / DISPLACEMENT_UNIT_M, 0, 1)
    packed = np.stack([materials.roughness, materials.specular, height], -1)
    normal = shrink(materials.normal_tangent, texels)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    return torch.stack(
        [
            _picture(linear_to_srgb(materials.albedo_linear), texels),
            _channels_first(0.5 + 0.5 * normal),
            _picture(packed, texels),
        ]
    )


def shrink(image: NDArray[np.floating[Any]], texels: int) -> F32:
    """``(S, S, C)`` to ``texels`` a side by averaging areas. Raises: BadInput when S is smaller."""
    import cv2

    side = image.shape[0]
    if side < texels:
        raise BadInput(f"the set's maps have {side} texels, the recipe wants {texels}; make a larger set")
    if side == texels:
        return np.array(image, np.float32)
    return np.asarray(cv2.resize(image, (texels, texels), interpolation=cv2.INTER_AREA), np.float32)


def _picture(image: NDArray[np.floating[Any]], texels: int) -> Tensor:
    return _channels_first(np.clip(shrink(image, texels), 0, 1))


def _channels_first(image: F32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
