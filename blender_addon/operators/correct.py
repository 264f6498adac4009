"""Correct and re-solve: drag pins on the photo; paint over what is not skin."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import exclude_mask, heads, obstacles, pin_overlay, runtime, ticker
from ..bundle import read_manifest
from ..landmarks import read_landmarks
from ..pin_edit import PinEdit
from ..pins import HANDLES, PinBoard, to_px, to_view
from ..scene.identity import first, tag
from ..scene.photo import PHOTO_NAME
from ..scene.reshape import ShapeBefore, remember_shape, reshape, restore_shape, solve_weights
from .base import LikenessOperator, Refusal

GRAB_POINTS = 14.0  # how near to a handle the mouse must be
FACE_ROOM = 0.25  # around the face when it is brought into view, of its size
BRUSH_SHARE = 0.06  # size of the brush over what is shown
DRAWN_SECONDS = 0.25  # after which a new editor has been drawn
TIMER_SECONDS = 0.05
Part = tuple[NDArray[np.float64], NDArray[np.float64]]  # lower left, upper right; fractions, y up


def to_correct(context: Any) -> str | None:
    """Why the active head cannot be corrected."""
    reason = heads.obstacle(context) or obstacles.to_ask(runtime.get().view)
    if reason is not None:
        return reason
    uuid = heads.active(context)
    assert uuid is not None
    job = heads.job_of(uuid)
    if job is None or job not in runtime.get().view.jobs:
        return "This head was not made by the backend that is running"
    if heads.folder_of(uuid) is None:
        return "The head's avatar folder is gone; reconstruct the photo again"
    return None


class LIKENESS_OT_edit_pins(LikenessOperator):
    """Drag facial points to where they belong on the photo; the head follows"""

    bl_idname = "likeness.edit_pins"
    bl_label = "Adjust Points on the Photo"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if runtime.get().edit is not None:
            return "Points are being adjusted already: Enter keeps, Esc undoes"
        if bpy.app.background:
            return "Dragging needs a window"
        return to_correct(context)

    def execute(self, context: Any) -> set[str]:
        return self.invoke(context, None)

    def invoke(self, context: Any, _event: Any) -> set[str]:
        try:
            edit = begin_edit(context)
            self._before = remember_shape(edit.head, edit.photo.parent)
            name = heads.require(context).collection.name
            area = photo_area(context, photo_image(edit.head, name, edit.photo))
        except Exception as error:
            return self.fail(error)
        show_face(area, view_of_face(edit.photo.parent))
        runtime.get().edit = edit
        self._area_pointer = area.as_pointer()
        self._timer = context.window_manager.event_timer_add(TIMER_SECONDS, window=context.window)
        pin_overlay.show()
        context.window_manager.modal_handler_add(self)
        area.tag_redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        current = runtime.get()
        edit = current.edit
        area = self._area(context)
        if edit is None or area is None or heads.skin(edit.head) is None:  # file load, undo, editor closed
            return self._leave(context)
        try:
            return self._handle(context, event, edit, area)
        except Exception as error:
            self._leave(context)
            return self.fail(error)

    def _handle(self, context: Any, event: Any, edit: PinEdit, area: Any) -> set[str]:
        board, now = edit.board, time.monotonic()
        if event.type == "TIMER":
            if edit.solution is not None:
                apply_solution(edit, self._before)
                area.tag_redraw()
            return {"PASS_THROUGH"}
        if event.type in ("RET", "NUMPAD_ENTER") and event.value == "PRESS":
            runtime.get().corrected[edit.head] = board.pins()
            ticker.push_undo("Adjust facial points")
            return self._leave(context)
        if event.type == "ESC" and event.value == "PRESS":
            if board.held is not None:
                board.put_back(now)
            else:
                restore_shape(self._before)
                return self._leave(context, cancelled=True)
            area.tag_redraw()
            return {"RUNNING_MODAL"}
        region = window_region(area)
        x, y = event.mouse_x - region.x, event.mouse_y - region.y
        inside = 0 <= x < region.width and 0 <= y < region.height
        if board.held is None and (not inside or over_other_region(area, region, event)):
            return {"PASS_THROUGH"}
        mouse_x, mouse_y = to_px(np.array(region.view2d.region_to_view(x, y)), board.size_px).tolist()
        if event.type == "MOUSEMOVE":
            return self._moved(board, area, region, (mouse_x, mouse_y), now)
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            landmark = board.nearest(mouse_x, mouse_y, reach_px(region, board))
            if landmark is None:
                return {"PASS_THROUGH"}
            if event.alt:
                board.unpin(landmark, now)
            else:
                board.grab(landmark, mouse_x, mouse_y)
            area.tag_redraw()
            return {"RUNNING_MODAL"}
        if event.type == "LEFTMOUSE" and event.value == "RELEASE" and board.held is not None:
            board.release()
            area.tag_redraw()
            return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}

    def _moved(
        self, board: PinBoard, area: Any, region: Any, mouse: tuple[float, float], now: float
    ) -> set[str]:
        if board.held is not None:
            board.drag(mouse[0], mouse[1], now)
            area.tag_redraw()
            return {"RUNNING_MODAL"}
        hovered = board.nearest(mouse[0], mouse[1], reach_px(region, board))
        if hovered != board.hovered:
            board.hovered = hovered
            area.tag_redraw()
        return {"PASS_THROUGH"}

    def _area(self, context: Any) -> Any | None:
        for window in context.window_manager.windows:
            for area in window.screen.areas:
                if area.as_pointer() == self._area_pointer and area.type == "IMAGE_EDITOR":
                    return area
        return None

    def _leave(self, context: Any, *, cancelled: bool = False) -> set[str]:
        runtime.get().edit = None
        runtime.get().view.touch()
        pin_overlay.hide()
        context.window_manager.event_timer_remove(self._timer)
        area = self._area(context)
        if area is not None:
            area.tag_redraw()
        return {"CANCELLED"} if cancelled else {"FINISHED"}


class LIKENESS_OT_clear_pins(LikenessOperator):
    """Give every point of this head back to the solver"""

    bl_idname = "likeness.clear_pins"
    bl_label = "Clear Points"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is None and not runtime.get().corrected.get(heads.active(context) or ""):
            reason = "No point was placed by hand"
        return reason

    def run(self, context: Any) -> None:
        runtime.get().corrected.pop(heads.active(context) or "", None)
        runtime.get().view.touch()


class LIKENESS_OT_paint_mask(LikenessOperator):
    """Paint over what is not skin (hair, glasses, a microphone) on a copy of the photo"""

    bl_idname = "likeness.paint_mask"
    bl_label = "Paint Over What Is Not Skin"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        if bpy.app.background:
            return "Painting needs a window"
        return to_correct(context)

    def run(self, context: Any) -> None:
        uuid, photo = head_and_photo(context)
        name = heads.require(context).collection.name
        image = exclude_mask.find(uuid) or exclude_mask.create(uuid, name, photo)
        area = photo_area(context, image)
        part = view_of_face(photo.parent)
        show_face(area, part)
        space = area.spaces.active
        space.mode = "PAINT"
        space.show_region_tool_header = space.show_region_toolbar = True
        with context.temp_override(area=area, region=window_region(area)):
            bpy.ops.wm.tool_set_by_id(name="builtin.brush", space_type="IMAGE_EDITOR")
            exclude_mask.choose_brush(
                context, max(2, round(BRUSH_SHARE * (part[1] - part[0])[0] * image.size[0]))
            )
        area.tag_redraw()


class LIKENESS_OT_clear_mask(LikenessOperator):
    """Throw the painted mask away"""

    bl_idname = "likeness.clear_mask"
    bl_label = "Clear Mask"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = heads.obstacle(context)
        if reason is None and exclude_mask.find(heads.active(context) or "") is None:
            reason = "Nothing has been painted"
        return reason

    def run(self, context: Any) -> None:
        image = exclude_mask.find(heads.active(context) or "")
        if image is not None:
            bpy.data.images.remove(image)
        if not bpy.app.background:
            ticker.push_undo("Clear mask")


class LIKENESS_OT_rerun_corrected(LikenessOperator):
    """Reconstruct again with the points and the mask; the head in the scene is replaced"""

    bl_idname = "likeness.rerun_corrected"
    bl_label = "Re-run with Corrections"

    @classmethod
    def obstacle(cls, context: Any) -> str | None:
        reason = to_correct(context)
        if reason is not None:
            return reason
        uuid = heads.active(context) or ""
        if not runtime.get().corrected.get(uuid) and exclude_mask.find(uuid) is None:
            return "Adjust points or paint a mask first"
        return None

    def run(self, context: Any) -> None:
        uuid, photo = head_and_photo(context)
        job = heads.job_of(uuid)
        if job is None:
            raise Refusal("This head was not made by the backend that is running")
        image = exclude_mask.find(uuid)
        png = None
        if image is not None and context.window_manager.likeness.use_mask:
            png = exclude_mask.encode(image, photo)
        pins = runtime.get().corrected.get(uuid, ())
        if png is None and not pins:
            raise Refusal("Nothing is painted over in the mask yet, and no point was placed")
        runtime.get().correct(uuid, job, pins, png)


CLASSES = (
    LIKENESS_OT_edit_pins,
    LIKENESS_OT_clear_pins,
    LIKENESS_OT_paint_mask,
    LIKENESS_OT_clear_mask,
    LIKENESS_OT_rerun_corrected,
)


def head_and_photo(context: Any) -> tuple[str, Path]:
    """The active head's UUID and its photo's file. Raises: Refusal."""
    uuid = heads.active(context)
    folder = heads.folder_of(uuid) if uuid is not None else None
    if uuid is None or folder is None or not (folder / PHOTO_NAME).is_file():
        raise Refusal("The head's photo is gone; reconstruct the photo again")
    return uuid, folder / PHOTO_NAME


def begin_edit(context: Any) -> PinEdit:
    """The board of the active head with the pins placed before. Raises: Refusal, BundleError."""
    uuid, photo = head_and_photo(context)
    job = heads.job_of(uuid)
    if job is None:
        raise Refusal("This head was not made by the backend that is running")
    camera = read_manifest(photo.parent).camera
    landmarks = read_landmarks(photo.parent)
    board = PinBoard(landmarks.solved_px.copy(), (camera.width_px, camera.height_px))
    for pin in runtime.get().corrected.get(uuid, ()):
        board.pinned[pin.landmark] = (pin.x_px, pin.y_px)
    board.changed_s = time.monotonic()  # the first solve, of what is there, lets the backend read the head
    return PinEdit(uuid, job, board, photo)


def photo_image(uuid: str, name: str, photo: Path) -> Any:
    """The head's photo as an image of Blender."""
    image = first("images", uuid, "photo")
    if image is None:
        image = bpy.data.images.load(str(photo), check_existing=False)
        image.name = f"{name} photo"
        tag(image, uuid, "photo")
    return image


def photo_area(context: Any, image: Any) -> Any:
    """An image editor that shows ``image``: an open one, or half of the 3D viewport."""
    areas = [a for a in context.screen.areas if a.type == "IMAGE_EDITOR"]
    if areas:
        area = areas[0]
    else:
        known = {a.as_pointer() for a in context.screen.areas}
        with context.temp_override(area=context.area):
            bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
        area = next(a for a in context.screen.areas if a.as_pointer() not in known)
        area.type = "IMAGE_EDITOR"
    space = area.spaces.active
    space.mode = "VIEW"
    space.image = image
    with context.temp_override(area=area, region=window_region(area)):
        bpy.ops.image.view_all(fit_view=True)
    return area


def window_region(area: Any) -> Any:
    """The region of the area that shows its contents."""
    return next(region for region in area.regions if region.type == "WINDOW")


def view_of_face(folder: Path) -> Part:
    """Lower left and upper right of the face with some room, fractions of the picture, y up."""
    camera = read_manifest(folder).camera
    size = (camera.width_px, camera.height_px)
    face = to_view(read_landmarks(folder).solved_px[list(HANDLES)], size)
    low, high = face.min(axis=0), face.max(axis=0)
    room = FACE_ROOM * float((high - low).max())
    return low - room, high + room


def show_face(area: Any, part: Part) -> None:
    """Fill the image editor with a part of its picture, once it has been drawn in its new size."""
    pointer = area.as_pointer()

    def zoom() -> None:
        for window in bpy.context.window_manager.windows:
            for drawn in window.screen.areas:
                if drawn.as_pointer() == pointer and drawn.type == "IMAGE_EDITOR":
                    zoom_to(window, drawn, part)

    runtime.get().after(DRAWN_SECONDS, zoom)


def zoom_to(window: Any, area: Any, part: Part) -> None:
    """Fill the image editor with a part of its picture."""
    region = window_region(area)
    (left, bottom), (right, top) = (region.view2d.view_to_region(x, y, clip=False) for x, y in part)
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.image.view_zoom_border(xmin=left, xmax=right, ymin=bottom, ymax=top, wait_for_input=False)


def over_other_region(area: Any, window_region: Any, event: Any) -> bool:
    """Whether the mouse is over a header or side bar that overlaps the picture."""
    return any(
        region != window_region
        and region.x <= event.mouse_x < region.x + region.width
        and region.y <= event.mouse_y < region.y + region.height
        and region.width > 1
        and region.height > 1
        for region in area.regions
    )


def reach_px(region: Any, board: PinBoard) -> float:
    """The mouse's reach in pixels of the picture at the editor's zoom."""
    scale = float(bpy.context.preferences.system.ui_scale)
    left = float(region.view2d.region_to_view(0.0, 0.0)[0])
    right = float(region.view2d.region_to_view(GRAB_POINTS * scale, 0.0)[0])
    return (right - left) * board.size_px[0]


def apply_solution(edit: PinEdit, before: ShapeBefore) -> None:
    """Give the mesh the shape of the last re-solve."""
    solution, edit.solution = edit.solution, None
    if solution is not None:
        weights = solve_weights(before, solution.neutral, solution.photographed)
        reshape(before, solution.neutral, weights)
