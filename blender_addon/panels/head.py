"""The head: expression, skin, maps."""

from __future__ import annotations

from typing import Any

import bpy

from .. import heads, runtime
from ..operators.drive import LIKENESS_OT_drive_video
from ..operators.head import LIKENESS_OT_full_maps, LIKENESS_OT_small_maps, expression_keys
from ..operators.splat_frames import LIKENESS_OT_bake_splats
from ..scene import identity
from ..scene.maps import skin_material
from ..scene.material import skin_node
from ..scene.skin_group import SLIDERS
from ..scene.splat_binding import ROLE as SPLATS_ROLE
from ..scene.splat_frames import frames_range
from ..scene.splat_material import RELIGHT_PROPERTY
from .photo import LikenessPanel
from .widgets import draw_button, draw_reason

# ARKit shapes that artists reach for first; (label, shapes shown on one line: subject's left and right).
COMMON: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Jaw open", ("jawOpen",)),
    ("Smile", ("mouthSmileLeft", "mouthSmileRight")),
    ("Frown", ("mouthFrownLeft", "mouthFrownRight")),
    ("Pucker", ("mouthPucker",)),
    ("Funnel", ("mouthFunnel",)),
    ("Lips shut", ("mouthClose",)),
    ("Blink", ("eyeBlinkLeft", "eyeBlinkRight")),
    ("Squint", ("eyeSquintLeft", "eyeSquintRight")),
    ("Eyes wide", ("eyeWideLeft", "eyeWideRight")),
    ("Brows up", ("browInnerUp",)),
    ("Brows down", ("browDownLeft", "browDownRight")),
    ("Sneer", ("noseSneerLeft", "noseSneerRight")),
    ("Cheek puff", ("cheekPuff",)),
)


class LIKENESS_PT_head(LikenessPanel, bpy.types.Panel):
    """The active head."""

    bl_idname = "LIKENESS_PT_head"
    bl_label = "Head"
    bl_order = 30

    def draw(self, context: Any) -> None:
        layout = self.layout
        uuid = heads.active(context)
        if uuid is None:
            draw_reason(layout, context, heads.obstacle(context))
            for other in heads.uuids():
                layout.operator("likeness.select_head", text=_name(other), icon="USER").uuid = other
            return
        layout.label(text=_name(uuid), icon="USER")
        row = layout.row(align=True)
        for operator, text in ((LIKENESS_OT_small_maps, "Small maps"), (LIKENESS_OT_full_maps, "Full maps")):
            reason = operator.obstacle(context)
            row.operator(operator.bl_idname, text=text, depress=reason is not None)
        row = layout.row(align=True)
        row.operator("likeness.frame_head", text="Look at it", icon="VIEWZOOM")
        rig = identity.first("objects", uuid, "rig")
        if rig is not None:
            row.prop(rig, "hide_viewport", text="Bones", icon="ARMATURE_DATA", invert_checkbox=True)
        splats = identity.first("objects", uuid, SPLATS_ROLE)
        if splats is not None:
            row = layout.row(align=True)
            are_shown = not splats.hide_viewport
            row.operator("likeness.show_splats", text="Mesh", depress=not are_shown).shown = False
            row.operator("likeness.show_splats", text="Splats", depress=are_shown).shown = True
            is_lit = bool(splats.get(RELIGHT_PROPERTY, 0.0))
            row.operator("likeness.relight_splats", text="Relight", depress=is_lit).lit = not is_lit
            _draw_frames(layout, context, uuid)


class LIKENESS_PT_expression(LikenessPanel, bpy.types.Panel):
    """Shape keys that are used most."""

    bl_idname = "LIKENESS_PT_expression"
    bl_parent_id = "LIKENESS_PT_head"
    bl_label = "Expression"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return heads.active(context) is not None

    def draw(self, context: Any) -> None:
        layout = self.layout
        keys = {key.name: key for key in expression_keys(heads.active(context) or "")}
        if not keys:
            draw_reason(layout, context, "This head has no expressions")
            return
        column = layout.column(align=True)
        for label, names in COMMON:
            known = [keys[name] for name in names if name in keys]
            if not known:
                continue
            line = column.split(factor=0.34, align=True)
            line.label(text=label)
            row = line.row(align=True)
            for key in known:
                side = "L" if key.name.endswith("Left") else "R" if key.name.endswith("Right") else ""
                row.prop(key, "value", text=side, slider=True)
        row = layout.row(align=True)
        row.operator("likeness.reset_expression", text="Neutral", icon="LOOP_BACK")
        draw_button(row, "likeness.photo_expression", None, text="As in photo", icon="IMAGE_DATA")


class LIKENESS_PT_motion(LikenessPanel, bpy.types.Panel):
    """Keyframes from a video or a face capture."""

    bl_idname = "LIKENESS_PT_motion"
    bl_parent_id = "LIKENESS_PT_head"
    bl_label = "Motion"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return heads.active(context) is not None

    def draw(self, context: Any) -> None:
        layout = self.layout
        reason = LIKENESS_OT_drive_video.obstacle(context)
        draw_button(layout, "likeness.drive_video", reason, text="Drive from video…", icon="FILE_MOVIE")
        row = layout.row(align=True)
        row.operator("likeness.import_take", text="Import keyframes…", icon="IMPORT")
        row.operator("likeness.clear_take", text="", icon="X")


class LIKENESS_PT_skin(LikenessPanel, bpy.types.Panel):
    """Inputs of the skin's node group."""

    bl_idname = "LIKENESS_PT_skin"
    bl_parent_id = "LIKENESS_PT_head"
    bl_label = "Skin"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return heads.active(context) is not None

    def draw(self, context: Any) -> None:
        layout = self.layout
        material = skin_material(heads.active(context) or "")
        node = skin_node(material) if material is not None else None
        if node is None:
            draw_reason(layout, context, "This head's skin has another material now")
            return
        group = ""
        column = layout.column(align=True)
        for slider in SLIDERS:
            if slider.panel != group:
                group = slider.panel
                layout.label(text=group)
                column = layout.column(align=True)
            socket = node.inputs.get(slider.name)
            if socket is not None:
                line = column.split(factor=0.5, align=True)
                line.label(text=slider.name)
                is_number = not isinstance(slider.default, tuple)
                line.prop(socket, "default_value", text="", slider=is_number)


CLASSES = (LIKENESS_PT_head, LIKENESS_PT_expression, LIKENESS_PT_motion, LIKENESS_PT_skin)


def _draw_frames(layout: Any, context: Any, uuid: str) -> None:
    """Decoded frames of the splats: baking them, how far that is, which there are."""
    bake = runtime.get().bake
    row = layout.row(align=True)
    if bake is not None:
        row.progress(factor=bake.done / bake.total, text=f"Splats: frame {bake.done} of {bake.total}")
        row.operator("likeness.cancel_bake", text="", icon="X")
        return
    baked = frames_range(uuid)
    reason = LIKENESS_OT_bake_splats.obstacle(context)
    text = "Bake splats…" if baked is None else f"Baked: {baked[0]} to {baked[1]}"
    draw_button(row, "likeness.bake_splats", reason, text=text, icon="RENDER_ANIMATION")
    if baked is not None:
        row.operator("likeness.clear_splat_frames", text="", icon="X")


def _name(uuid: str) -> str:
    head = identity.find(uuid)
    return str(head.collection.name) if head is not None else "Head"
