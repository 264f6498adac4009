"""Decoded frames of splats: bake them for a frame range, stop that, take them off again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import IntProperty, StringProperty

from .. import bakes, heads, obstacles, runtime
from ..bundle import read_manifest, read_mesh
from ..preferences import preferences
from ..scene import head_mesh, identity
from ..scene.splat_binding import ROLE
from ..scene.splat_frames import detach_frames
from ..splat_bake import SplatBake
from ..splat_binding import has_splats
from .base import LikenessOperator, Refusal
from .splats import NO_SPLATS

FOLDER = "likeness splat frames"


class LIKENESS_OT_bake_splats(LikenessOperator):
    """Let the backend decode the splats of every frame, shaded for each pose, and show these from now on"""

    bl_idname = "likeness.bake_splats"
    bl_label = "Bake Splats"

    first: IntProperty(name="First frame", default=1, min=0, options={"SKIP_SAVE"})
    last: IntProperty(name="Last frame", default=250, min=0, options={"SKIP_SAVE"})
    directory: StringProperty(
        name="Folder",
        description="For the frames; empty: beside the .blend, or in the avatar's folder while it is unsaved",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context) or _not_shown(heads.active(context) or "")
        if reason is None and runtime.get().bake is not None:
            reason = "Splats are being baked"
        if reason is not None or bpy.app.background:
            return reason
        return obstacles.to_start_work(runtime.get().view, starts_on_demand=preferences().start_on_demand)

    def invoke(self, context: Any, _event: Any) -> set[str]:
        """Ask for range and folder."""
        self.first, self.last = context.scene.frame_start, context.scene.frame_end
        return set(context.window_manager.invoke_props_dialog(self))

    def run(self, context: Any) -> None:
        if self.last < self.first:
            raise Refusal(f"Frames {self.first} to {self.last} are none; give a last frame after the first")
        uuid, current = heads.active(context) or "", runtime.get()
        folder = heads.folder_of(uuid)
        avatar = heads.avatar_of(uuid, same_machine=current.view.backend.same_machine)
        if folder is None or avatar is None or not has_splats(folder):
            raise Refusal(
                "The head's avatar folder is gone, or has no splats any more; import the head again"
            )
        manifest, mesh = read_manifest(folder), read_mesh(folder)
        if manifest.splats is None:
            raise Refusal(NO_SPLATS)
        current.view.notice = None
        current.bake = SplatBake(
            head=uuid,
            avatar=avatar,
            splats_sha256=manifest.splats.sha256,
            folder=self._folder(folder, manifest.photo.name),
            first=self.first,
            last=self.last,
            parts={name: head_mesh.part_faces(mesh, name).vertex for name in mesh.part_names},
            neutral=mesh.vertices_neutral_head,
            frame_before=context.scene.frame_current,
        )
        if current.view.backend.state != "ready":
            current.start_backend()
        current.view.touch()
        if bpy.app.background:
            bakes.wait_for_bake(current)

    def _folder(self, avatar: Path, name: str) -> Path:
        if self.directory:
            return Path(bpy.path.abspath(self.directory))
        if not bpy.data.filepath:
            return avatar / FOLDER
        blend = Path(bpy.data.filepath)
        return blend.parent / FOLDER / f"{blend.stem} {name}"


class LIKENESS_OT_cancel_bake(LikenessOperator):
    """Stop baking splats; frames that are done are kept, and baking again goes on from there"""

    bl_idname = "likeness.cancel_bake"
    bl_label = "Stop Baking"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return None if runtime.get().bake is not None else "No splats are being baked"

    def run(self, context: Any) -> None:
        bake = runtime.get().bake
        if bake is not None:
            bake.cancelled = True


class LIKENESS_OT_clear_splat_frames(LikenessOperator):
    """Show the splats as the mesh moves them again; the baked files stay where they are"""

    bl_idname = "likeness.clear_splat_frames"
    bl_label = "Clear Baked Splats"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        if not detach_frames(heads.active(context) or ""):
            raise Refusal("This head has no baked splats")


def _not_shown(uuid: str) -> str | None:
    thing = identity.first("objects", uuid, ROLE)
    if thing is None:
        return NO_SPLATS
    return None if thing.visible_get() else "Show the head as splats first"


CLASSES = (LIKENESS_OT_bake_splats, LIKENESS_OT_cancel_bake, LIKENESS_OT_clear_splat_frames)
