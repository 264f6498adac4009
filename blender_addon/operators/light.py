"""Light: as in the photo, environments, studio; where the skin was seen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from .. import heads, ticker
from ..paths import session_folder
from ..scene.confidence import NoConfidence, is_shown, show_confidence
from ..scene.photo import (
    Difference,
    difference_of,
    difference_scene,
    difference_view,
    drop_difference_scene,
    match_photo,
)
from ..scene.relight import relight_hdri, relight_preset
from ..settings import LIGHT_PRESETS
from .base import LikenessOperator, Refusal
from .correct import photo_area, show_face, view_of_face


def to_match(context: Any) -> str | None:
    """Why the photo cannot be matched."""
    reason = heads.obstacle(context)
    if reason is None and heads.folder_of(heads.active(context) or "") is None:
        reason = "The head's avatar folder, which has the photo, is gone"
    return reason


class LIKENESS_OT_match_photo(LikenessOperator):
    """Show the head as the photo does: its camera, its estimated light, the photo behind"""

    bl_idname = "likeness.match_photo"
    bl_label = "Match Photo"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return to_match(context)

    def run(self, context: Any) -> None:
        uuid, folder = head_and_folder(context)
        if not match_photo(context.scene, uuid, folder):
            self.report({"WARNING"}, "The avatar folder holds no photo; only camera and light were set")
        look_through_camera(context)


class LIKENESS_OT_difference_view(LikenessOperator):
    """Render from the photo's camera and show how far it is from the photo"""

    bl_idname = "likeness.difference_view"
    bl_label = "Difference to Photo"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return to_match(context)

    def run(self, context: Any) -> None:
        uuid, folder = head_and_folder(context)
        told(self, difference_view(uuid, folder))

    def invoke(self, context: Any, _event: Any) -> set[str]:
        """Render in the background and show the picture when it is there."""
        try:
            self._uuid, self._folder = head_and_folder(context)
            self._target = session_folder("difference") / "render.png"
            self._target.unlink(missing_ok=True)
            self._scene = difference_scene(self._uuid, self._folder).name
        except Exception as error:
            return self.fail(error)
        scene = bpy.data.scenes[self._scene]
        scene.render.film_transparent = True
        scene.render.filepath = str(self._target)
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGBA"
        view = context.preferences.view
        display, view.render_display_type = view.render_display_type, "NONE"
        bpy.ops.render.render("INVOKE_DEFAULT", write_still=True, scene=self._scene)
        view.render_display_type = display
        self._timer = context.window_manager.event_timer_add(0.2, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        if event.type != "TIMER" or bpy.app.is_job_running("RENDER"):
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        scene = bpy.data.scenes.get(self._scene)
        if scene is not None:
            drop_difference_scene(scene)
        try:
            if not self._target.is_file():
                raise Refusal("The render was cancelled; there is no difference to show")
            difference = difference_of(self._uuid, self._folder, self._target)
            area = photo_area(context, difference.image)
            show_face(area, view_of_face(self._folder))
        except Exception as error:
            return self.fail(error)
        finally:
            self._target.unlink(missing_ok=True)
        told(self, difference)
        ticker.push_undo("Difference to photo")
        return {"FINISHED"}


class LIKENESS_OT_relight(LikenessOperator):
    """Light the scene with an environment"""

    bl_idname = "likeness.relight"
    bl_label = "Relight"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="Environment", subtype="FILE_PATH", options={"SKIP_SAVE"})
    rotation_degrees: FloatProperty(name="Rotation", default=0.0, options={"SKIP_SAVE"})
    strength: FloatProperty(name="Strength", default=1.0, min=0.0, options={"SKIP_SAVE"})
    background: BoolProperty(name="Show behind the head", default=False, options={"SKIP_SAVE"})

    def invoke(self, context: Any, _event: Any) -> set[str]:
        light = context.scene.likeness_light
        self.background = light.background
        self.filepath, self.strength = light.hdri, light.strength
        self.rotation_degrees = math.degrees(light.rotation)
        return self.execute(context)

    def run(self, context: Any) -> None:
        chosen = self.filepath or context.scene.likeness_light.hdri  # a script need not name one
        path = Path(bpy.path.abspath(chosen))
        if not chosen or not path.is_file():
            raise Refusal(f"The environment '{chosen}' is not there; choose another one")
        try:
            relight_hdri(
                context.scene, path, self.rotation_degrees, self.strength, background=self.background
            )
        except RuntimeError as error:
            raise Refusal(str(error)) from error


class LIKENESS_OT_light_preset(LikenessOperator):
    """Light the head with three area lights"""

    bl_idname = "likeness.light_preset"
    bl_label = "Set Up Studio"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(name="Preset", items=LIGHT_PRESETS, default=LIGHT_PRESETS[0][0])

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        relight_preset(context.scene, heads.active(context) or "", self.preset)


class LIKENESS_OT_confidence(LikenessOperator):
    """Colour the skin by where the photo saw it and where it was completed"""

    bl_idname = "likeness.confidence"
    bl_label = "Confidence Overlay"
    bl_options = {"REGISTER", "UNDO"}

    show: BoolProperty(name="Show", default=True, options={"SKIP_SAVE"})

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def invoke(self, context: Any, _event: Any) -> set[str]:
        self.show = not is_shown(heads.active(context) or "")
        return self.execute(context)

    def run(self, context: Any) -> None:
        try:
            show_confidence(heads.active(context) or "", self.show)
        except NoConfidence as error:
            raise Refusal(str(error)) from error


CLASSES = (
    LIKENESS_OT_match_photo,
    LIKENESS_OT_difference_view,
    LIKENESS_OT_relight,
    LIKENESS_OT_light_preset,
    LIKENESS_OT_confidence,
)


def head_and_folder(context: Any) -> tuple[str, Path]:
    """The active head and its avatar folder. Raises: Refusal."""
    uuid = heads.active(context)
    folder = heads.folder_of(uuid) if uuid is not None else None
    if uuid is None or folder is None:
        raise Refusal("The head's avatar folder is gone; reconstruct the photo again")
    return uuid, folder


def told(operator: Any, difference: Difference) -> None:
    """Say how far the head is from the photo."""
    operator.report({"INFO"}, f"The head differs from the photo by {difference.mean_srgb:.1%} on average")


def relight(scene: Any) -> None:
    """Apply the scene's light settings; called while the artist drags a slider."""
    light = scene.likeness_light
    path = Path(light.hdri)
    if path.is_file():
        relight_hdri(scene, path, math.degrees(light.rotation), light.strength, background=light.background)


def look_through_camera(context: Any) -> None:
    """Turn the viewport to the camera, with materials and light shown."""
    space = getattr(context, "space_data", None)
    if space is None or space.type != "VIEW_3D":
        return
    space.region_3d.view_perspective = "CAMERA"
    if space.shading.type in ("WIREFRAME", "SOLID"):
        space.shading.type = "RENDERED"
