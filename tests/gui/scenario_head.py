"""From the zip to a relit head, with no backend in the beginning, as an artist goes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from scenario_install import EXTENSION, install_zip
from steps import Box, Session, Steps, Wait, perform, redraw, screen_pixels
from window import box, centre, move, open_sidebar, press, press_button, region, view3d

INSTALL_S = 1500
RECONSTRUCT_S = 900
RENDER_S = 300
SAMPLES_S = 12.0  # EEVEE gathers its samples, in software
PHOTO = Path("/input/astronaut.png")
SAVED = Path("/tmp/head.blend")


def module(name: str) -> ModuleType:
    """A module of the installed extension."""
    return sys.modules[f"{EXTENSION}.{name}"]


def state() -> str:
    """What the panels say of the backend."""
    return str(module("runtime").get().view.backend.state)


def jobs() -> list[object]:
    """The reconstructions that the panels know."""
    return list(module("runtime").get().view.jobs.values())


def heads() -> list[str]:
    """The heads in the open file."""
    return list(module("heads").uuids())


def backend_settled() -> bool:
    """Whether the installation has ended; a failure is raised with what the panel says."""
    backend = module("runtime").get().view.backend
    if backend.state in ("failed", "absent"):
        raise RuntimeError(f"the backend is {backend.state}: {backend.message}")
    return backend.state in ("stopped", "starting", "ready")


def job_settled() -> bool:
    """Whether the one job is done; its problem is raised with what the panel says."""
    (job,) = jobs()
    if job.problem is not None:
        raise RuntimeError(f"the job failed: {job.problem.message}")
    return job.state == "done" and not module("runtime").get().imports


def install_backend(session: Session) -> Steps:
    """Press Install backend and wait."""
    session.begin("press Install backend")
    assert state() == "absent", f"the backend is {state()} before it was installed"
    sidebar = box(session, region(view3d(session), "UI"))
    yield from session.shot("no_backend", sidebar)
    yield from press_button(session, "likeness.install_backend")
    yield Wait("the installation's beginning", lambda: state() != "absent", 10)
    yield 8
    yield from session.shot("installing", sidebar)
    session.expect_change("no_backend", "installing", sidebar)
    started = time.monotonic()
    yield Wait("the backend's installation", backend_settled, INSTALL_S)
    session.figures["install_seconds"] = round(time.monotonic() - started, 1)
    yield from session.shot("installed", sidebar)
    session.expect_change("installing", "installed", sidebar)


def drop_photo(session: Session) -> Steps:
    """Drop the photo into the viewport."""
    session.begin("drop the photo")
    area = view3d(session)
    settings = bpy.context.window_manager.likeness
    yield from move(session, centre(region(area, "WINDOW")))
    # What Blender calls when a file is dropped there; no mouse can drag one in from another program here.
    with bpy.context.temp_override(window=session.window, area=area, region=region(area, "WINDOW")):
        bpy.ops.wm.drop_import_file(
            "INVOKE_DEFAULT", directory=str(PHOTO.parent), files=[{"name": PHOTO.name}]
        )
    yield 0.5
    if not len(settings.photos):  # Blender asks who is to have it, where it has handlers of its own
        yield from session.shot("chooser")
        handler = next(cls for cls in bpy.types.FileHandler.__subclasses__() if "LIKENESS" in cls.__name__)
        _, name = handler.bl_import_operator.split(".")
        label = getattr(bpy.ops.likeness, name).get_rna_type().name
        yield from press(session, label[0].upper())  # the letter that the menu underlines
    yield Wait("the photo in the panel", lambda: len(settings.photos) == 1, 5)
    yield from session.shot("photo", box(session, region(area, "UI")))
    session.expect_change("installed", "photo", box(session, region(area, "UI")))


def reconstruct(session: Session) -> Steps:
    """Press Reconstruct; the coarse head comes first, then the maps."""
    session.begin("press Reconstruct")
    area = view3d(session)
    for name in ("Cube", "Light", "Camera"):  # the artist clears the default scene
        if (old := bpy.data.objects.get(name)) is not None:
            bpy.data.objects.remove(old)
    session.ticks.clear()
    yield from press_button(session, "likeness.reconstruct")
    started = time.monotonic()
    yield Wait("the job", lambda: len(jobs()) == 1, 30)
    yield 2
    yield from session.shot("working", box(session, region(area, "UI")))
    session.expect_change("photo", "working", box(session, region(area, "UI")))
    session.begin("the coarse head")
    yield Wait("the coarse head", lambda: bool(heads()), RECONSTRUCT_S)
    session.figures["coarse_head_seconds"] = round(time.monotonic() - started, 1)
    yield from move(session, centre(region(area, "WINDOW")))
    yield from press(session, "HOME")  # frame everything
    yield 1
    yield from session.shot("coarse", box(session, region(area, "WINDOW")))
    session.expect_change("working", "coarse", box(session, region(area, "WINDOW")))
    session.begin("the whole head")
    yield Wait("the finished head", job_settled, RECONSTRUCT_S)
    session.figures["head_seconds"] = round(time.monotonic() - started, 1)
    measured = module("runtime").get()
    for name in ("drain_seconds", "import_seconds"):
        values = sorted(getattr(measured, name))
        if values:
            session.figures[name.replace("_seconds", "_median_ms")] = round(
                1000 * values[len(values) // 2], 2
            )
            session.figures[name.replace("_seconds", "_worst_ms")] = round(1000 * values[-1], 2)
    session.figures["import_total_ms"] = round(1000 * sum(measured.import_seconds), 1)
    assert len(heads()) == 1
    yield from show(session, "head")
    session.expect_change("coarse", "head", box(session, region(area, "WINDOW")))


def head_is_drawn(viewport: Box) -> bool:
    """Whether something there has a hue, as skin has; the ground and the camera's frame are grey."""
    return float((np.ptp(screen_pixels(viewport).astype(int), axis=2) > 20).mean()) > 0.005


def show(session: Session, name: str) -> Steps:
    """Rendered, through the scene's camera, without overlays; a screenshot once the head is to be seen."""
    area = view3d(session)
    space = area.spaces.active
    space.overlay.show_overlays = space.show_gizmo = False
    space.shading.type = "RENDERED"
    space.region_3d.view_perspective = "CAMERA"
    redraw()
    viewport = box(session, region(area, "WINDOW"))
    # Blender compiles EEVEE's shaders in the background, here without a graphics card.
    yield Wait("EEVEE's picture of the head", lambda: head_is_drawn(viewport), RENDER_S)
    yield SAMPLES_S
    yield from session.shot(name, viewport)
    space.overlay.show_overlays = space.show_gizmo = True


def relight(session: Session) -> Steps:
    """Another light from the panel: Blender's own environment that it offers first."""
    session.begin("relight")
    area = view3d(session)
    area.spaces.active.shading.type = "SOLID"  # software EEVEE leaves no time for the mouse
    yield 1
    yield from press_button(session, "likeness.relight")
    yield from show(session, "relit")
    session.expect_change("head", "relit", box(session, region(area, "WINDOW")))


def save_and_reopen(session: Session) -> Steps:
    """The head survives a saved file, with the maps in it."""
    session.begin("save")
    wanted = heads()
    bpy.ops.wm.save_as_mainfile(filepath=str(SAVED))
    session.figures["saved_megabytes"] = round(SAVED.stat().st_size / 1e6, 1)
    bpy.ops.wm.read_homefile(use_factory_startup=False)
    yield 1
    assert not heads(), "a new file has no head"
    session.begin("reopen")
    bpy.ops.wm.open_mainfile(filepath=str(SAVED))
    yield 2
    assert heads() == wanted, f"the file had {wanted}, reopened it has {heads()}"
    missing = [image.name for image in bpy.data.images if image.source == "FILE" and not image.has_data]
    yield from show(session, "reopened")
    loaded = [image for image in bpy.data.images if image.packed_file is not None]
    assert loaded, f"no map is packed; without data: {missing}"


def scenario(session: Session) -> Steps:
    yield from install_zip(session)
    session.begin("open the sidebar")
    yield from open_sidebar(session, "Likeness")
    yield from install_backend(session)
    yield from drop_photo(session)
    yield from reconstruct(session)
    yield from relight(session)
    yield from save_and_reopen(session)


if __name__ == "__main__":
    perform(scenario, EXTENSION)
