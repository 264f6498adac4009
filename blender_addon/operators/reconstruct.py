"""Photos in, heads out: choosing, submitting, cancelling, running again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    IntProperty,
    StringProperty,
)

from .. import obstacles, runtime, waiting
from ..pictures import PHOTO_SUFFIXES
from ..preferences import preferences
from ..protocol import Options
from ..settings import ENGINES, PRESET_ITEMS, photo_paths, set_photos
from ..view import PRESETS
from .base import LikenessOperator, Refusal

MAPS_OF_PRESET = {key: size for key, _, size in PRESETS}


class LIKENESS_OT_choose_photo(LikenessOperator):
    """Choose one or several photos of faces"""

    bl_idname = "likeness.choose_photo"
    bl_label = "Choose Photo"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in PHOTO_SUFFIXES), options={"HIDDEN"}
    )

    def invoke(self, context: Any, _event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        take_photos(self, context)


class LIKENESS_OT_drop_photo(LikenessOperator):
    """Take the dropped pictures into the Likeness panel"""

    bl_idname = "likeness.drop_photo"
    bl_label = "Head from Photo (Likeness)"  # what Blender's menu shows where several could take the file

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        take_photos(self, context)
        space = context.space_data
        if space is not None and space.type == "VIEW_3D":
            space.show_region_ui = True


class LIKENESS_OT_remove_photo(LikenessOperator):
    """Take this photo off the list; the file stays"""

    bl_idname = "likeness.remove_photo"
    bl_label = "Remove Photo"

    index: IntProperty(default=0, min=0, options={"SKIP_SAVE"})

    def run(self, context: Any) -> None:
        photos = context.window_manager.likeness.photos
        if self.index >= len(photos):
            raise Refusal("This photo is not on the list any more")
        photos.remove(self.index)


class LIKENESS_OT_reconstruct(LikenessOperator):
    """Make a head of each chosen photo. Without a window this waits until the head is in the scene"""

    bl_idname = "likeness.reconstruct"
    bl_label = "Reconstruct"

    filepath: StringProperty(name="Photo", subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    preset: EnumProperty(name="Quality", items=PRESET_ITEMS, default="STANDARD", options={"SKIP_SAVE"})
    maps: IntProperty(
        name="Map size",
        description="Side of the maps in texels (512, 1024, 2048 or 4096); 0 takes the quality's",
        default=0,
        min=0,
        max=4096,
        options={"SKIP_SAVE"},
    )
    engine: EnumProperty(name="Engine", items=ENGINES, default="auto", options={"SKIP_SAVE"})
    caption: StringProperty(
        name="Caption", description="MARCUS: the face in words; empty lets it look", options={"SKIP_SAVE"}
    )
    turbo: BoolProperty(name="Turbo", description="MARCUS: few steps", default=False, options={"SKIP_SAVE"})
    seed: IntProperty(name="Seed", default=0, min=0, options={"SKIP_SAVE"})
    splats: BoolProperty(
        name="Splats",
        description="Also make the head with its hair as Gaussian splats",
        default=False,
        options={"SKIP_SAVE"},
    )
    face: IntProperty(
        name="Face",
        description="Which face of the photo, 0 the largest; -1 takes that one",
        default=-1,
        min=-1,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if bpy.app.background:  # then run itself waits for the backend
            return None
        return obstacles.to_start_work(runtime.get().view, starts_on_demand=preferences().start_on_demand)

    def invoke(self, context: Any, _event: Any) -> set[str]:
        settings = context.window_manager.likeness
        self.preset, self.engine, self.seed = settings.preset, settings.engine, settings.seed
        self.splats = settings.splats
        if self.engine == "marcus":  # the others refuse what only it has
            self.caption, self.turbo = settings.caption, settings.turbo
        self.face = settings.face if settings.choose_face else -1
        return self.execute(context)

    def run(self, context: Any) -> None:
        photos = chosen_files(self) or photo_paths(context.window_manager.likeness)
        options = Options(
            engine=self.engine,
            maps=self.maps or MAPS_OF_PRESET[self.preset],
            seed=self.seed,
            face=None if self.face < 0 else self.face,
            splats=self.splats,
            caption=self.caption.strip() or None,
            turbo=self.turbo,
        )
        current = runtime.get()
        for photo in photos:
            if not photo.is_file():
                raise Refusal(f"'{photo}' is not there; choose another photo")
        if not photos:
            raise Refusal("Choose a photo first")
        if bpy.app.background:
            done = waiting.reconstruct(current, photos, options)
            self.report({"INFO"}, f"Imported {', '.join(job.name for job in done)}")
            return
        for photo in photos:
            current.submit_photo(photo, options)
        set_photos(context.window_manager.likeness, [])


class LIKENESS_OT_cancel(LikenessOperator):
    """Stop working on this photo"""

    bl_idname = "likeness.cancel"
    bl_label = "Cancel"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        runtime.get().cancel(self.job)


class LIKENESS_OT_rerun(LikenessOperator):
    """Run this photo again; stages that were finished are not repeated"""

    bl_idname = "likeness.rerun"
    bl_label = "Run Again"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        runtime.get().rerun(self.job)


class LIKENESS_OT_rerun_smaller(LikenessOperator):
    """Run this photo again with small maps, which need far less memory"""

    bl_idname = "likeness.rerun_smaller"
    bl_label = "Run Again as Preview"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return obstacles.to_ask(runtime.get().view)

    def run(self, context: Any) -> None:
        runtime.get().vary(self.job, maps=MAPS_OF_PRESET["PREVIEW"])


class LIKENESS_OT_dismiss(LikenessOperator):
    """Close this message"""

    bl_idname = "likeness.dismiss"
    bl_label = "Dismiss"

    job: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        runtime.get().dismiss(self.job or None)


class LIKENESS_FH_photo(bpy.types.FileHandler):
    """Photos dropped into the 3D viewport."""

    bl_idname = "LIKENESS_FH_photo"
    bl_label = "Reconstruct head (Likeness)"
    bl_import_operator = "likeness.drop_photo"
    bl_file_extensions = ";".join(PHOTO_SUFFIXES)

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (
    LIKENESS_OT_choose_photo,
    LIKENESS_OT_drop_photo,
    LIKENESS_OT_remove_photo,
    LIKENESS_OT_reconstruct,
    LIKENESS_OT_cancel,
    LIKENESS_OT_rerun,
    LIKENESS_OT_rerun_smaller,
    LIKENESS_OT_dismiss,
    LIKENESS_FH_photo,
)


def take_photos(operator: Any, context: Any) -> None:
    """Put the operator's files on the list. Raises: Refusal when there are none."""
    paths = chosen_files(operator)
    if not paths:
        raise Refusal("No photo was chosen")
    set_photos(context.window_manager.likeness, paths)
    runtime.get().dismiss()


def chosen_files(operator: Any) -> list[Path]:
    """The files of an operator with ``directory`` and ``files``, or its ``filepath`` alone."""
    if operator.directory and len(operator.files):
        return [Path(operator.directory) / element.name for element in operator.files if element.name]
    return [Path(bpy.path.abspath(operator.filepath))] if operator.filepath else []
