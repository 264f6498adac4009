"""Drive a head from a video, or by keyframes that lie in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import heads, obstacles, runtime, takes
from ..drive_file import DriveFileError, read_drive
from ..preferences import preferences
from ..scene.drive import Placing, apply_take, clear_take
from .base import LikenessOperator, Refusal

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")


class LIKENESS_OT_drive_video(LikenessOperator):
    """Let the face in a video or a webcam's recording drive this head: expression, gaze and its turns"""

    bl_idname = "likeness.drive_video"
    bl_label = "Drive from Video"

    filepath: StringProperty(name="Video", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(
        default=";".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES), options={"HIDDEN"}
    )
    face: IntProperty(
        name="Face",
        description="Which of several people, 0 the largest; -1 where the video shows one",
        default=-1,
        min=-1,
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is not None or bpy.app.background:
            return reason
        return obstacles.to_start_work(runtime.get().view, starts_on_demand=preferences().start_on_demand)

    def invoke(self, context: Any, _event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        video = Path(bpy.path.abspath(self.filepath))
        if not video.is_file():
            raise Refusal(f"'{video}' is not there; choose a video")
        uuid = heads.active(context) or ""
        avatar = heads.avatar_of(uuid, same_machine=runtime.get().view.backend.same_machine)
        if avatar is None:
            raise Refusal("The head's avatar folder is gone; import the head again")
        current = runtime.get()
        current.drive_video(uuid, avatar, video, None if self.face < 0 else self.face)
        if bpy.app.background:
            takes.wait_for_take(current)


class LIKENESS_OT_import_take(LikenessOperator, ImportHelper):
    """Put keyframes of `likeness drive`, or a face capture's CSV, on this head"""

    bl_idname = "likeness.import_take"
    bl_label = "Import Keyframes"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json;*.csv", options={"HIDDEN"})
    start_frame: IntProperty(name="First frame", default=1)
    match_rate: BoolProperty(
        name="Keep the speed",
        description="Times count, at the scene's frame rate; otherwise every keyframe is one frame",
        default=True,
    )
    head_turns: BoolProperty(name="Turn the head", description="Also key the neck and the head", default=True)
    centred: BoolProperty(
        name="Centre the head",
        description="The take's usual pose looks straight ahead; otherwise as the camera saw it",
        default=True,
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        path = Path(bpy.path.abspath(self.filepath))
        placing = Placing(self.start_frame, self.match_rate, self.centred, self.head_turns)
        try:
            take = read_drive(path)
        except DriveFileError as error:
            raise Refusal(str(error)) from error
        placed = apply_take(heads.active(context) or "", take, placing, context.scene)
        if not placed.expressions:
            raise Refusal(f"'{path.name}' moves nothing that this head has")
        takes.fit_timeline(context.scene, placed)
        if placed.ignored:
            self.report({"WARNING"}, f"This head has no {', '.join(placed.ignored[:5])}")
        self.report({"INFO"}, f"Frames {placed.first_frame} to {placed.last_frame}")


class LIKENESS_OT_clear_take(LikenessOperator):
    """Take the keyframes off this head; its pose stays as it is now"""

    bl_idname = "likeness.clear_take"
    bl_label = "Clear Keyframes"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        if not clear_take(heads.active(context) or ""):
            raise Refusal("This head has no keyframes")


CLASSES = (LIKENESS_OT_drive_video, LIKENESS_OT_import_take, LIKENESS_OT_clear_take)
