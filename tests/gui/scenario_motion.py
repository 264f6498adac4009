"""A head with splats is moved by keyframes: mesh and splats by turns; the artist's Ctrl+Z takes each back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from scenario_head import RECONSTRUCT_S, SAMPLES_S, heads, module
from scenario_install import EXTENSION, install_zip
from steps import Session, Steps, Wait, perform, redraw
from window import box, centre, move, open_sidebar, press, press_button, region, view3d

AVATAR = Path("/input/astronaut")
TAKE = Path("/input/take.json")
CALM, MOVED = 1, 13  # frames of the take: neutral; jaw open, smile, head turned


def skin() -> Any:
    return module("heads").skin(heads()[0])


def splats() -> Any:
    return module("scene.identity").first("objects", heads()[0], "splats")


def is_keyed() -> bool:
    data = skin().data.shape_keys.animation_data
    return data is not None and data.action is not None


def import_head(session: Session) -> Steps:
    """The avatar folder, as Open avatar brings it."""
    session.begin("import the head")
    for name in ("Cube", "Light", "Camera"):
        if (old := bpy.data.objects.get(name)) is not None:
            bpy.data.objects.remove(old)
    bpy.ops.likeness.import_avatar("EXEC_DEFAULT", True, directory=str(AVATAR))
    current = module("runtime").get()
    yield Wait("the head", lambda: bool(heads()) and not current.imports, RECONSTRUCT_S)
    yield Wait("its splats", lambda: splats() is not None, 30)
    yield 1
    bpy.context.view_layer.objects.active = skin()


def look(session: Session, name: str) -> Steps:
    """The head through its camera, rendered, then the quick display again."""
    area = view3d(session)
    space = area.spaces.active
    space.overlay.show_overlays = space.show_gizmo = False
    space.shading.type, space.region_3d.view_perspective = "RENDERED", "CAMERA"
    redraw()
    yield SAMPLES_S
    yield from session.shot(name, box(session, region(area, "WINDOW")))
    space.shading.type = "SOLID"
    yield 1


def undo(session: Session) -> Steps:
    """Ctrl+Z over the viewport."""
    yield from move(session, centre(region(view3d(session), "WINDOW")))
    yield from press(session, "Z", ctrl=True)
    yield 1


def import_keyframes(session: Session) -> Steps:
    """Keyframes of `likeness drive`; the panel's button asks for the file, which no mouse can choose here."""
    session.begin("import keyframes")
    assert not is_keyed()
    area = view3d(session)
    with bpy.context.temp_override(window=session.window, area=area, region=region(area, "WINDOW")):
        bpy.ops.likeness.import_take("EXEC_DEFAULT", True, filepath=str(TAKE), centred=False)
    assert is_keyed()
    bpy.context.scene.frame_set(CALM)
    yield from look(session, "mesh_calm")
    bpy.context.scene.frame_set(MOVED)
    yield from look(session, "mesh_moved")
    viewport = box(session, region(area, "WINDOW"))
    session.expect_change("mesh_calm", "mesh_moved", viewport)


def switch_to_splats(session: Session) -> Steps:
    """Press Splats: the same rig moves them."""
    session.begin("press Splats")
    area = view3d(session)
    viewport = box(session, region(area, "WINDOW"))
    yield from press_button(session, "bpy.ops.likeness.show_splats(shown=True)")
    yield Wait("the splats", lambda: not splats().hide_viewport and skin().hide_viewport, 10)
    yield from session.shot("panel", box(session, region(area, "UI")))
    yield from look(session, "splats_moved")
    session.expect_change("mesh_moved", "splats_moved", viewport)
    bpy.context.scene.frame_set(CALM)
    yield from look(session, "splats_calm")
    session.expect_change("splats_moved", "splats_calm", viewport)


def take_back(session: Session) -> Steps:
    """Ctrl+Z once for the splats, once for the keyframes; Ctrl+Shift+Z brings the keyframes back."""
    session.begin("undo the switch")
    yield from undo(session)
    yield Wait("the mesh", lambda: splats().hide_viewport and not skin().hide_viewport, 10)
    assert is_keyed()
    session.begin("undo the keyframes")
    yield from undo(session)
    yield Wait("the keyframes' end", lambda: not is_keyed(), 10)
    yield from look(session, "undone")
    yield from move(session, centre(region(view3d(session), "WINDOW")))
    yield from press(session, "Z", ctrl=True, shift=True)
    yield Wait("the keyframes", is_keyed, 10)


def scenario(session: Session) -> Steps:
    yield from install_zip(session)
    session.begin("open the sidebar")
    yield from open_sidebar(session, "Likeness")
    yield from import_head(session)
    yield from import_keyframes(session)
    yield from switch_to_splats(session)
    yield from take_back(session)


if __name__ == "__main__":
    perform(scenario, EXTENSION)
