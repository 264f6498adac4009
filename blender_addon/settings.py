"""What the artist chooses: for the next reconstruction (window manager) and for the light (scene)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import pictures
from .view import PRESETS

ENGINES = (
    ("auto", "Best available", "The best engine that this machine can run"),
    ("embedded", "Embedded", "Classical inverse rendering; needs neither a GPU nor a download"),
    (
        "marcus",
        "MARCUS",
        "Diffusion models for research use; needs a large GPU and fetched weights, and says what is missing",
    ),
)
_PRESET_TEXT = {
    "PREVIEW": "Maps of 512 texels a side: a first look",
    "STANDARD": "Maps of 2048 texels a side",
    "FULL": "Maps of 4096 texels a side: for large photos; slow and hungry for memory",
}
PRESET_ITEMS = tuple((key, label, _PRESET_TEXT[key]) for key, label, _ in PRESETS)
LIGHT_PRESETS = (
    ("three_point", "Three-point", "Key light from one side, soft fill, rim from behind"),
    ("rembrandt", "Rembrandt", "A warm key high from the side, a triangle of light on the far cheek"),
    ("split", "Split", "Half of the face in light, half in shade"),
    ("rim", "Rim", "Cool and warm edges from behind, the face dim"),
    ("soft", "Soft", "Large lights all round, hardly any shadow"),
)


def _relight(self: Any, context: Any) -> None:
    if self.hdri and context.scene is not None:
        from .operators.light import relight

        relight(context.scene)


class LikenessPhoto(bpy.types.PropertyGroup):
    """One photo of the list."""

    path: StringProperty(name="Photo", subtype="FILE_PATH")


class LikenessSettings(bpy.types.PropertyGroup):
    """The next reconstruction."""

    photos: CollectionProperty(type=LikenessPhoto)
    preset: EnumProperty(name="Quality", items=PRESET_ITEMS, default="STANDARD")
    engine: EnumProperty(name="Engine", items=ENGINES, default="auto")
    seed: IntProperty(
        name="Seed",
        description="The same photo, settings and seed give the same head again",
        default=0,
        min=0,
        max=2**31 - 1,
    )
    splats: BoolProperty(
        name="Splats",
        description="Also make the head with its hair as Gaussian splats, which take turns with the mesh",
        default=False,
    )
    caption: StringProperty(
        name="Caption",
        description="Describe the face in words; empty lets the engine look",
    )
    turbo: BoolProperty(
        name="Turbo",
        description="Few steps: faster, and another result",
        default=False,
    )
    choose_face: BoolProperty(
        name="Choose face",
        description="Take a certain face of a photo that shows several, not the largest",
        default=False,
    )
    face: IntProperty(
        name="Face",
        description="Which face of the photo: 0 is the largest and most central",
        default=0,
        min=0,
        max=63,
    )
    use_mask: BoolProperty(
        name="Use the painted mask",
        description="Leave out what is painted over in the mask",
        default=True,
    )
    history_rows: IntProperty(default=4)


class LikenessLight(bpy.types.PropertyGroup):
    """The scene's light."""

    hdri: EnumProperty(
        name="Environment",
        description="Panorama that lights the head",
        items=pictures.hdri_items,
        update=_relight,
    )
    rotation: FloatProperty(
        name="Rotation",
        description="Turn of the environment about the vertical",
        subtype="ANGLE",
        default=0.0,
        soft_min=-3.14159265,
        soft_max=3.14159265,
        update=_relight,
    )
    strength: FloatProperty(
        name="Strength",
        description="Brightness of the environment",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        update=_relight,
    )
    background: BoolProperty(
        name="Show behind the head",
        description="The camera sees the environment; otherwise an even grey",
        default=False,
        update=_relight,
    )
    studio: EnumProperty(
        name="Studio", description="Area lights around the head", items=LIGHT_PRESETS, default="three_point"
    )


CLASSES = (LikenessPhoto, LikenessSettings, LikenessLight)


def photo_paths(settings: Any) -> list[Path]:
    """The chosen photos."""
    return [Path(bpy.path.abspath(photo.path)) for photo in settings.photos if photo.path]


def set_photos(settings: Any, paths: list[Path]) -> None:
    """Replace the chosen photos."""
    settings.photos.clear()
    for path in paths:
        settings.photos.add().path = str(path)


def register() -> None:
    """Attach the settings to window manager and scene."""
    bpy.types.WindowManager.likeness = PointerProperty(type=LikenessSettings)
    bpy.types.Scene.likeness_light = PointerProperty(type=LikenessLight)


def unregister() -> None:
    """Detach them; values in open files become unknown properties that Blender drops."""
    del bpy.types.Scene.likeness_light
    del bpy.types.WindowManager.likeness
