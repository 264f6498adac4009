"""Light: the photo's, an environment's, a studio's; what is seen and what completed."""

from __future__ import annotations

from typing import Any

import bpy

from .. import heads
from ..operators.light import to_match
from ..scene.confidence import is_shown
from .photo import LikenessPanel
from .widgets import draw_button, draw_reason


class LIKENESS_PT_light(LikenessPanel, bpy.types.Panel):
    """Light of the scene."""

    bl_idname = "LIKENESS_PT_light"
    bl_label = "Light"
    bl_order = 40

    def draw(self, context: Any) -> None:
        layout = self.layout
        light = context.scene.likeness_light
        no_head = heads.obstacle(context)
        reason = to_match(context)
        column = layout.column(align=True)
        draw_button(column, "likeness.match_photo", reason, text="Match photo", icon="CAMERA_DATA")
        draw_button(
            column, "likeness.difference_view", reason, text="Difference to photo", icon="IMAGE_ALPHA"
        )
        draw_reason(layout, context, reason)

        layout.separator()
        layout.label(text="Environment")
        column = layout.column(align=True)
        column.template_icon_view(light, "hdri", show_labels=True, scale=4.0, scale_popup=4.0)
        column.prop(light, "hdri", text="")
        column = layout.column(align=True)
        column.prop(light, "rotation")
        column.prop(light, "strength")
        layout.prop(light, "background")
        layout.operator("likeness.relight", text="Relight", icon="WORLD")

        layout.separator()
        layout.label(text="Studio")
        row = layout.row(align=True)
        row.prop(light, "studio", text="")
        draw_button(
            row, "likeness.light_preset", no_head, text="Set up", icon="LIGHT_AREA"
        ).preset = light.studio

        layout.separator()
        shown = no_head is None and is_shown(heads.active(context) or "")
        row = layout.row()
        row.enabled = no_head is None
        row.operator(
            "likeness.confidence",
            text="Hide confidence" if shown else "Show confidence",
            icon="HIDE_OFF" if shown else "HIDE_ON",
            depress=shown,
        )
        if reason != no_head:
            draw_reason(layout, context, no_head)


CLASSES = (LIKENESS_PT_light,)
