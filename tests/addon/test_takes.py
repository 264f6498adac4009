"""Keyframes in the add-on: imported by hand, brought by a job, refused in one line."""

from __future__ import annotations

import pytest

from blender_addon import protocol
from blender_addon.drive_file import DriveFile, Frame, VideoRecord, write_drive
from blender_addon.view import JobView

pytestmark = pytest.mark.blend


def write_take(path, names: tuple[str, ...], count: int = 4) -> None:
    frames = tuple(
        Frame(
            time_s=0.5 * k,
            weights=tuple(0.1 * (k + 1) for _ in names),
            rotation=(1.0, 0.0, 0.0, 0.0),
            translation_m=(0.0, 0.0, -0.8),
            gaze_deg=((0.0, 0.0), (0.0, 0.0)),
        )
        for k in range(count)
    )
    video = VideoRecord(name="film.mp4")
    made = DriveFile(
        created_by="test", video=video, frames_per_second=2.0, expression_names=names, frames=frames
    )
    write_drive(path, made)


@pytest.fixture
def head(bpy, addon, avatar_folder):
    """An imported head: its UUID, the skin's keys, the names of its expressions."""
    from blender_addon import heads
    from blender_addon.bundle import read_mesh

    bpy.ops.likeness.import_avatar(directory=str(avatar_folder))
    (uuid,) = heads.uuids()
    names = read_mesh(avatar_folder).expression_names
    return uuid, heads.skin(uuid).data.shape_keys.key_blocks, names


def test_a_file_is_imported_and_cleared(bpy, head, tmp_path) -> None:
    _, keys, names = head
    write_take(tmp_path / "take.json", names)
    bpy.context.scene.render.fps, bpy.context.scene.frame_end = 24, 20
    assert bpy.ops.likeness.import_take(filepath=str(tmp_path / "take.json"), start_frame=3) == {"FINISHED"}
    assert bpy.context.scene.frame_end == 39  # 1.5 s later
    bpy.context.scene.frame_set(27)
    assert keys[names[0]].value == pytest.approx(0.3, abs=1e-5)
    assert bpy.ops.likeness.clear_take() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="has no keyframes"):
        bpy.ops.likeness.clear_take()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{}", "holds no keyframes"),
        ("a.csv", "Timecode,EyeBlinkLeft\n00:00:00:01,x\n", "line 2 is damaged"),
        ("a.csv", "Timecode,tongueTwist\n00:00:00:01,0.5\n", "moves nothing that this head has"),
    ],
)
def test_bad_files_are_refused_in_one_line(bpy, head, tmp_path, name, text, said) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RuntimeError, match=said) as told:
        bpy.ops.likeness.import_take(filepath=str(tmp_path / name))
    assert "Traceback" not in str(told.value)


def test_a_finished_video_is_put_on_its_head(bpy, addon, head, tmp_path) -> None:
    """The server's last event, the ticker's turn, and the keys are there; the head is not built anew."""
    from blender_addon import heads, ticker

    uuid, keys, names = head
    write_take(tmp_path / "take.json", names)
    info = protocol.JobInfo(
        job="j",
        state="done",
        photo_name="film",
        photo_sha256="0" * 64,
        options=protocol.Options(),
        submitted_s=0.0,
        avatar="somewhere",
        directory=str(tmp_path),
    )
    addon.heads["j"] = uuid
    addon.view.jobs["j"] = JobView("j", "film", "running", info=info)
    from blender_addon.view import apply_event

    arrived = apply_event(addon.view, protocol.Done(job="j", number=1, info=info), ())
    addon._arrived(arrived)
    assert len(addon.takes) == 1
    assert not addon.imports
    ticker.turn(addon)
    assert addon.takes == []
    assert addon.view.notice is None
    bpy.context.scene.frame_set(bpy.context.scene.frame_start)
    assert keys[names[0]].value == pytest.approx(0.1, abs=1e-5)
    assert heads.uuids() == [uuid]


def test_a_video_for_a_head_that_is_gone_is_told(bpy, addon, tmp_path) -> None:
    from blender_addon import ticker
    from blender_addon.runtime import Take

    write_take(tmp_path / "take.json", ("jawOpen",))
    addon.takes.append(Take("nobody", tmp_path / "take.json", "film"))
    ticker.turn(addon)
    assert addon.takes == []
    assert "import it again" in addon.view.notice.text


def test_driving_needs_a_video_that_is_there(bpy, head, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="choose a video"):
        bpy.ops.likeness.drive_video(filepath=str(tmp_path / "gone.mp4"))
