"""The painted mask: a copy of the photo in which whatever the artist paints over counts as not skin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .grey_png import encode_grey
from .scene.identity import first, tag

log = logging.getLogger(__name__)

ROLE = "exclude mask"
BRUSH_NAME = "Likeness paint out"
ESSENTIAL_BRUSH = "brushes/essentials_brushes-mesh_texture.blend/Brush/Paint Hard"
BRUSH_COLOUR = (1.0, 0.0, 1.0)  # no skin has it
CHANGED = 2.5 / 255.0  # below this a difference is the picture's own rounding


def find(uuid: str) -> Any | None:
    """The mask of the head ``uuid``, None when none was begun."""
    return first("images", uuid, ROLE)


def create(uuid: str, name: str, photo: Path) -> Any:
    """A fresh copy of the photo to paint on, kept in the .blend. Raises: RuntimeError from Blender."""
    image = bpy.data.images.load(str(photo), check_existing=False)
    image.name = f"{name} not skin"
    image.pack()
    tag(image, uuid, ROLE)
    image.use_fake_user = True
    return image


def encode(image: Any, photo: Path) -> bytes | None:
    """The mask as an 8-bit grey PNG of the photo's size, white = not skin; None when nothing is painted."""
    original = bpy.data.images.load(str(photo), check_existing=False)
    try:
        painted = painted_over(_pixels(image), _pixels(original))
    finally:
        bpy.data.images.remove(original)
    if not painted.any():
        return None
    return encode_grey(np.where(painted[::-1], 255, 0).astype(np.uint8))  # Blender's first row is the lowest


def painted_over(now: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels ``(H, W)`` of ``(H, W, 4)`` pictures differ by more than rounding."""
    differs: NDArray[np.bool_] = np.abs(now[..., :3] - before[..., :3]).max(axis=-1) > CHANGED
    return differs


def choose_brush(context: Any, size_px: int) -> None:
    """Give image painting a brush of ``size_px`` of the picture, in a colour that stands out from skin."""
    paint = context.tool_settings.image_paint
    if paint.brush is None:
        _activate_brush(paint)
    unified = getattr(paint, "unified_paint_settings", None) or context.tool_settings.unified_paint_settings
    if unified.use_unified_color:
        unified.color = BRUSH_COLOUR
    if unified.use_unified_size:
        unified.size = size_px
    if paint.brush is not None:
        paint.brush.color, paint.brush.size = BRUSH_COLOUR, size_px


def _activate_brush(paint: Any) -> None:
    """Blender's own hard brush; one of ours where it was packaged without its brushes."""
    if not hasattr(bpy.ops.brush, "asset_activate") or not paint.bl_rna.properties["brush"].is_readonly:
        paint.brush = bpy.data.brushes.new(BRUSH_NAME, mode="TEXTURE_PAINT")  # before Blender 4.3
        return
    try:
        bpy.ops.brush.asset_activate(
            asset_library_type="ESSENTIALS", relative_asset_identifier=ESSENTIAL_BRUSH
        )
    except RuntimeError as error:
        log.info("Blender's own brush is not there: %s", error)
    if paint.brush is None:
        brush = bpy.data.brushes.get(BRUSH_NAME) or bpy.data.brushes.new(BRUSH_NAME, mode="TEXTURE_PAINT")
        brush.asset_mark()
        bpy.ops.brush.asset_activate(
            asset_library_type="LOCAL", relative_asset_identifier=f"Brush/{BRUSH_NAME}"
        )


def _pixels(image: Any) -> NDArray[np.float32]:
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(height, width, 4)
