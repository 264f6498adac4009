"""Decoded frames in the add-on: baked through the worker's own answer, gone on with, stopped, refused."""

from __future__ import annotations

import errno
import queue
import shutil
import time
from concurrent.futures import Future
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bound_splats import deformed, drawn, make_bound_avatar

from backend.server.decode import decode
from blender_addon import protocol, splat_bake
from blender_addon.bundle import Light, SplatsRecord, read_bundle, write_manifest
from blender_addon.client import Answer, NoAnswer
from blender_addon.splat_bake import AHEAD, SplatBake
from blender_addon.splat_binding import read_bound_splats
from blender_addon.splat_frames import RECORD_NAME, frame_name, read_record

pytestmark = pytest.mark.blend


class DecodingClient:
    """Answers Decode as a worker does, at once or when told to; ``asked`` counts."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.asked: list[tuple[protocol.Decode, bytes, Future]] = []
        self.wait = False
        self.failure: Exception | None = None

    def request(self, message, bulk=(), timeout_s=30.0):
        future: Future = Future()
        if not isinstance(message, protocol.Decode):
            return future  # how the server is, which nobody here waits for
        self.asked.append((message, bytes(bulk[0]), future))
        if not self.wait:
            self.answer(len(self.asked) - 1)
        return future

    def answer(self, index: int) -> None:
        message, vertices, future = self.asked[index]
        if self.failure is not None:
            future.set_exception(self.failure)
            return
        count, data = decode(Path(message.avatar), vertices)
        future.set_result(Answer(protocol.Decoded(id=1, splats=count), [data]))


class Control:
    """As much of BackendControl as the runtime wants of it."""

    def __init__(self, client: DecodingClient) -> None:
        self.client, self.state = client, "ready"

    def poll(self, view) -> None:
        view.backend.state, view.backend.same_machine = self.state, True

    def start(self) -> None:
        self.state = "starting"

    def close(self) -> None:
        self.client = None


@pytest.fixture(scope="module")
def splat_avatar(tmp_path_factory) -> Path:
    return lit_with_splats(make_bound_avatar(tmp_path_factory.mktemp("bake")))


def lit_with_splats(folder: Path) -> Path:
    """The avatar in ``folder`` in a light from above, its manifest with its splats."""
    radiance = np.zeros((9, 3))
    radiance[0], radiance[1] = 3.0, 1.5
    light = Light(radiance_sh=tuple(tuple(row) for row in radiance.tolist()))
    record = SplatsRecord(count=400, sh_degree=1, sha256="a" * 64, binding_sha256="b" * 64)
    write_manifest(folder, msgspec.structs.replace(read_bundle(folder).manifest, light=light, splats=record))
    return folder


@pytest.fixture
def head(bpy, addon, splat_avatar, monkeypatch):
    """A head shown as splats, nodding over frames 1 to 3, and the client of its backend."""
    from blender_addon import heads
    from blender_addon.scene.identity import first

    bpy.ops.likeness.import_avatar(directory=str(splat_avatar))
    (uuid,) = heads.uuids()
    assert bpy.ops.likeness.show_splats(shown=True) == {"FINISHED"}
    bone = first("objects", uuid, "rig").pose.bones["head"]
    bone.rotation_mode = "XYZ"
    for frame, angle in ((1, 0.0), (3, -0.6)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    key = heads.skin(uuid).data.shape_keys.key_blocks[read_bundle(splat_avatar).mesh.expression_names[0]]
    for frame, value in ((1, 0.0), (3, 1.0)):
        key.value = value
        key.keyframe_insert("value", frame=frame)
    bpy.context.scene.frame_set(1)
    client = DecodingClient()
    monkeypatch.setattr(addon, "control", Control(client))
    addon.control.poll(addon.view)
    return uuid, client


def thing_of(uuid: str):
    from blender_addon.scene.identity import first

    return first("objects", uuid, "splats")


def colours(got: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([got[f"splat_sh_{channel}0"] for channel in "rgb"], 2)


def test_blender_shows_what_the_backend_decodes(bpy, head, splat_avatar, tmp_path) -> None:
    """The decoder's colours of every frame; what the mesh alone moves is far from them beside that."""
    from blender_addon.scene.identity import find

    uuid, client = head
    scene = bpy.context.scene
    scene.frame_set(2)
    where = tmp_path / "frames"
    assert bpy.ops.likeness.bake_splats(first=1, last=3, directory=str(where)) == {"FINISHED"}
    assert scene.frame_current == 2
    assert len(client.asked) == 3
    mesh = read_bundle(splat_avatar).mesh
    live = read_bound_splats(splat_avatar, len(mesh.vertices_neutral_head))[0]
    from backend.gaussians.frames import decoder_of

    decoder = decoder_of(splat_avatar)
    for frame in (2, 3):
        scene.frame_set(frame)
        truth = decoder.decode(deformed(bpy, mesh, find(uuid)).astype(np.float32))
        got = drawn(bpy, thing_of(uuid))
        assert np.abs(got["position"] - truth.positions).max() < 2e-5
        error, live_error = (np.abs(sh - truth.sh).mean() for sh in (colours(got), live.sh))
        assert error < 1e-3
        assert live_error > 10 * error
    assert bpy.ops.likeness.clear_splat_frames() == {"FINISHED"}
    assert np.abs(colours(drawn(bpy, thing_of(uuid))) - live.sh).max() < 1e-6
    assert (where / frame_name(3)).is_file()
    with pytest.raises(RuntimeError, match="no baked splats"):
        bpy.ops.likeness.clear_splat_frames()


def test_baking_again_asks_for_what_changed_alone(bpy, head, splat_avatar, tmp_path) -> None:
    from blender_addon import heads

    uuid, client = head
    bpy.ops.likeness.bake_splats(first=1, last=3, directory=str(tmp_path))
    bpy.ops.likeness.bake_splats(first=1, last=3, directory=str(tmp_path))
    assert len(client.asked) == 3
    (tmp_path / frame_name(1)).unlink()
    name = read_bundle(splat_avatar).mesh.expression_names[0]
    key = heads.skin(uuid).data.shape_keys.key_blocks[name]
    key.value = 0.5
    key.keyframe_insert("value", frame=3)
    for curve in curves_of(heads.skin(uuid).data.shape_keys):
        for point in curve.keyframe_points:
            point.interpolation = "CONSTANT"  # frame 2 is as frame 1 now, frame 3 another
    bpy.ops.likeness.bake_splats(first=1, last=3, directory=str(tmp_path))
    assert len(client.asked) == 6
    bpy.ops.likeness.bake_splats(first=2, last=4, directory=str(tmp_path))
    assert len(client.asked) == 7
    (tmp_path / RECORD_NAME).write_text("{")
    bpy.ops.likeness.bake_splats(first=2, last=2, directory=str(tmp_path))
    assert len(client.asked) == 8


def curves_of(block):
    action = block.animation_data.action
    if not hasattr(action, "slots"):
        return action.fcurves
    return action.layers[0].strips[0].channelbag(block.animation_data.action_slot).fcurves


def test_a_bake_runs_on_the_ticker_and_can_be_stopped(bpy, addon, head, tmp_path) -> None:
    """One pose a turn, never more than AHEAD open; stopped, the scene is as before and the files stay."""
    from blender_addon import ticker
    from blender_addon.scene.splat_frames import frames_range

    uuid, client = head
    client.wait = True
    bake = start(bpy, uuid, addon, tmp_path, last=6)
    for _ in range(5):
        ticker.turn(addon)
    assert len(client.asked) == AHEAD
    client.answer(0)
    turn_until(addon, lambda: len(client.asked) == 3)
    assert bake.done == 1
    with pytest.raises(RuntimeError, match="Splats are being baked"):
        bpy.ops.likeness.bake_splats(first=1, last=2)
    assert bpy.ops.likeness.cancel_bake() == {"FINISHED"}
    ticker.turn(addon)
    assert addon.bake is None
    assert addon.view.notice is None
    assert frames_range(uuid) is None
    assert bpy.context.scene.frame_current == 1
    assert set(read_record(tmp_path, bake.splats_sha256).poses) == {1}
    with pytest.raises(RuntimeError, match="No splats are being baked"):
        bpy.ops.likeness.cancel_bake()


def test_a_backend_that_goes_away_ends_it_in_one_line(bpy, addon, head, tmp_path) -> None:
    uuid, client = head
    client.wait = True
    start(bpy, uuid, addon, tmp_path)
    turn_until(addon, lambda: len(client.asked) == AHEAD)
    client.answer(0)
    turn_until(addon, lambda: len(client.asked) == 3)
    client.failure = NoAnswer(protocol.Problem(code="worker_died", message="The backend does not answer"))
    client.answer(1)
    turn_until(addon, lambda: addon.bake is None)
    assert "does not answer; 1 of 3 frames are kept, bake again to go on" in addon.view.notice.text
    addon.view.notice, client.failure, client.wait = None, None, False
    start(bpy, uuid, addon, tmp_path)
    turn_until(addon, lambda: addon.bake is None)
    assert addon.view.notice is None
    assert len(client.asked) == 5  # the two that were missing
    addon.control.state = "stopped"
    start(bpy, uuid, addon, tmp_path)
    addon.control.poll(addon.view)
    turn_until(addon, lambda: addon.bake is None)
    assert "The backend is away; start it" in addon.view.notice.text


@pytest.mark.parametrize("full", ["write", "free"])
def test_a_full_disk_is_told(bpy, addon, head, tmp_path, monkeypatch, full: str) -> None:
    uuid, _ = head

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if full == "write":
        monkeypatch.setattr(splat_bake, "write_whole", refuse)
    else:
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(splat_bake.shutil, "disk_usage", lambda folder: usage)
    start(bpy, uuid, addon, tmp_path)
    turn_until(addon, lambda: addon.bake is None)
    said = {"write": "The disk is full", "free": "choose another folder"}[full]
    assert said in addon.view.notice.text
    assert "\n" not in addon.view.notice.text
    assert not list(tmp_path.glob("*.png"))


def test_what_cannot_be_baked_is_refused_before_it_begins(bpy, addon, head, splat_avatar, tmp_path) -> None:
    uuid, client = head
    for arguments, said in (
        ({"first": 5, "last": 4}, "give a last frame after the first"),
        ({"first": 1, "last": 2, "directory": str(splat_avatar / "avatar.json")}, "cannot be used"),
    ):
        with pytest.raises(RuntimeError, match=said):
            bpy.ops.likeness.bake_splats(**arguments)
    bpy.ops.likeness.show_splats(shown=False)
    with pytest.raises(RuntimeError, match="Show the head as splats first"):
        bpy.ops.likeness.bake_splats(first=1, last=2)
    bpy.data.objects.remove(thing_of(uuid))
    with pytest.raises(RuntimeError, match="has no splats"):
        bpy.ops.likeness.bake_splats(first=1, last=2)
    assert addon.bake is None
    assert client.asked == []


def start(bpy, uuid: str, addon, folder: Path, last: int = 3) -> SplatBake:
    """What the operator begins where there is a window."""
    from blender_addon import heads
    from blender_addon.scene import head_mesh

    avatar = heads.folder_of(uuid)
    mesh = read_bundle(avatar).mesh
    addon.bake = SplatBake(
        head=uuid,
        avatar=str(avatar),
        splats_sha256="a" * 64,
        folder=folder,
        first=1,
        last=last,
        parts={name: head_mesh.part_faces(mesh, name).vertex for name in mesh.part_names},
        neutral=mesh.vertices_neutral_head,
    )
    return addon.bake


def turn_until(addon, done) -> None:
    from blender_addon import ticker

    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        ticker.turn(addon)
        time.sleep(0.005)
