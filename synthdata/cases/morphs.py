"""MakeHuman's shapes and skins brought onto the open head, once, and kept as one file.

Registration looks at renders of MakeHuman's head with Face Mesh and takes about a minute; every process
that makes cases reads the file instead.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput, Missing
from backend.head.base import ParametricHead
from backend.head.open_head import load_open_head
from backend.uvspace.chart import chart_raster
from blender_addon.arrays import write_arrays
from synthdata.headmodel.albedo import log_details
from synthdata.headmodel.build import calm
from synthdata.headmodel.heldout import Population, load_population
from synthdata.headmodel.makehuman import (
    METRES_PER_UNIT,
    Registered,
    register_makehuman,
    remove_shading,
    sample_skin,
)

F32 = NDArray[np.float32]
VERSION = 1
CHART = 1024  # texels of skins and maps
SEAM_UV = 0.03  # a triangle with longer sides in MakeHuman's chart crosses a seam there
FINE_PX = 6.0  # of the 2048² skins: painted soft shading is broader, wrinkles and spots are finer
NEAR_M = 0.02  # open-head vertices farther than this from MakeHuman's surface are not moved by its shapes
LARGEST_M = 0.009  # that a shape at weight 1 moves a vertex
RIGID_PARTS = ("eye_left", "eye_right", "teeth", "gums", "tongue")
# Whole-face shapes with visible, plausible effects; left and right are driven apart, which makes asymmetry.
SHAPES = (
    "cheek/{}-cheek-bones-incr",
    "cheek/{}-cheek-volume-incr",
    "cheek/{}-cheek-volume-decr",
    "chin/chin-width-incr",
    "chin/chin-prominent-incr",
    "chin/chin-cleft-incr",
    "chin/chin-height-incr",
    "ears/{}-ear-wing-incr",
    "ears/{}-ear-scale-incr",
    "eyes/{}-eye-bag-incr",
    "eyes/{}-eye-eyefold-down",
    "eyes/{}-eye-eyefold-convex",
    "forehead/forehead-nubian-incr",
    "forehead/forehead-temple-decr",
    "forehead/forehead-trans-forward",
    "head/head-fat-incr",
    "head/head-fat-decr",
    "head/head-age-incr",
    "head/head-square",
    "head/head-oval",
    "mouth/mouth-cupidsbow-incr",
    "mouth/mouth-dimples-in",
    "mouth/mouth-laugh-lines-in",
    "mouth/mouth-lowerlip-volume-incr",
    "mouth/mouth-scale-horiz-incr",
    "mouth/mouth-upperlip-volume-incr",
    "nose/nose-base-down",
    "nose/nose-curve-concave",
    "nose/nose-flaring-incr",
    "nose/nose-greek-incr",
    "nose/nose-hump-incr",
    "nose/nose-point-width-incr",
    "nose/nose-scale-horiz-incr",
    "nose/nose-volume-incr",
)


@dataclass(frozen=True)
class Material:
    """What heads and skins are drawn from."""

    population: Population  # ICT's modes, those that open-eval knows and those it does not
    shape_names: tuple[str, ...]
    shapes: F32  # (N, V, 3) metres at weight 1: MakeHuman's shapes
    skin_names: tuple[str, ...]
    skin_details: NDArray[np.float16]  # (S, CHART, CHART, 3) log ratio to each skin's own mean colour


def prepared(data: Path, file: Path) -> Material:
    """The material kept in ``file``, made from the folder of shared ``data`` if need be.

    Raises: Missing, BadInput.
    """
    if not file.is_file():
        for part in ("ict-facekit", "makehuman"):
            if not (data / part).is_dir():
                raise Missing(f"'{data}' has no folder {part}/; give the folder of shared data with --data")
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            _write(fresh, data)
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
    with np.load(file, allow_pickle=False) as stored:
        if int(stored["version"]) != VERSION:
            raise BadInput(f"'{file}' was made by another version; delete it")
        return Material(
            Population(stored["kept"].astype(np.float32), stored["held_out"].astype(np.float32)),
            tuple(stored["shape_names"].tolist()),
            stored["shapes"].astype(np.float32),
            tuple(stored["skin_names"].tolist()),
            stored["skin_details"],
        )


def _write(file: Path, data: Path) -> None:
    head = load_open_head()
    mean = head.mean_vertices.astype(np.float64)
    registered = register_makehuman(data / "makehuman", mean, head.triangles, head.mediapipe)
    population = load_population(data)
    names, shapes = _shapes(data / "makehuman", registered, mean)
    skin_names, details = _skins(registered)
    write_arrays(
        file,
        version=np.array(VERSION),
        kept=population.kept.astype(np.float16),
        held_out=population.held_out.astype(np.float16),
        shape_names=np.array(names, np.str_),
        shapes=shapes.astype(np.float16),
        skin_names=np.array(skin_names, np.str_),
        skin_details=details,
    )


def _shapes(folder: Path, registered: Registered, mean: NDArray[np.float64]) -> tuple[list[str], F32]:
    """Each of SHAPES (sides apart) as offsets of the open head's vertices."""
    names = [name.format(side) for name in SHAPES for side in (("l", "r") if "{}" in name else ("",))]
    base = registered.base
    rows = base.triangles[registered.body][registered.triangle]
    follow = _Follow(load_open_head())
    # The rigid part of the registration turns and scales; it is undone by the map that fits both best.
    near = (
        np.linalg.norm(registered.place - _on(base.vertices, rows, registered.barycentric), axis=1) < NEAR_M
    )
    design = np.c_[registered.place[near], np.ones(int(near.sum()))]
    back = np.linalg.lstsq(design, mean[near], rcond=None)[0][:3]
    compact = np.full(int(base.source_vertex.max()) + 1, -1)
    compact[base.source_vertex] = np.arange(len(base.source_vertex))
    out = np.zeros((len(names), len(mean), 3), np.float32)
    for k, name in enumerate(names):
        offsets = np.zeros_like(base.vertices)
        with gzip.open(folder / f"{name}.target.gz", "rt") as lines:
            for line in lines:
                word = line.split()
                if len(word) == 4 and word[0] != "#" and int(word[0]) < len(compact):
                    vertex = compact[int(word[0])]
                    if vertex >= 0:
                        offsets[vertex] = [float(c) for c in word[1:]]
        moved = _on(offsets * METRES_PER_UNIT, rows, registered.barycentric) @ back
        out[k] = follow(np.where(near[:, None], moved, 0.0))
    return names, out


class _Follow:
    """Raw offsets of the skin made smooth and bounded; the inner parts move along with it."""

    def __init__(self, head: ParametricHead) -> None:
        from scipy.spatial import cKDTree

        mean = head.mean_vertices.astype(np.float64)
        part = np.zeros(len(mean), np.int64)
        part[head.quads[head.quads >= 0]] = np.repeat(head.quad_part, (head.quads >= 0).sum(1))
        self._skin = part == 0
        self._skin[head.triangles[head.triangle_part == 0]] = True
        tree = cKDTree(mean[self._skin])
        self._beside = tree.query(mean[self._skin], k=16)[1]
        self._nearest = tree.query(mean[~self._skin], k=24)[1]
        self._inner = [(part == k)[~self._skin] for k in (head.part_names.index(n) for n in RIGID_PARTS)]
        # Shoulders belong to no face; what MakeHuman's shapes do there is faded out.
        self._share = np.clip((mean[:, 1] + 0.15) / 0.05, 0, 1)[:, None]

    def __call__(self, offsets: NDArray[np.float64]) -> F32:
        out = offsets * self._share
        length = np.linalg.norm(out, axis=1, keepdims=True)
        out *= LARGEST_M * np.tanh(length / LARGEST_M) / np.maximum(length, 1e-9)
        skin = out[self._skin]
        for _ in range(2):
            skin = skin[self._beside].mean(1)
        inner = skin[self._nearest].mean(1)
        for rows in self._inner:  # an eye stays round: it moves as one, with the lids around it
            inner[rows] = inner[rows].mean(0)
        out[self._skin], out[~self._skin] = skin, inner
        return np.asarray(out, np.float32)


def _on(
    values: NDArray[np.float64], rows: NDArray[np.int32], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nk,nkc->nc", weight, values[rows]))


def _skins(registered: Registered) -> tuple[tuple[str, ...], NDArray[np.float16]]:
    """Log ratios to each skin's mean colour on the open head's chart, without its painted soft shading."""
    head = load_open_head()
    vertices = head.mean_vertices.astype(np.float64)
    uvs = registered.uvs
    coarse = np.asarray([sample_skin(image, uvs) for image in registered.skins], np.float64)
    regions = {name: values.astype(np.float64) for name, values in head.regions.items()}
    plain = regions["face"] * (1 - regions["lips"]) * (1 - regions["brows"])
    plain *= (1 - regions["eyelids"]) * (1 - regions["scalp"])
    even = remove_shading(coarse, vertices, head.triangles, head.mirror_vertex, plain)
    # Left and right are averaged above; what is painted on one side alone comes back with the fine detail.
    low = log_details(even, regions, plain, calm(vertices, regions))
    drawn = chart_raster(head, CHART)
    # A triangle across a seam of MakeHuman's chart has no place there; it keeps its vertices' colours.
    whole = np.ptp(uvs[head.triangles], axis=1).max(1) < SEAM_UV
    texel_uv = drawn.interpolate(uvs, head.triangles)[drawn.covered].astype(np.float64)
    out = np.zeros((len(low), CHART, CHART, 3), np.float16)
    # Linings of eyes and mouth lie next to the lids and lips in MakeHuman's chart and must not show on them.
    low *= (1 - 0.8 * np.maximum(regions["eyelids"], regions["lips"]))[:, None]
    keep = (1 - regions["scalp"]) * (1 - regions["ears"]) * (1 - regions["neck"])
    keep *= (1 - regions["eyelids"]) * (1 - regions["lips"]) * (1 - regions["nostrils"])
    share = (drawn.interpolate(keep[:, None], head.triangles)[..., 0] * whole[drawn.triangle])[drawn.covered]
    for k, image in enumerate(registered.skins):
        fine = np.log(np.maximum(sample_skin(image, texel_uv, 0.0), 2e-3)) - np.log(
            np.maximum(sample_skin(image, texel_uv, FINE_PX), 2e-3)
        )
        texel = drawn.interpolate(low[k], head.triangles)
        texel[drawn.covered] += share[:, None] * np.clip(fine, -0.5, 0.4)
        out[k] = texel
    return registered.skin_names, out
