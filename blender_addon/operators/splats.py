"""Gaussian splats: import from PLY, export to PLY."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper
from mathutils import Matrix

from .. import heads
from ..scene import identity
from ..scene.splat_binding import ROLE, set_relightable, show_splats
from ..scene.splats import AXES_TURN, add_splats, extract_splats, is_splats, prepare_cycles
from ..scene.splats_native import add_native_splats
from ..splats import SplatsError, read_ply, write_ply
from .base import LikenessOperator, Refusal

NO_SPLATS = "This head has no splats; reconstruct it with --splats"
AXES = (
    ("HEAD", "+Y up, front to +Z", "Likeness heads and glTF"),
    ("COLMAP", "−Y up, view to +Z", "Captures trained on COLMAP cameras, where Y points down"),
    ("BLENDER", "+Z up", "As Blender; nothing is turned"),
)


class LIKENESS_OT_import_splats(LikenessOperator, ImportHelper):
    """Import Gaussian splats from a PLY file and draw them in Cycles and EEVEE"""

    bl_idname = "likeness.import_splats"
    bl_label = "Import Gaussian Splats"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})
    axes: EnumProperty(name="Axes of the file", items=AXES, default="HEAD")
    native: BoolProperty(
        name="Blender's own splats",
        description="Use the point clouds that newer Blenders draw as splats; export is not possible then",
        default=False,
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return None if context.mode == "OBJECT" else "Leave edit mode first"

    def run(self, context: Any) -> None:
        path = Path(bpy.path.abspath(self.filepath))
        add = add_native_splats if self.native else add_splats
        try:
            thing = add(read_ply(path), context.collection, path.stem, self.axes)
        except SplatsError as error:
            raise Refusal(str(error)) from error
        prepare_cycles(context.scene)
        for other in context.selected_objects:
            other.select_set(False)
        thing.select_set(True)
        context.view_layer.objects.active = thing

    def invoke(self, context: Any, _event: Any) -> set[str]:
        """The file dialogue; a dropped file asks for its axes alone."""
        window: Any = context.window_manager
        if self.properties.is_property_set("filepath"):
            return set(window.invoke_props_dialog(self))
        window.fileselect_add(self)
        return {"RUNNING_MODAL"}


class LIKENESS_OT_export_splats(LikenessOperator, ExportHelper):
    """Write the active splats to a PLY file with the fields of 3D Gaussian splatting"""

    bl_idname = "likeness.export_splats"
    bl_label = "Export Gaussian Splats"

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply", options={"HIDDEN"})
    apply_transform: BoolProperty(
        name="Apply transform",
        description="Write the splats where the object stands, their colours turned along; "
        "otherwise as they were imported",
        default=False,
    )
    axes: EnumProperty(
        name="Axes of the file", description="With Apply transform only", items=AXES, default="HEAD"
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if not is_splats(context.active_object):
            return "Select an object with imported Gaussian splats"
        return None if context.mode == "OBJECT" else "Leave edit mode first"

    def run(self, context: Any) -> None:
        thing = context.active_object
        try:
            splats = extract_splats(thing)
            if self.apply_transform:
                to_file = Matrix.Rotation(-AXES_TURN[self.axes], 4, "X")
                splats = splats.transformed(np.array(to_file @ thing.matrix_world))
            write_ply(Path(bpy.path.abspath(self.filepath)), splats)
        except SplatsError as error:
            raise Refusal(str(error)) from error


class LIKENESS_OT_show_splats(LikenessOperator):
    """Show the head as Gaussian splats with its hair, or as its mesh: the same rig moves both"""

    bl_idname = "likeness.show_splats"
    bl_label = "Splats or Mesh"
    bl_options = {"REGISTER", "UNDO"}

    shown: BoolProperty(name="Splats", default=True)

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context) or _no_splats(heads.active(context) or "")

    def run(self, context: Any) -> None:
        uuid = heads.active(context) or ""
        objects = identity.find(uuid)
        if objects is None or not show_splats(objects, uuid, self.shown):
            raise Refusal(NO_SPLATS)
        prepare_cycles(context.scene)


class LIKENESS_OT_relight_splats(LikenessOperator):
    """Light the head's splats by the scene's lights, or show them in the light of the photo"""

    bl_idname = "likeness.relight_splats"
    bl_label = "Relight Splats"
    bl_options = {"REGISTER", "UNDO"}

    lit: BoolProperty(name="Lit by the scene", default=True)

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context) or _no_splats(heads.active(context) or "")

    def run(self, context: Any) -> None:
        if not set_relightable(heads.active(context) or "", self.lit):
            raise Refusal(NO_SPLATS)


def _no_splats(uuid: str) -> str | None:
    return None if identity.first("objects", uuid, ROLE) is not None else NO_SPLATS


class LIKENESS_FH_splats(bpy.types.FileHandler):
    """Drop a PLY file into the 3D view; Blender's own importer is offered beside it"""

    bl_idname = "LIKENESS_FH_splats"
    bl_label = "Gaussian Splats (Likeness)"
    bl_import_operator = "likeness.import_splats"
    bl_export_operator = "likeness.export_splats"
    bl_file_extensions = ".ply"

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (
    LIKENESS_OT_import_splats,
    LIKENESS_OT_export_splats,
    LIKENESS_OT_show_splats,
    LIKENESS_OT_relight_splats,
    LIKENESS_FH_splats,
)
