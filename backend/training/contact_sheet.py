"""A page of a training set: portraits with their maps, and the histograms below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32
from backend.colour import linear_to_srgb
from backend.training.loader import Instance, Moment
from backend.training.statistics import Histogram

TILE = 144
COLUMNS = 2  # of instances; each is a row of tiles
GAP = 6
_INK, _PAPER, _BAR, _QUIET = (30, 30, 30), (250, 250, 248), (86, 122, 160), (120, 120, 120)
_LINE = 15
STEEPER = 4  # so that skin's normals can be seen at this size
_NAMES = ("portrait", "t_inc", "t_env", "t_hom", "albedo", "normal, 4x")
_OF_MOMENTS = ("view", "view", "view", "parts", "shaded", "position")
_PART_COLOURS = ((0, 0, 0), (224, 172, 140), (150, 40, 50), (90, 60, 60), (70, 130, 200), (70, 170, 120))

Pixels = NDArray[np.uint8]


def contact_sheet(shown: Sequence[Instance | Moment], found: Sequence[Histogram], title: str) -> Any:
    """A PIL picture."""
    from PIL import Image, ImageDraw

    width = COLUMNS * len(_NAMES) * (TILE + GAP) + (COLUMNS + 1) * 2 * GAP
    rows = -(-len(shown) // COLUMNS)
    bars = max(len(h.counts) for h in found) + 2
    across = width // 3
    height = 3 * _LINE + rows * (TILE + _LINE + GAP) + -(-len(found) // 3) * bars * _LINE + 2 * GAP
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((2 * GAP, GAP), title, fill=_INK)
    for column in range(min(COLUMNS, len(shown))):
        for number, name in enumerate(_OF_MOMENTS if isinstance(shown[0], Moment) else _NAMES):
            draw.text((_left(column, number), GAP + _LINE + 4), name, fill=_QUIET)
    for index, instance in enumerate(shown):
        row, column = divmod(index, COLUMNS)
        top = 3 * _LINE + row * (TILE + _LINE + GAP)
        for number, tile in enumerate(_tiles(instance)):
            page.paste(Image.fromarray(tile), (_left(column, number), top))
        draw.text((_left(column, 0), top + TILE + 1), _caption(instance), fill=_QUIET)
    start = 3 * _LINE + rows * (TILE + _LINE + GAP) + GAP
    for index, histogram in enumerate(found):
        row, column = divmod(index, 3)
        _bars(draw, histogram, column * across + 2 * GAP, start + row * bars * _LINE, across - 6 * GAP)
    return page


def write_sheet(path: Path, page: Any) -> None:
    """As PNG. Raises: OSError."""
    page.save(path, format="PNG")


def _left(column: int, number: int) -> int:
    return 2 * GAP + column * (len(_NAMES) * (TILE + GAP) + 2 * GAP) + number * (TILE + GAP)


def _caption(instance: Instance | Moment) -> str:
    if isinstance(instance, Moment):
        return _moment_caption(instance)
    meta = instance.meta
    light = meta.light
    return (
        f"#{meta.index}  identity {meta.person.identity}  ITA {meta.person.tone_ita_degrees:.0f}°  "
        f"yaw {meta.yaw_degrees:.0f}°  {light.kind} {light.name} {light.turn_degrees:.0f}°"
    )


def _moment_caption(moment: Moment) -> str:
    meta = moment.meta
    (left, up), _ = meta.gaze_degrees
    names = sorted(meta.person.expression, key=lambda n: -meta.person.expression[n])
    named = ", ".join(n for n in names if not n.startswith("eyeLook"))[:40] or "neutral"
    return (
        f"#{meta.index}  identity {meta.person.identity}  ITA {meta.person.tone_ita_degrees:.0f}°  "
        f"eyes {left:.0f}° {up:.0f}°  {meta.light.name}  {named}"
    )


def _moment_tiles(moment: Moment) -> list[Pixels]:
    front = moment.views[0]
    # The first looks straight on; two more from as far aside as there are.
    aside = sorted(moment.views, key=lambda view: view.meta.yaw_degrees)
    colours = np.array(_PART_COLOURS, np.uint8)
    parts = colours[np.minimum(front.parts, len(colours) - 1)]
    inside = moment.inside[..., None]
    position = np.where(inside, 0.5 + moment.position_head / 0.3, 0).astype(np.float32)
    return [
        *(_small(view.image_srgb) for view in (front, aside[len(aside) // 4], aside[-1])),
        _small(parts),
        _small(_shown(moment.shaded_linear)),
        _small(_whole(position)),
    ]


def _tiles(instance: Instance | Moment) -> list[Pixels]:
    if isinstance(instance, Moment):
        return _moment_tiles(instance)
    maps = instance.materials
    return [
        _small(instance.portrait_srgb),
        *(
            _small(_shown(values))
            for values in (instance.t_inc, instance.t_env, instance.t_hom, maps.albedo_linear)
        ),
        _small(_whole(0.5 + 0.5 * STEEPER * maps.normal_tangent)),
    ]


def _shown(linear: F32) -> Pixels:
    return _whole(linear_to_srgb(linear))


def _whole(values: F32) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), np.uint8)


def _small(picture: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)


def _bars(draw: Any, histogram: Histogram, left: int, top: int, width: int) -> None:
    most = max(max(histogram.counts), 1)
    label = 110
    draw.text((left, top), histogram.title, fill=_INK)
    for number, (name, count) in enumerate(zip(histogram.labels, histogram.counts, strict=True)):
        y = top + (number + 1) * _LINE
        draw.text((left, y), name, fill=_QUIET)
        long = round((width - label - 40) * count / most)
        draw.rectangle((left + label, y + 2, left + label + long, y + _LINE - 3), fill=_BAR)
        draw.text((left + label + long + 5, y), str(count), fill=_INK)
