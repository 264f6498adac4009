"""Precomputed radiance transfer: a head under any distant light, self-shadowed, for a matrix product.

Sloan, Kautz & Snyder, "Precomputed Radiance Transfer for Real-Time Rendering" (SIGGRAPH 2002), diffuse
part. What reaches each vertex of a head from each spherical harmonic of the surroundings is stored once;
irradiance under a light is then its coefficients times that. Values live on vertices and are interpolated
into the chart or a picture: a vertex mesh is finest where a face is. The transfer holds geometry alone, no
albedo, so that one trace serves any skin. ``synthdata.transfer`` traces it; an artist's own renderer can
read it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.shading import harmonics

AnyFloat = NDArray[np.float16] | F32


@dataclass(frozen=True)
class Transfer:
    """How light from afar reaches the vertices of one posed head. Order of functions: ``harmonics``."""

    direct: AnyFloat  # (V, K) ∫ Y V (n·ω)+ dω: irradiance per unit coefficient, seen past the head itself
    bounce: AnyFloat  # (V, K') the same after one diffuse reflection on the head, per unit of albedo
    visibility: AnyFloat  # (V, K'') harmonics of V: 1 where the sky is seen, and below the vertex's horizon

    @property
    def degree(self) -> int:
        """Up to which the direct light is held."""
        return harmonics.degree_of(self.direct.shape[1])

    def irradiance(self, radiance_sh: F64, bounce_albedo_linear: F64 | F32) -> F32:
        """Irradiance ``(V, 3)`` under radiance coefficients ``(≥ K, 3)``.

        ``bounce_albedo_linear`` ``(3,)`` is that of what reflects onto the head: the mean of its skin.
        Harmonics ring where a lamp is small; what falls below zero is cut off.
        """
        light = np.asarray(radiance_sh, np.float32)
        if len(light) < self.direct.shape[1]:
            raise ValueError(f"the light has {len(light)} coefficients, the transfer {self.direct.shape[1]}")
        once = light[: self.bounce.shape[1]] * np.asarray(bounce_albedo_linear, np.float32)
        direct = np.asarray(self.direct, np.float32) @ light[: self.direct.shape[1]]
        bounced = np.asarray(self.bounce, np.float32) @ once
        return np.asarray(np.maximum(direct + bounced, 0), np.float32)

    def seen_along(self, directions: F32, roughness: float) -> F32:
        """Share ``(V,)`` in [0, 1] of a GGX lobe around each unit direction ``(V, 3)`` that sees the sky.

        Jiménez et al., "Practical Real-Time Strategies for Accurate Indirect Occlusion" (2016), ask a cone;
        here the lobe is convolved with the stored visibility.
        """
        degree = harmonics.degree_of(self.visibility.shape[1])
        share = harmonics.ggx_lobe(round(roughness, 2), degree)[harmonics.degrees(degree)]
        around = harmonics.basis(directions, degree) * share
        seen = np.einsum("vk,vk->v", around, np.asarray(self.visibility, np.float64))
        return np.asarray(np.clip(seen, 0, 1), np.float32)
