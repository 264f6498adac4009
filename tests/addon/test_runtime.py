"""The runtime with a client that answers as a server would, and the ticker's turns on top of it."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from pathlib import Path

import pytest

from blender_addon import protocol
from blender_addon.client import Answer, Connected, Received, RequestRefused
from blender_addon.importer import ImportQueue
from blender_addon.protocol import JobInfo, Options, Pin, Problem
from blender_addon.runtime import Runtime

JOB = "11111111-2222-3333-4444-555555555555"


class FakeClient:
    """Keeps requests; the test answers them."""

    def __init__(self):
        self.events = queue.SimpleQueue()
        self.asked = []

    def request(self, message, bulk=(), timeout_s=30.0):
        future = Future()
        self.asked.append((message, list(bulk), future))
        return future

    def take(self, kind):
        """The oldest open request of this kind."""
        for entry in self.asked:
            if isinstance(entry[0], kind):
                self.asked.remove(entry)
                return entry
        raise AssertionError(
            f"no {kind.__name__} was asked; open: {[type(m).__name__ for m, *_ in self.asked]}"
        )


class FakeControl:
    def __init__(self, tmp_path):
        self.client = FakeClient()
        self.downloads = tmp_path
        self.started = 0
        self.next_state = "ready"

    def poll(self, view):
        view.backend.state = self.next_state

    def start(self):
        self.started += 1
        self.next_state = "starting"

    def close(self):
        self.client = None


@pytest.fixture
def runtime(tmp_path):
    built = Runtime(FakeControl(tmp_path), ImportQueue(lambda head: iter(("one", "two"))))
    built.drain(float("inf"))
    return built


def _info(state, **changes):
    fields = {
        "job": JOB,
        "state": state,
        "photo_name": "anna",
        "photo_sha256": "ab" * 32,
        "options": Options(),
        "submitted_s": 1000.0,
    }
    return JobInfo(**(fields | changes))


def _event(runtime, event, bulk=()):
    runtime.client.events.put(Received(event, list(bulk)))
    runtime.drain(float("inf"))


def _accept(runtime, job=JOB):
    message, bulk, future = runtime.client.take(protocol.Submit)
    future.set_result(Answer(protocol.Accepted(id=1, job=job, photo_sha256="ab" * 32), []))
    runtime.drain(float("inf"))
    return message, bulk


def _welcome(runtime, *, same_machine):
    runtime.client.events.put(
        Connected(
            protocol.Welcome(
                id=1, protocol=1, server="likeness 0.1.0", session="s", same_machine=same_machine
            )
        )
    )
    runtime.drain(float("inf"))


def test_a_photo_goes_by_path_on_this_machine_and_by_bytes_elsewhere(runtime, tmp_path):
    photo = tmp_path / "anna.jpg"
    photo.write_bytes(b"jpeg")
    runtime.submit_photo(photo, Options(maps=512))
    message, bulk = _accept(runtime)
    assert (message.name, message.path, message.photo_frame, bulk) == ("anna", str(photo), None, [])
    _welcome(runtime, same_machine=False)
    runtime.submit_photo(photo, Options(maps=512))
    message, bulk = _accept(runtime)
    assert (message.path, message.photo_frame, bulk) == (None, 0, [b"jpeg"])


def test_photos_wait_for_a_backend_that_is_started_for_them(runtime, tmp_path):
    photo = tmp_path / "anna.jpg"
    photo.write_bytes(b"jpeg")
    runtime.control.next_state = "stopped"
    runtime.drain(float("inf"))
    runtime.submit_photo(photo, Options())
    assert runtime.control.started == 1
    assert [s.message.name for s in runtime.outbox] == ["anna"]
    runtime.control.next_state = "ready"
    _welcome(runtime, same_machine=True)
    assert runtime.outbox == []
    _accept(runtime)
    assert runtime.heads == {JOB: JOB}


def test_only_own_jobs_are_imported_and_the_whole_follows_the_part(runtime, tmp_path):
    (tmp_path / "anna.jpg").write_bytes(b"jpeg")
    _event(runtime, protocol.Done(job="other", number=1, info=_info("done", job="other", directory="/o")))
    assert not runtime.imports
    runtime.submit_photo(tmp_path / "anna.jpg", Options())
    _accept(runtime)
    _event(runtime, protocol.Queued(job=JOB, number=1, info=_info("queued")))
    mesh = protocol.FileRef(name="maps/albedo.png", size_bytes=1, path="/jobs/x.partial/maps/albedo.png")
    _event(runtime, protocol.Partial(job=JOB, number=2, kind="map", map_name="albedo", files=(mesh,)))
    (waiting,) = runtime.imports.waiting.values()
    assert (waiting.directory, waiting.complete) == (Path("/jobs/x.partial"), False)
    _event(runtime, protocol.Done(job=JOB, number=3, info=_info("done", directory="/jobs/x")))
    (waiting,) = runtime.imports.waiting.values()
    assert (waiting.uuid, waiting.directory, waiting.complete) == (JOB, Path("/jobs/x"), True)


def test_a_job_that_was_done_before_its_acceptance_was_read_is_imported(runtime, tmp_path):
    (tmp_path / "anna.jpg").write_bytes(b"jpeg")
    runtime.submit_photo(tmp_path / "anna.jpg", Options())
    _event(runtime, protocol.Done(job=JOB, number=1, info=_info("done", directory="/jobs/x")))
    assert not runtime.imports
    _accept(runtime)
    assert [head.directory for head in runtime.imports.waiting.values()] == [Path("/jobs/x")]


def test_corrections_replace_the_head_and_variants_do_not(runtime):
    _event(runtime, protocol.Done(job=JOB, number=1, info=_info("done", directory="/jobs/x")))
    runtime.correct("head", JOB, (Pin(landmark=3, x_px=1.0, y_px=2.0),), b"png")
    message, bulk = _accept(runtime, "j2")
    assert (message.parent, message.path, message.photo_frame, bulk) == (JOB, None, None, [b"png"])
    assert message.corrections.exclude_frame == 0
    assert runtime.heads["j2"] == "head"
    runtime.vary(JOB, seed=7)
    message, _ = _accept(runtime, "j3")
    assert (message.options.seed, message.parent, message.corrections) == (7, JOB, None)
    assert runtime.heads["j3"] == "j3"


def test_a_refusal_is_one_sentence_with_its_remedy(runtime, tmp_path):
    (tmp_path / "anna.jpg").write_bytes(b"jpeg")
    runtime.submit_photo(tmp_path / "anna.jpg", Options())
    _, _, future = runtime.client.take(protocol.Submit)
    future.set_exception(RequestRefused(Problem(code="bad_input", message="the photo shows no face")))
    runtime.drain(float("inf"))
    assert (runtime.view.notice.text, runtime.view.notice.remedy) == ("The photo shows no face", "photo")
    runtime.dismiss()
    assert runtime.view.notice is None


def test_another_file_keeps_only_heads_that_it_has(runtime):
    for job in ("a", "b"):
        runtime.heads[job] = job
        _event(runtime, protocol.Done(job=job, number=1, info=_info("done", job=job, directory=f"/{job}")))
    runtime.imports.advance()
    runtime.file_loaded({"b"})
    assert runtime.imports.heads() == ["b"]
    assert runtime.heads == {"b": "b"}
    assert runtime.view.jobs["a"].state == "done"  # it waits in the history


def test_a_drain_ends_at_its_deadline_and_the_rest_waits(runtime):
    for number in range(500):
        runtime.client.events.put(
            Received(protocol.Queued(job=f"j{number}", number=1, info=_info("queued", job=f"j{number}")), [])
        )
    runtime.drain(0.0)
    assert len(runtime.view.jobs) < 500
    runtime.drain(float("inf"))
    assert len(runtime.view.jobs) == 500


def test_pins_are_sent_and_the_answer_waits_for_the_mesh(runtime):
    import numpy as np

    from blender_addon.pin_edit import PinEdit
    from blender_addon.pins import HANDLES, PinBoard

    board = PinBoard(np.zeros((478, 2), np.float32), (100, 100))
    runtime.edit = PinEdit("head", JOB, board, Path("/x/photo.jpg"))
    board.grab(HANDLES[0], 0.0, 0.0)
    board.drag(5.0, 6.0, 0.0)
    runtime.refine(1.0)
    message, _, future = runtime.client.take(protocol.Refine)
    assert [(p.landmark, p.x_px, p.y_px) for p in message.pins] == [(HANDLES[0], 5.0, 6.0)]
    landmarks = np.full((478, 2), 9.0, np.float32)
    neutral, photographed = (np.full((2, 3), value, np.float32) for value in (1.0, 2.0))
    bulk = [array.tobytes() for array in (neutral, photographed, landmarks)]
    reply = protocol.Refined(id=1, vertices=2, seconds=0.2, landmark_error_px=1.5)
    future.set_result(Answer(reply, bulk))
    runtime.drain(float("inf"))
    np.testing.assert_array_equal(runtime.edit.solution.neutral, neutral)
    np.testing.assert_array_equal(runtime.edit.solution.photographed, photographed)
    assert not board.waiting
    assert board.place(HANDLES[1]) == (9.0, 9.0)
    assert (runtime.edit.seconds, runtime.edit.landmark_error_px) == (0.2, 1.5)


@pytest.mark.blend
def test_turns_build_one_step_each_and_wait_for_object_mode(bpy, addon, avatar_folder, monkeypatch):
    from blender_addon import heads, ticker

    monkeypatch.setattr(addon.control, "poll", lambda view: None)
    uuid = addon.import_folder(avatar_folder)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    ticker.turn(addon)
    assert heads.uuids() == []
    assert "object mode" in addon.import_note
    bpy.ops.object.mode_set(mode="OBJECT")
    turns = 0
    while addon.imports:
        ticker.turn(addon)
        turns += 1
        assert turns < 500
    assert turns > 5
    assert heads.uuids() == [uuid]
    assert addon.import_note == ""
    assert len(addon.import_seconds) == turns


@pytest.mark.blend
def test_one_undo_step_when_a_head_is_whole(bpy, addon, avatar_folder, monkeypatch):
    from blender_addon import ticker

    pushed = []
    monkeypatch.setattr(ticker, "push_undo", pushed.append)
    addon.import_folder(avatar_folder)
    while addon.imports:
        ticker.import_step(addon)
    assert pushed == [f"Import {avatar_folder.name}"]


@pytest.mark.blend
def test_a_damaged_head_is_told_in_the_panel(bpy, addon, tmp_path):
    from blender_addon import ticker

    (tmp_path / "avatar.json").write_text("{")
    addon.import_folder(tmp_path)
    ticker.import_step(addon)
    assert "is damaged" in addon.view.notice.text
    assert not addon.imports


@pytest.mark.blend
def test_a_slip_in_a_tick_is_told_and_the_timer_goes_on(bpy, addon, monkeypatch):
    from blender_addon import ticker

    monkeypatch.setattr(ticker, "turn", lambda current: 1 / 0)
    assert ticker._tick() > 0
    assert "mistake of ours" in addon.view.notice.text
    addon.view.notice = None
    assert ticker._tick() > 0  # told once, not with every tick
    assert addon.view.notice is None


@pytest.mark.blend
def test_undo_while_a_head_is_built_begins_it_anew(bpy, addon, avatar_folder):
    from blender_addon import heads, ticker
    from blender_addon.scene import identity

    uuid = addon.import_folder(avatar_folder)
    for _ in range(6):
        ticker.import_step(addon)
    identity.remove(uuid)  # what undo does to it
    ticker._undone()
    while addon.imports:
        ticker.import_step(addon)
    assert heads.uuids() == [uuid]
