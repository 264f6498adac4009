"""The head itself: expression, size of its maps."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import StringProperty

from .. import framing, heads, ticker
from ..scene import quality
from ..scene.head_mesh import CORRECTIVE_PREFIX, bone_key
from .base import LikenessOperator, Refusal


class LIKENESS_OT_reset_expression(LikenessOperator):
    """Put every expression to rest: the neutral face"""

    bl_idname = "likeness.reset_expression"
    bl_label = "Neutral Face"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        for key in expression_keys(heads.active(context) or ""):
            key.value = 0.0


class LIKENESS_OT_photo_expression(LikenessOperator):
    """Put back the expression of the photo"""

    bl_idname = "likeness.photo_expression"
    bl_label = "Photo's Expression"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is None and heads.folder_of(heads.active(context) or "") is None:
            reason = "The head's avatar folder is gone"
        return reason

    def run(self, context: Any) -> None:
        from ..bundle import read_manifest

        uuid = heads.active(context) or ""
        folder = heads.folder_of(uuid)
        if folder is None:
            raise Refusal("The head's avatar folder is gone")
        weights = read_manifest(folder).expression
        for key in expression_keys(uuid):
            key.value = weights.get(key.name, 0.0)


class LIKENESS_OT_frame_head(LikenessOperator):
    """Turn the viewports to the head"""

    bl_idname = "likeness.frame_head"
    bl_label = "Look at Head"
    bl_options = {"REGISTER"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        return heads.obstacle(context)

    def run(self, context: Any) -> None:
        framing.frame_head(context.window_manager, heads.active(context) or "")


class LIKENESS_OT_full_maps(LikenessOperator):
    """Show the skin with its full maps; they need more memory and take a moment to load"""

    bl_idname = "likeness.full_maps"
    bl_label = "Full Maps"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is None and not quality.has_full_maps(heads.active(context) or ""):
            reason = "The head shows its full maps already"
        return reason

    def run(self, context: Any) -> None:
        switch(quality.use_full_maps, context)


class LIKENESS_OT_small_maps(LikenessOperator):
    """Show the skin with maps of 1024 texels; renders still use the full ones"""

    bl_idname = "likeness.small_maps"
    bl_label = "Small Maps"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is None and quality.has_full_maps(heads.active(context) or ""):
            reason = "The head shows its small maps already"
        return reason

    def run(self, context: Any) -> None:
        if switch(quality.use_proxies, context) == 0:
            self.report({"INFO"}, "This head's maps are not larger than 1024 texels")


class LIKENESS_OT_select_head(LikenessOperator):
    """Select this head"""

    bl_idname = "likeness.select_head"
    bl_label = "Select Head"
    bl_options = {"REGISTER", "UNDO"}

    uuid: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def run(self, context: Any) -> None:
        skin = heads.skin(self.uuid)
        if skin is None or skin.name not in context.view_layer.objects:
            raise Refusal("This head is not in the scene any more")
        for obj in context.selected_objects:
            obj.select_set(False)
        skin.select_set(True)
        context.view_layer.objects.active = skin


CLASSES = (
    LIKENESS_OT_reset_expression,
    LIKENESS_OT_photo_expression,
    LIKENESS_OT_frame_head,
    LIKENESS_OT_full_maps,
    LIKENESS_OT_small_maps,
    LIKENESS_OT_select_head,
)


def expression_keys(uuid: str) -> list[Any]:
    """The skin's expression shape keys that the artist may set (bones drive others)."""
    skin = heads.skin(uuid)
    keys = skin.data.shape_keys if skin is not None else None
    if keys is None:
        return []
    names = {key.name for key in keys.key_blocks}
    driven = {bone_key(name) for name in names}
    return [
        key
        for key in keys.key_blocks
        if key != keys.reference_key and key.name not in driven and not key.name.startswith(CORRECTIVE_PREFIX)
    ]


def switch(change: Any, context: Any) -> int:
    """Change the maps of the active head; how many changed. Raises: Refusal, BundleError, OSError."""
    try:
        changed = int(change(heads.active(context) or ""))
    except quality.NoMaps as error:
        raise Refusal(str(error)) from error
    if not bpy.app.background:
        ticker.push_undo("Switch maps")
    return changed
