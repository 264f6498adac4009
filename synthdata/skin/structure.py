"""The single things of one skin, each laid once in its place: what every size and every map is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backend.artifacts import F32, F64
from backend.uvspace.chart import unit_or_zero
from synthdata.skin.anatomy import BROW, BROW_TOP, UPPER_LASHES, Fold, fold_lines, folds_of
from synthdata.skin.marks import Lines, Spots
from synthdata.skin.parameters import SkinParameters
from synthdata.skin.surface import SkinSurface

HEIGHT, MELANIN, BLOOD = 0, 1, 2  # columns of the spots' values: millimetres, shares added
PIECE_MM = 0.8  # of veins
VALLEY_WIDTH, VALLEY_DEPTH = 2.6, 0.55  # over the crease
LEAST_VALLEY_MM = 1.6  # narrower ones are lost on the mesh that the displacement moves


@dataclass(frozen=True)
class Structure:
    """Marks in millimetres on the neutral skin."""

    folds: Lines  # narrow, with a crease
    valleys: Lines  # the broad hollows round them
    pores: Spots  # HEIGHT
    pigment: Spots  # freckles and age spots: HEIGHT (0), MELANIN, BLOOD
    growths: Spots  # moles and blemishes: HEIGHT, MELANIN, BLOOD
    drops: Spots  # HEIGHT
    red_veins: Lines
    blue_veins: Lines
    beard: Lines
    brows: Lines
    scalp: Lines
    liner: Lines


def lay_structure(
    surface: SkinSurface, parameters: SkinParameters, expression: Mapping[str, float]
) -> Structure:
    """Lay everything; the same parameters on the same head give the same structure."""

    def rng(salt: int) -> np.random.Generator:
        return np.random.default_rng([parameters.seed, 2, salt])

    folds = fold_lines(surface, folds_of(surface, parameters, expression), rng(0))
    return Structure(
        folds=folds,
        valleys=replace(
            folds,
            width_mm=np.maximum(VALLEY_WIDTH * folds.width_mm, LEAST_VALLEY_MM),
            strength=np.float32(VALLEY_DEPTH) * folds.strength,
        ),
        pores=_pores(surface, parameters, rng(1)),
        pigment=_pigment_spots(surface, parameters, rng(2)),
        growths=_growths(surface, parameters, rng(3)),
        drops=_drops(surface, parameters, rng(4)),
        red_veins=_veins(surface, _red_density(surface, parameters), 0.09, (4, 11), rng(5)),
        blue_veins=_veins(surface, _blue_density(surface, parameters), 0.9, (18, 45), rng(6)),
        beard=_beard(surface, parameters, rng(7)),
        brows=_brows(surface, parameters, rng(8)),
        scalp=_scalp(surface, parameters, rng(9)),
        liner=_liner(surface, parameters, rng(10)),
    )


def _layer(surface: SkinSurface, name: str) -> F32:
    return np.asarray(surface.layers[:, surface.names.index(name)], np.float32)


def _bare(surface: SkinSurface) -> F32:
    """1 on the face's and the neck's own skin."""
    soft = 1 - np.maximum.reduce([_layer(surface, n) for n in ("lips", "scalp", "nostrils", "mouth_inside")])
    return np.asarray(soft, np.float32)


def _pores(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Spots:
    nose, cheeks = _layer(surface, "nose"), _layer(surface, "blush")
    forehead, chin = _layer(surface, "forehead"), _layer(surface, "chin")
    seen = np.clip(
        1.0 * nose + 0.85 * cheeks + 0.6 * _layer(surface, "cheeks") + 0.45 * forehead + 0.6 * chin, 0, 1
    )
    seen = np.maximum(seen, 0.25 * _layer(surface, "face")) * (1 - 0.85 * _layer(surface, "eyelids"))
    bare = _bare(surface) * (1 - 0.7 * _layer(surface, "neck")) * (1 - 0.7 * _layer(surface, "ears"))
    places, normals = surface.scatter(bare * (90 + 160 * seen), 0.35, rng)
    at = surface.values_at(places, np.stack([seen, nose], 1))
    size = (0.4 + 0.6 * p.pores) * (0.45 + 0.75 * at[:, 0]) * rng.lognormal(0, 0.30, len(places))
    radius = 0.15 * size
    depth = np.minimum(0.085 * size, 0.55 * radius) * (1 - 0.3 * p.make_up.foundation)
    return Spots(places, normals, radius.astype(np.float32), -depth[:, None].astype(np.float32))


def _pigment_spots(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Spots:
    bare = _bare(surface) * (1 - 0.8 * _layer(surface, "eyelids"))
    sun = np.clip(0.25 + _layer(surface, "nose") + _layer(surface, "blush") + _layer(surface, "cheeks"), 0, 1)
    sun = np.clip(sun + 0.35 * _layer(surface, "forehead"), 0, 1) * (1 - 0.75 * _layer(surface, "neck"))
    parts = []
    if p.freckles > 0:
        where = bare * sun * 24 * p.freckles**0.7
        places, normals = surface.scatter(where.astype(np.float32), 0.7, rng)
        n = len(places)
        radius = 0.36 * rng.lognormal(0, 0.5, n) + 0.16
        strong = (0.008 + 0.024 * p.freckles) * rng.gamma(2.0, 0.5, n) * (1 + 2.0 * p.melanin)
        parts.append((places, normals, radius, np.stack([0 * strong, strong, 0.1 * strong], 1)))
    if p.age_spots > 0:
        places, normals = surface.scatter((bare * sun * 0.35 * p.age_spots).astype(np.float32), 3.0, rng)
        n = len(places)
        radius = np.clip(1.5 * rng.lognormal(0, 0.5, n), 0.6, 5.0)
        strong = (0.014 + 0.03 * p.age_spots) * rng.gamma(2.0, 0.5, n)
        parts.append((places, normals, radius, np.stack([0 * strong, strong, 0.05 * strong], 1)))
    return _joined(parts, flat=1.2)


def _growths(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Spots:
    bare = _bare(surface) * (1 - 0.7 * _layer(surface, "eyelids"))
    face = bare * np.clip(_layer(surface, "face") + 0.25 * _layer(surface, "neck"), 0, 1)
    parts = []
    for count, kind in ((p.moles, "mole"), (p.blemishes, "blemish")):
        oily = (
            1.0
            if kind == "mole"
            else np.clip(
                0.3 + _layer(surface, "chin") + _layer(surface, "cheeks") + 0.7 * _layer(surface, "forehead"),
                0,
                1,
            )
        )
        density = np.asarray(face * oily, np.float32)
        total = float((density[surface.triangles].mean(1) * surface.area_mm2).sum() / 100)
        places, normals = surface.scatter(density * np.float32(3 * count / total), 4.0, rng)
        kept = rng.permutation(len(places))[:count]
        places, normals, n = places[kept], normals[kept], len(kept)
        if kind == "mole":
            radius = np.clip(0.48 * rng.lognormal(0, 0.45, n), 0.25, 2.0)
            raised = np.where(rng.random(n) < 0.25, rng.uniform(0.15, 0.6, n) * radius, 0.02)
            values = [raised, 0.30 * rng.beta(1.0, 2.6, n) * (0.8 + 1.2 * p.melanin), 0.004 * np.ones(n)]
        else:
            radius = rng.uniform(0.6, 1.9, n)
            live = rng.random(n)
            values = [
                0.16 * radius * live,
                (0.15 * p.melanin + 0.004) * rng.random(n),
                rng.uniform(0.03, 0.12, n),
            ]
        parts.append((places, normals, radius, np.stack(values, 1)))
    return _joined(parts, flat=1.35)


def _drops(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Spots:
    where = (
        np.clip(
            _layer(surface, "forehead")
            + 0.9 * _layer(surface, "moustache")
            + 0.5 * _layer(surface, "nose")
            + 0.4 * _layer(surface, "blush")
            + 0.25 * _layer(surface, "face"),
            0,
            1,
        )
        * _bare(surface)
        * (1 - _layer(surface, "eyelids"))
    )
    if p.sweat == 0:
        return _joined([], flat=2.0)
    places, normals = surface.scatter((where * 26 * p.sweat).astype(np.float32), 0.8, rng)
    n = len(places)
    radius = np.clip(0.26 * rng.lognormal(0, 0.5, n), 0.1, 1.1) * (0.7 + 0.5 * p.sweat)
    return _joined([(places, normals, radius, (0.42 * radius)[:, None])], flat=2.0)


def _joined(parts: list[tuple[F32, F32, F64, F64]], flat: float) -> Spots:
    if not parts:
        none = np.zeros((0, 3), np.float32)
        return Spots(none, none, np.zeros(0, np.float32), np.zeros((0, 3), np.float32), flat)
    places, normals, radius, values = (
        np.concatenate(list(c)).astype(np.float32) for c in zip(*parts, strict=True)
    )
    return Spots(places, normals, radius, values, flat)


def _red_density(surface: SkinSurface, p: SkinParameters) -> F32:
    where = np.clip(
        _layer(surface, "wings") + 0.6 * _layer(surface, "blush") + 0.7 * _layer(surface, "nose"), 0, 1
    )
    return np.asarray(where * _bare(surface) * 7 * p.veins, np.float32)


def _blue_density(surface: SkinSurface, p: SkinParameters) -> F32:
    temples = np.clip(_layer(surface, "around_eye") - _layer(surface, "eyelids"), 0, 1)
    where = (0.6 * temples + 0.12 * _layer(surface, "forehead") + 0.08 * _layer(surface, "neck")) * _bare(
        surface
    )
    return np.asarray(where * 0.22 * (0.4 + 0.6 * p.veins), np.float32)


def _veins(
    surface: SkinSurface, density: F32, width_mm: float, pieces: tuple[int, int], rng: np.random.Generator
) -> Lines:
    """Wandering lines over the skin."""
    places, normals = surface.scatter(density, 0.0, rng)
    if not len(places):
        return _no_lines()
    count = rng.integers(*pieces, len(places))
    heading = rng.normal(0, 1, (len(places), 3))
    starts, ends, facing, strength = [], [], [], []
    for step in range(int(count.max())):
        heading = heading + rng.normal(0, 0.35, heading.shape)
        heading -= normals * (heading * normals).sum(1, keepdims=True)
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
        going = count > step
        following, turned = surface.snapped(places + PIECE_MM * heading)
        t = (step + np.array([0.0, 1.0])) / count[going, None]
        starts.append(places[going])
        ends.append(following[going])
        facing.append(normals[going])
        strength.append(np.sin(np.pi * np.clip(t, 0, 1)))
        places, normals = following, turned
    return _lines(starts, ends, facing, width_mm, np.concatenate(strength))


def _beard(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Lines:
    if p.stubble == 0 or p.stubble_mm == 0:
        return _no_lines()
    beard = np.clip((_layer(surface, "beard") - 0.15) / 0.6, 0, 1)
    dense = np.clip(0.45 + 0.8 * _layer(surface, "moustache") + 0.8 * _layer(surface, "chin"), 0, 1)
    density = np.asarray(beard * dense * (1 - _layer(surface, "mouth_inside")) * 75 * p.stubble, np.float32)
    places, normals = surface.scatter(density, 0.45, rng)
    down = np.array([0.0, -1.0, 0.15]) + rng.normal(0, 0.35, (len(places), 3))
    length = p.stubble_mm * rng.uniform(0.55, 1.1, len(places)) * 0.85
    return _hairs(places, normals, down, length, 0.05, rng)


def _scalp(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Lines:
    if p.cropped_mm == 0:
        return _no_lines()
    hairline = np.clip((_layer(surface, "scalp") - 0.25) / 0.5, 0, 1)
    places, normals = surface.scatter(np.asarray(hairline * 150, np.float32), 0.3, rng)
    crown = np.array([8.0, surface.high_mm[1] - 3, surface.low_mm[2] + 45])
    away = places - crown
    away = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    away = away + 0.5 * np.cross(normals, away) + rng.normal(0, 0.3, (len(places), 3))
    return _hairs(places, normals, away, p.cropped_mm * rng.uniform(0.6, 1.05, len(places)), 0.045, rng)


def _brows(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Lines:
    region = np.clip((_layer(surface, "brows") - 0.45) / 0.45, 0, 1)
    places, normals = surface.scatter(np.asarray(region * 330 * p.brows, np.float32), 0.2, rng)
    mark = surface.landmarks_mm
    heading = np.zeros((len(places), 3))
    for low, high, sign in zip(BROW, BROW_TOP, (-1, 1), strict=True):
        own = np.sign(places[:, 0]) == sign
        course = 0.5 * (mark[list(low)] + mark[list(high)])
        near = np.abs(places[own, None, 0] - course[None, :, 0]).argmin(1)
        along = np.gradient(course, axis=0)[near]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        lift = np.interp(near, [0, 1.5, 4], [1.3, 0.35, -0.15])[:, None]
        heading[own] = along + lift * np.array([0.0, 1.0, 0.0])
    heading += rng.normal(0, 0.14, heading.shape)
    return _hairs(places, normals, heading, rng.uniform(3.5, 7.0, len(places)), 0.06, rng)


def _liner(surface: SkinSurface, p: SkinParameters, rng: np.random.Generator) -> Lines:
    if p.make_up.liner == 0:
        return _no_lines()
    folds = [Fold(surface.landmarks_mm[list(lid)], 1.6 * p.make_up.liner, 0.55) for lid in UPPER_LASHES]
    return fold_lines(surface, folds, rng)


def _hairs(
    roots: F32,
    normals: F32,
    heading: F64,
    length_mm: F64,
    width_mm: float,
    rng: np.random.Generator,
) -> Lines:
    flat = heading - normals * (heading * normals).sum(1, keepdims=True)
    tips = roots + unit_or_zero(flat) * length_mm[:, None].astype(np.float32)
    width = (width_mm * rng.uniform(0.7, 1.25, len(roots))).astype(np.float32)
    strong = rng.uniform(0.6, 1.0, len(roots))
    # A hair is round with a border: its bell is a little higher than full cover.
    strength = np.stack([1.8 * strong, 1.1 * strong], 1).astype(np.float32)
    return Lines(roots, tips.astype(np.float32), normals, width, strength)


def _lines(starts: list[F32], ends: list[F32], facing: list[F32], width_mm: float, strength: F64) -> Lines:
    start = np.concatenate(starts).astype(np.float32)
    width = np.full(len(start), width_mm, np.float32)
    return Lines(
        start,
        np.concatenate(ends).astype(np.float32),
        np.concatenate(facing).astype(np.float32),
        width,
        strength.astype(np.float32),
    )


def _no_lines() -> Lines:
    none = np.zeros((0, 3), np.float32)
    return Lines(none, none, none, np.zeros(0, np.float32), np.zeros((0, 2), np.float32))
