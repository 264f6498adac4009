"""The add-on's preferences: where the backend is, where files go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from .paths import ROOT_PACKAGE


def _location_changed(_self: Any, _context: Any) -> None:
    from . import runtime

    runtime.get().location_changed()


class LikenessPreferences(bpy.types.AddonPreferences):
    """Drawn by ``panels.preferences``."""

    bl_idname = ROOT_PACKAGE

    location: EnumProperty(
        name="Backend",
        items=(
            ("LOCAL", "This machine", "Photos never leave this machine"),
            ("REMOTE", "Another machine", "A server that you or your studio runs; photos are sent to it"),
        ),
        default="LOCAL",
        update=_location_changed,
    )
    connection_file: StringProperty(
        name="Connection file",
        description="The file that 'likeness serve' made for this client on the other machine",
        subtype="FILE_PATH",
        update=_location_changed,
    )
    start_on_demand: BoolProperty(
        name="Start the backend when it is needed",
        description="Reconstruct starts a backend that is installed but not running",
        default=True,
    )
    hdri_folder: StringProperty(
        name="HDRI folder",
        description="Your own environments (.hdr, .exr), listed beside Blender's",
        subtype="DIR_PATH",
    )
    textures: EnumProperty(
        name="Skin maps",
        items=(
            ("PACK", "Packed in the .blend", "The .blend holds everything"),
            ("BESIDE", "Saved beside the .blend", "Maps are copied to a folder 'likeness' beside the .blend"),
        ),
        default="PACK",
    )
    proxies: BoolProperty(
        name="Small maps first",
        description="Show maps of 1024 texels at once; bring the full ones on demand or for a render",
        default=True,
    )
    set_camera: BoolProperty(
        name="Set the photo's camera",
        description="Importing a head makes the photograph's camera and picture size the scene's",
        default=True,
    )
    frame_heads: BoolProperty(
        name="Look at new heads",
        description="The viewports turn to a head when it first appears",
        default=True,
    )
    set_world: BoolProperty(
        name="Set the estimated light",
        description="Importing a head makes the photograph's light the scene's world",
        default=True,
    )
    mark_asset: BoolProperty(
        name="Mark heads as assets",
        description="Heads appear in the asset browser once the .blend is saved in an asset library",
        default=True,
    )
    cache_cap_gb: FloatProperty(
        name="Cache limit (GB)",
        description="Finished stages beyond this size are deleted, the oldest first. "
        "Takes effect when the backend starts",
        default=20.0,
        min=1.0,
        soft_max=200.0,
        precision=0,
        step=100,
    )

    def draw(self, context: Any) -> None:
        """Draw the preferences and the backend's state."""
        from .panels.preferences import draw_preferences

        draw_preferences(self.layout, self, context)


CLASSES = (LikenessPreferences,)


def preferences() -> LikenessPreferences:
    """The add-on's preferences; the add-on must be switched on."""
    own: LikenessPreferences = bpy.context.preferences.addons[ROOT_PACKAGE].preferences
    return own


def serve_arguments() -> list[str]:
    """Options of ``likeness serve`` that the artist chose."""
    return ["--cache-gb", f"{preferences().cache_cap_gb:g}"]


def remote_connection() -> Path | None:
    """The connection file of a backend on another machine; None when the backend is on this one."""
    chosen = preferences()
    if chosen.location == "LOCAL":
        return None
    return Path(bpy.path.abspath(chosen.connection_file))
