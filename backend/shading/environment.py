"""Light from all around: Radiance .hdr files, spherical harmonics and procedural lat-longs alike.

Orientation and the relation to Blender's world texture: ``backend.shading.latlong``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, F64
from backend.errors import BadInput
from backend.exr import read_exr
from backend.shading import latlong, sh
from backend.shading.prefilter import PrefilteredLight, prefilter

# Coefficients come from at most this many rows: degree 2 sees nothing finer.
_SH_ROWS = 64
# Weight of the misfit against energy: keeps the answer finite where no light has the coefficients,
# and bends them by about a thousandth where one has.
_RELAXATION = 1e-3
_NEWTON_STEPS = 60


@dataclass(frozen=True)
class Environment:
    """Distant light around the head."""

    name: str
    radiance: F32  # (H, 2H, 3) lat-long, linear Rec. 709, ≥ 0

    def rotated(self, degrees: float) -> Environment:
        """The surroundings turned by ``degrees`` right-handed about +Y (what was in front of the face
        comes to the subject's left)."""
        return replace(self, radiance=latlong.rotate(self.radiance, degrees))

    def scaled(self, factor: float) -> Environment:
        """The same light, ``factor`` times as strong."""
        return replace(self, radiance=(self.radiance * np.float32(factor)).astype(np.float32))

    def exposed(self, level: float = 1.0) -> Environment:
        """The same light, so strong that a white card facing +Z shows a mean radiance of ``level``.

        Raises: BadInput when nothing shines from the front.
        """
        rows = self.radiance.shape[0]
        facing = np.maximum(latlong.directions(rows)[..., 2], 0) * latlong.solid_angles(rows)
        card = float((self.radiance.mean(-1) * facing).sum() / np.pi)
        if card <= 0:
            raise BadInput(f"the environment {self.name} is dark in front of the face; turn or change it")
        return self.scaled(level / card)

    @functools.cached_property
    def radiance_sh(self) -> F64:
        """Radiance coefficients ``(9, 3)`` in the order of ``shading.sh``."""
        small = latlong.shrink(self.radiance, _SH_ROWS)
        rows = small.shape[0]
        return sh.project(small, latlong.directions(rows), latlong.solid_angles(rows))

    @functools.cached_property
    def prefiltered(self) -> PrefilteredLight:
        """Irradiance and GGX-blurred radiance, made once."""
        return prefilter(self.radiance)


def sh_to_latlong(radiance_sh: NDArray[np.floating[Any]], height: int) -> F32:
    """Non-negative lat-long ``(height, 2·height, 3)`` with the coefficients ``(9, C)``.

    Degree-2 light rings below zero; clipping alone would change its irradiance. This is the image of
    least energy that is nowhere negative and still projects to the same coefficients; such an image
    has the form max(0, basis·c). Where no non-negative light has them, the result comes closest.
    """
    rows = 32
    at, share = latlong.directions(rows), latlong.solid_angles(rows).reshape(-1)
    values = sh.basis(at).reshape(-1, 9)
    target = np.asarray(radiance_sh, np.float64)
    c = np.stack([_least_energy(values, share, target[:, k]) for k in range(target.shape[1])], 1)
    return np.maximum(sh.basis(latlong.directions(height)) @ c, 0).astype(np.float32)


def _least_energy(values: F64, share: F64, target: F64) -> F64:
    """c ``(9,)`` that minimises ½∫max(0, values·c)² + ½λ|c|² − target·c, by damped Newton steps."""

    def cost(c: F64) -> float:
        clipped = np.maximum(values @ c, 0)
        return float(0.5 * share @ clipped**2 + 0.5 * _RELAXATION * c @ c - target @ c)

    c = target
    for _ in range(_NEWTON_STEPS):
        lit = share * (values @ c > 0)
        hessian = values.T @ (values * lit[:, None]) + _RELAXATION * np.eye(len(c))
        step = np.linalg.solve(hessian, target - hessian @ c)
        if np.abs(step).max() <= 1e-9 * np.abs(c).max():
            break
        damping = 1.0
        while cost(c + damping * step) > cost(c) and damping > 1e-6:
            damping /= 2
        c = c + damping * step
    return c


def read_hdr(path: Path | str) -> Environment:
    """A Radiance ``.hdr`` or OpenEXR panorama (2:1 lat-long) as an environment called after its file.

    Raises: BadInput when the file is missing, not such a picture, not 2:1 or holds bad numbers.
    """
    path = Path(path)
    radiance = read_exr(path) if path.suffix.lower() == ".exr" else _read_radiance(path)
    height, width = radiance.shape[:2]
    if width != 2 * height or height < 2:
        raise BadInput(f"{path.name} is {width}×{height}; a lat-long panorama is twice as wide as high")
    if not np.isfinite(radiance).all():
        raise BadInput(f"{path.name} holds values that are not numbers; export it again")
    if radiance.ndim == 2:
        radiance = np.repeat(radiance[..., None], 3, 2)
    return Environment(path.stem, np.maximum(radiance, 0))


def _read_radiance(path: Path) -> F32:
    import cv2

    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"cannot read the environment {path.name}: {error.strerror or error}") from error
    if not data[:2].tobytes() == b"#?":
        raise BadInput(f"{path.name} is not a Radiance .hdr picture; save the panorama as .hdr")
    bgr = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if bgr is None:
        raise BadInput(f"{path.name} is a damaged .hdr picture; fetch or export it again")
    return np.ascontiguousarray(bgr[..., ::-1], np.float32)


def write_hdr(path: Path, radiance: F32) -> None:
    """Write a lat-long as Radiance RGBE (about 1 % precision), for a Blender world or any renderer.

    Raises: OSError when the file cannot be written.
    """
    import cv2

    done, data = cv2.imencode(".hdr", np.ascontiguousarray(radiance[..., ::-1], np.float32))
    if not done:
        raise OSError(f"could not encode {path.name}")
    path.write_bytes(data.tobytes())
