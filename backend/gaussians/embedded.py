"""Splats of a reconstruction without learned weights: decode, grow hair, match the photo."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32, Reconstruction, Run
from backend.errors import BadInput
from backend.gaussians.decoder import decode, on_scalp, skin_seen
from backend.gaussians.hair import grow_hair, under_hair
from backend.gaussians.hair_mask import HairSeen, HeadWindow, find_hair, head_window
from backend.gaussians.hairline import bare_on_the_other_side, painted
from backend.gaussians.optimise import match_photo
from backend.gaussians.surface import BoundGaussians, placed

STAGE = "splats"
IMPLEMENTATION = "decoder without weights, matched to the photo"
_REGIONS = ("scalp", "forehead", "face", "ears", "neck", "eyelids", "lips", "nostrils")
_CROPPED_M = 0.004  # hair thinner than the fit is exact
_SALT = 9  # of the job's random numbers


def make_splats(made: Reconstruction, run: Run) -> BoundGaussians:
    """Gaussians of the whole head on the photographed face.

    Raises: BadInput (a head without regions), Cancelled.
    """
    fit = made.fit
    missing = [name for name in _REGIONS if name not in fit.head.regions]
    if missing:
        raise BadInput(
            f"head '{fit.head.name}' does not say where its {missing[0]} is; splats need --head open"
        )
    run.progress(STAGE, 0.0)
    bound = decode(made)
    window = head_window(made.observation, fit)
    seen = find_hair(window, fit)
    if seen is not None and seen.is_bald:
        here = placed(bound, fit.vertices_head, fit.head.triangles).positions
        bound = painted(bound, here, skin_seen(made, bound), window, seen, fit)
    elif seen is not None:
        run.progress(STAGE, 0.1)
        hair = grow_hair(window, seen, fit, run.rng(_SALT))
        if hair is not None:
            is_cropped = seen.usual_m < _CROPPED_M and not seen.hangs
            bound = _dressed(made, bound, hair, window, seen, is_cropped)
    if seen is None or seen.is_bald:
        run.warn("No hair was found on the photograph; the splats are bald.")

    def told(share: float) -> None:
        run.progress(STAGE, 0.2 + 0.8 * share)

    return match_photo(bound, window, seen, fit, _known(made, bound), told)


def _known(made: Reconstruction, bound: BoundGaussians) -> F32:
    """How far each Gaussian's colour is the photo's already, ``(N,)`` in [0, 1]: skin that the chart saw."""
    return np.asarray(np.where(bound.part == 0, skin_seen(made, bound), 0), np.float32)


def _dressed(
    made: Reconstruction,
    bare: BoundGaussians,
    hair: BoundGaussians,
    window: HeadWindow,
    seen: HairSeen,
    is_cropped: bool,
) -> BoundGaussians:
    """``bare`` with ``hair``; cropped hair is the scalp's colour, for a shell would stand out too far."""
    vertices, triangles = made.fit.vertices_head, made.fit.head.triangles
    here, there = (placed(b, vertices, triangles).positions for b in (bare, hair))
    scalp = np.clip(2 * on_scalp(made, bare), 0, 1).astype(np.float32)
    known = skin_seen(made, bare)
    scalp *= 1 - bare_on_the_other_side(here, window, seen, made.fit)
    below = painted(under_hair(bare, here, scalp, known, hair, there), here, known, window, seen, made.fit)
    return below if is_cropped else below.joined(hair)
