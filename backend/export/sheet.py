"""A dark contact sheet: rows of pictures with captions, evenly spaced."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

U8 = NDArray[np.uint8]

BACKGROUND = (21, 22, 24)
PLATE = (30, 31, 34)
BRIGHT = (232, 233, 235)
QUIET = (146, 149, 155)
MARGIN, GAP, CAPTION = 40, 20, 40
HEADER, FOOTER = 118, 30


@dataclass(frozen=True)
class Tile:
    """A picture with its name and a quieter note beside it."""

    picture: U8  # (h, w, 3) sRGB
    name: str
    note: str = ""


def tile_width(row_width: int, count: int) -> int:
    """Width of each of ``count`` tiles that fill a row of ``row_width`` pixels with gaps between."""
    return (row_width - GAP * (count - 1)) // count


def compose(title: str, caption: str, mark: str, rows: Sequence[Sequence[Tile]]) -> U8:
    """The sheet ``(H, W, 3)``: title and caption, a mark at the right, then the rows.

    All rows are as wide as the first; all tiles of a row share one size.
    """
    inner = sum(t.picture.shape[1] for t in rows[0]) + GAP * (len(rows[0]) - 1)
    height = HEADER + sum(row[0].picture.shape[0] + CAPTION for row in rows) + GAP * (len(rows) - 1) + FOOTER
    sheet = Image.new("RGB", (inner + 2 * MARGIN, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    brand = _font(22)
    right = inner + MARGIN
    draw.text((right, 62), mark, font=brand, fill=QUIET, anchor="rs")
    room = inner - int(brand.getlength(mark)) - 3 * GAP
    draw.text((MARGIN, 62), _fitted(title, _font(38), room), font=_font(38), fill=BRIGHT, anchor="ls")
    draw.text((MARGIN, 94), _fitted(caption, _font(20), inner), font=_font(20), fill=QUIET, anchor="ls")

    y = HEADER
    for row in rows:
        x = MARGIN
        for tile in row:
            tile_height, width = tile.picture.shape[:2]
            sheet.paste(Image.fromarray(tile.picture), (x, y))
            name_font, note_font = _font(19), _font(17)
            base = y + tile_height + 27
            draw.text((x, base), tile.name, font=name_font, fill=BRIGHT, anchor="ls")
            left = width - int(name_font.getlength(tile.name)) - GAP
            note = _fitted(tile.note, note_font, left)
            draw.text((x + width, base), note, font=note_font, fill=QUIET, anchor="rs")
            x += width + GAP
        y += row[0].picture.shape[0] + CAPTION + GAP
    return np.asarray(sheet)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> str:
    """``text``, cut with an ellipsis when wider than ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    kept = bisect.bisect_right(range(1, len(text)), room, key=lambda n: font.getlength(text[:n] + "..."))
    return text[:kept].rstrip() + "..." if kept else ""
