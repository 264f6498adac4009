"""A head with splats is posed by a slider, driven from a video and baked; Ctrl+Z takes each step back."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from scenario_head import RECONSTRUCT_S, RENDER_S, head_is_drawn, heads, install_backend, module, state
from scenario_install import EXTENSION, install_zip
from steps import Box, Session, Steps, Wait, perform, redraw
from window import box, centre, move, open_sidebar, press, press_button, region, view3d, write

INPUT = Path("/input")
AVATAR, VIDEO = "astronaut", "clip.mp4"
SAVED = Path("/tmp/driven.blend")
SOLVE_S, BAKE_S = 600, 600
PICTURE_S = 8.0  # EEVEE gathers a few samples, in software
SLIDER = "jawOpen"  # the first in the panel Expression
BAKED = (1, 3)  # frames
HEAD = (
    0.35,
    0.12,
    0.60,
    0.52,
)  # left, top, right, bottom over the viewport's sides: in the astronaut's photo
OPEN = 7  # frame of the clip's widest mouth


def part(role: str) -> Any:
    """The head's object of this role."""
    return module("scene.identity").first("objects", heads()[0], role)


def skin() -> Any:
    return module("heads").skin(heads()[0])


def splats() -> Any:
    return part("splats")


def weight() -> float:
    """What the slider's shape key is at."""
    return float(skin().data.shape_keys.key_blocks[SLIDER].value)


def is_keyed() -> bool:
    """Whether the skin's expressions have keyframes."""
    data = skin().data.shape_keys.animation_data
    return data is not None and data.action is not None


def are_splats_shown() -> bool:
    return bool(not splats().hide_viewport and skin().hide_viewport)


def baked() -> tuple[int, int] | None:
    """First and last frame of the decoded frames that the splats show."""
    found: tuple[int, int] | None = module("scene.splat_frames").frames_range(heads()[0])
    return found


def head_box(session: Session) -> Box:
    """Where the head is seen through its camera."""
    whole = box(session, region(view3d(session), "WINDOW"))
    width, height = whole.right - whole.left, whole.bottom - whole.top
    left, top, right, bottom = HEAD
    return Box(
        whole.left + round(left * width),
        whole.top + round(top * height),
        whole.left + round(right * width),
        whole.top + round(bottom * height),
    )


def import_head(session: Session) -> Steps:
    """The avatar folder into a saved, empty file."""
    session.begin("import the head")
    for name in ("Cube", "Light", "Camera"):
        if (old := bpy.data.objects.get(name)) is not None:
            bpy.data.objects.remove(old)
    bpy.ops.wm.save_as_mainfile(filepath=str(SAVED))
    bpy.ops.likeness.import_avatar("EXEC_DEFAULT", True, directory=str(INPUT / AVATAR))
    current = module("runtime").get()
    yield Wait("the head", lambda: bool(heads()) and not current.imports, RECONSTRUCT_S)
    yield Wait("its splats", lambda: splats() is not None, 60)
    bpy.context.scene.eevee.taa_samples = 4  # this renderer runs in software
    bpy.context.view_layer.objects.active = skin()
    yield 1


def look(session: Session, name: str, frame: int | None = None) -> Steps:
    """A screenshot of the head through its camera, rendered; afterwards the quick display again."""
    if frame is not None:
        bpy.context.scene.frame_set(frame)
    space = view3d(session).spaces.active
    space.overlay.show_overlays = space.show_gizmo = False
    space.shading.type, space.region_3d.view_perspective = "RENDERED", "CAMERA"
    redraw()
    yield Wait("EEVEE's picture of the head", lambda: head_is_drawn(head_box(session)), RENDER_S)
    yield PICTURE_S
    yield from session.shot(name, head_box(session))
    space.shading.type = "SOLID"  # software EEVEE leaves no time for the mouse
    yield 1


def show(session: Session, *, as_splats: bool) -> Steps:
    """Press Mesh or Splats."""
    yield from press_button(session, f"bpy.ops.likeness.show_splats(shown={as_splats})")
    yield Wait("the switch", lambda: are_splats_shown() == as_splats, 10)
    yield 0.5


def undo(session: Session) -> Steps:
    """Ctrl+Z over the viewport."""
    yield from move(session, centre(region(view3d(session), "WINDOW")))
    yield from press(session, "Z", ctrl=True)
    yield 1


def move_slider(session: Session) -> Steps:
    """A number typed into the slider of the jaw; splats and mesh follow, Ctrl+Z takes it back."""
    session.begin("move a slider")
    before = weight()
    yield from look(session, "mesh_as_photographed")
    yield from press_button(session, "value")  # of the panel Expression's first slider
    yield 0.3
    yield from write(session, "0.9")
    yield Wait("the slider", lambda: abs(weight() - 0.9) < 1e-3, 5)
    yield from look(session, "mesh_by_slider")
    session.expect_change("mesh_as_photographed", "mesh_by_slider", head_box(session))
    session.begin("press Splats")
    yield from show(session, as_splats=True)
    yield from look(session, "splats_by_slider")
    session.expect_change("mesh_by_slider", "splats_by_slider", head_box(session))
    session.begin("undo Splats and the slider")
    yield from undo(session)
    yield Wait("the mesh", lambda: not are_splats_shown(), 10)
    yield from undo(session)
    yield Wait("the slider's undo", lambda: abs(weight() - before) < 1e-3, 10)


def choose_file(session: Session, path: Path) -> Steps:
    """In the file browser that is open: this file."""

    def browsers() -> list[tuple[Any, Any]]:
        windows = bpy.context.window_manager.windows
        return [(w, area) for w in windows for area in w.screen.areas if area.type == "FILE_BROWSER"]

    yield Wait("the file browser", lambda: bool(browsers()), 10)
    yield Wait("its folder", lambda: browsers()[0][1].spaces.active.params is not None, 10)
    yield 1
    window, area = browsers()[0]
    chosen = area.spaces.active.params
    chosen.directory, chosen.filename = str(path.parent).encode(), path.name
    yield 1
    yield from session.shot("file_browser")
    with bpy.context.temp_override(window=window, area=area, region=region(area, "WINDOW")):
        bpy.ops.file.execute()
    yield Wait("the file browser's end", lambda: not browsers(), 10)


def drive(session: Session) -> Steps:
    """Press Drive from video; the keys land on mesh and splats."""
    session.begin("press Drive from video")
    assert not is_keyed()
    yield from look(session, "before_drive")
    yield from press_button(session, "likeness.drive_video")
    yield from choose_file(session, INPUT / VIDEO)
    session.begin("the video is solved")
    started = time.monotonic()
    yield 3
    yield from session.shot("solving", box(session, region(view3d(session), "UI")))
    current = module("runtime").get()

    def is_driven() -> bool:
        problems = [job.problem for job in current.view.jobs.values() if job.problem is not None]
        if problems:
            raise RuntimeError(f"the job failed: {problems[0].message}")
        return is_keyed()

    yield Wait("keyframes", is_driven, SOLVE_S)
    session.figures["drive_seconds"] = round(time.monotonic() - started, 1)
    yield from look(session, "mesh_driven", OPEN)
    session.expect_change("before_drive", "mesh_driven", head_box(session))
    assert weight() > 0.2, f"the clip's mouth is wide open, the jaw's key is {weight():.2f}"


def bake(session: Session) -> Steps:
    """Press Splats, then Bake splats, and confirm its dialog; a few frames are decoded and shown."""
    session.begin("press Splats on the driven head")
    yield from show(session, as_splats=True)
    yield from look(session, "splats_driven", OPEN)
    session.expect_change("mesh_driven", "splats_driven", head_box(session))
    yield from look(session, "splats_live", BAKED[1])
    session.expect_change("splats_driven", "splats_live", head_box(session))
    session.begin("press Bake splats")
    assert baked() is None
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = BAKED
    yield from press_button(session, "likeness.bake_splats")
    yield 0.5
    yield from session.shot("bake_dialog")
    yield from press(session, "RET")
    current = module("runtime").get()
    yield Wait("the bake's beginning", lambda: current.bake is not None, 10)
    yield 1
    yield from session.shot("baking", box(session, region(view3d(session), "UI")))
    started = time.monotonic()

    def is_baked() -> bool:
        if current.bake is None and current.view.notice is not None:
            raise RuntimeError(f"the bake failed: {current.view.notice}")
        return baked() == BAKED

    yield Wait("the bake", is_baked, BAKE_S)
    session.figures["bake_seconds"] = round(time.monotonic() - started, 1)
    yield from look(session, "splats_baked", BAKED[1])
    yield from session.shot("baked_panel", box(session, region(view3d(session), "UI")))


def take_back(session: Session) -> Steps:
    """Ctrl+Z: the bake, the switch, the keyframes; Ctrl+Shift+Z brings the keyframes back."""
    session.begin("undo the bake")
    yield from undo(session)
    yield Wait("the end of the baked frames", lambda: baked() is None, 10)
    assert are_splats_shown()
    assert is_keyed()
    session.begin("undo the switch")
    yield from undo(session)
    yield Wait("the mesh", lambda: not are_splats_shown(), 10)
    assert is_keyed()
    session.begin("undo the keyframes")
    yield from undo(session)
    yield Wait("the keyframes' end", lambda: not is_keyed(), 10)
    yield from look(session, "undone")
    session.expect_change("mesh_driven", "undone", head_box(session))
    yield from move(session, centre(region(view3d(session), "WINDOW")))
    yield from press(session, "Z", ctrl=True, shift=True)
    yield Wait("the keyframes", is_keyed, 10)


def scenario(session: Session) -> Steps:
    yield from install_zip(session)
    session.begin("open the sidebar")
    yield from open_sidebar(session, "Likeness")
    if state() == "absent":  # a kept scratch folder has it from an earlier run
        yield from install_backend(session)
    yield from import_head(session)
    yield from move_slider(session)
    yield from drive(session)
    yield from bake(session)
    yield from take_back(session)


if __name__ == "__main__":
    perform(scenario, EXTENSION)
