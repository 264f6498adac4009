"""Real undo of what moves a head: keyframes, a video's, mesh and splats, baked frames; one step each."""

from __future__ import annotations

import pytest
from bound_splats import make_bound_avatar
from test_splat_bake import Control, DecodingClient, lit_with_splats, start, thing_of, turn_until
from test_takes import write_take

pytestmark = pytest.mark.blend


@pytest.fixture(scope="module")
def splat_avatar(tmp_path_factory):
    return lit_with_splats(make_bound_avatar(tmp_path_factory.mktemp("undo")))


@pytest.fixture
def head(bpy, addon, splat_avatar, monkeypatch):
    """A head with splats; the steps of the timer go into the history as they do where there is a window."""
    from blender_addon import heads, ticker

    bpy.ops.likeness.import_avatar(directory=str(splat_avatar))
    (uuid,) = heads.uuids()

    def push(message: str) -> None:
        bpy.ops.ed.undo_push(message=message)

    monkeypatch.setattr(ticker, "push_undo", push)
    monkeypatch.setattr(addon, "control", Control(DecodingClient()))
    addon.control.poll(addon.view)
    push("before")
    return uuid


def as_by_the_artist(operator, **options) -> None:
    """Run an operator with its undo step."""
    assert operator("EXEC_DEFAULT", True, **options) == {"FINISHED"}


def keyed(uuid: str) -> bool:
    from blender_addon import heads

    data = heads.skin(uuid).data.shape_keys.animation_data
    return data is not None and data.action is not None


def names_of(splat_avatar) -> tuple[str, ...]:
    from blender_addon.bundle import read_mesh

    return read_mesh(splat_avatar).expression_names


def shows_splats(uuid: str) -> bool:
    from blender_addon import heads

    thing = thing_of(uuid)
    assert thing.hide_viewport == thing.hide_render == (not heads.skin(uuid).hide_viewport)
    return not thing.hide_viewport


def test_imported_keyframes_are_one_step(bpy, head, splat_avatar, tmp_path) -> None:
    write_take(tmp_path / "take.json", names_of(splat_avatar))
    as_by_the_artist(bpy.ops.likeness.import_take, filepath=str(tmp_path / "take.json"))
    assert keyed(head)
    bpy.ops.ed.undo()
    assert not keyed(head)
    bpy.ops.ed.redo()
    assert keyed(head)
    as_by_the_artist(bpy.ops.likeness.clear_take)
    assert not keyed(head)
    bpy.ops.ed.undo()
    assert keyed(head)


def test_a_videos_keyframes_are_one_step(bpy, addon, head, splat_avatar, tmp_path) -> None:
    from blender_addon import ticker
    from blender_addon.runtime import Take

    write_take(tmp_path / "take.json", names_of(splat_avatar))
    end = bpy.context.scene.frame_end = 20
    bpy.ops.ed.undo_push(message="a short scene")
    addon.takes.append(Take(head, tmp_path / "take.json", "film"))
    ticker.turn(addon)
    assert keyed(head)
    assert bpy.context.scene.frame_end > end
    bpy.ops.ed.undo()
    assert not keyed(head)
    assert bpy.context.scene.frame_end == end
    ticker.turn(addon)  # nothing comes back by itself
    assert not keyed(head)


def test_mesh_and_splats_are_switched_in_one_step(bpy, head) -> None:
    assert not shows_splats(head)
    as_by_the_artist(bpy.ops.likeness.show_splats, shown=True)
    assert shows_splats(head)
    as_by_the_artist(bpy.ops.likeness.relight_splats, lit=True)
    assert thing_of(head)["likeness_relight"] == 1.0
    bpy.ops.ed.undo()
    assert thing_of(head)["likeness_relight"] == 0.0
    assert shows_splats(head)
    bpy.ops.ed.undo()
    assert not shows_splats(head)
    bpy.ops.ed.redo()
    assert shows_splats(head)


def test_a_bake_is_one_step_and_its_files_stay(bpy, addon, head, tmp_path) -> None:
    from blender_addon import ticker
    from blender_addon.scene.splat_frames import frames_range

    as_by_the_artist(bpy.ops.likeness.show_splats, shown=True)
    start(bpy, head, addon, tmp_path)
    turn_until(addon, lambda: addon.bake is None)
    assert addon.view.notice is None
    assert frames_range(head) == (1, 3)
    bpy.ops.ed.undo()
    assert frames_range(head) is None
    assert shows_splats(head)
    assert len(list(tmp_path.glob("frame_*.png"))) == 3
    bpy.ops.ed.redo()
    assert frames_range(head) == (1, 3)
    as_by_the_artist(bpy.ops.likeness.clear_splat_frames)
    bpy.ops.ed.undo()
    assert frames_range(head) == (1, 3)
    ticker.turn(addon)


def test_undo_while_baking_does_not_stop_it(bpy, addon, head, tmp_path) -> None:
    """The head is found by its mark each time; pointers of before the undo are dead."""
    from blender_addon.scene.splat_frames import frames_range

    as_by_the_artist(bpy.ops.likeness.show_splats, shown=True)
    as_by_the_artist(bpy.ops.likeness.relight_splats, lit=True)
    addon.client.wait = True
    start(bpy, head, addon, tmp_path)
    turn_until(addon, lambda: len(addon.client.asked) == 2)
    bpy.ops.ed.undo()
    addon.client.wait = False
    addon.client.answer(0)
    addon.client.answer(1)
    turn_until(addon, lambda: addon.bake is None)
    assert addon.view.notice is None
    assert frames_range(head) == (1, 3)
