"""A job's life over the wire, with fake workers."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fake_worker import PREVIEW, SLOW_LANDMARK, STAGES
from harness import PHOTO

from blender_addon import protocol as p


def test_job_from_submit_to_done(client, server):
    job = client.submit()
    done = client.wait(job, p.Done)
    kinds = [type(event).__name__ for event, _ in client.kept if event.job == job]
    assert kinds[0] == "Queued"
    assert kinds.count("StageStarted") == kinds.count("StageFinished") == len(STAGES)
    assert kinds.index("Partial") < kinds.index("StageStarted", kinds.index("Partial"))
    numbers = [e.number for e, _ in client.kept if not isinstance(e, p.StageProgress)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert done.number == len(numbers) + 1
    previews = [bulk for event, bulk in client.kept if isinstance(event, p.StageFinished)]
    assert bytes(previews[0][0]).startswith(PREVIEW)
    assert previews[3] == []
    half = {e.stage: (e.preview_frame, b) for e, b in client.kept if isinstance(e, p.StageProgress)}
    assert half["head fit"] == (None, [])
    assert half["materials"][0] == 0
    assert bytes(half["materials"][1][0]) == PREVIEW + b"half"
    assert done.info.state == "done"
    assert done.info.warnings == ("the face is small",)
    assert {file.name for file in done.info.files} == {"avatar.json", "mesh.npz", "maps/albedo.png"}
    for file in done.info.files:
        assert Path(file.path).stat().st_size == file.size_bytes
    assert not list(server.data.glob("jobs/*.partial"))


def test_partial_mesh_can_be_opened_when_announced(client):
    job = client.submit("slow@0")
    partial = client.wait(job, p.Partial)
    assert partial.kind == "mesh"
    assert Path(partial.files[1].path).read_bytes() == PHOTO
    piece, bulk = client.ask_bulk(p.Fetch, job=job, name="mesh.npz")
    assert isinstance(piece, p.Chunk)
    assert bytes(bulk[0]) == PHOTO


def test_photo_by_path_and_parents_photo(client, tmp_path):
    photo = tmp_path / "p.jpg"
    photo.write_bytes(PHOTO)
    accepted = client.ask(p.Submit, name="p", path=str(photo), options=p.Options(engine="good"))
    photo.unlink()  # the server keeps its own copy
    client.wait(accepted.job, p.Done)
    corrections = p.Corrections(pins=(p.Pin(landmark=4, x_px=1.5, y_px=2.5),), exclude_frame=0)
    again = client.ask(
        p.Submit,
        [b"mask"],
        name="p",
        parent=accepted.job,
        corrections=corrections,
        options=p.Options(engine="good", seed=3),
    )
    assert again.photo_sha256 == accepted.photo_sha256
    done = client.wait(again.job, p.Done)
    assert done.info.parent == accepted.job
    seen = msgspec.json.decode(Path(done.info.directory, "avatar.json").read_bytes())
    assert seen["pins"] == [{"landmark": 4, "x_px": 1.5, "y_px": 2.5}]
    assert Path(seen["exclude_path"]).read_bytes() == b"mask"
    assert seen["options"]["seed"] == 3


@pytest.mark.parametrize(
    ("fields", "bulk", "code"),
    [
        ({}, [], "refused"),
        ({"path": "/nowhere/p.jpg"}, [], "bad_input"),
        ({"path": "relative.jpg"}, [], "bad_input"),
        ({"path": "/dev/zero"}, [], "bad_input"),
        ({"path": "/tmp"}, [], "bad_input"),
        ({"path": "a\0b"}, [], "bad_input"),
        ({"path": "/etc/hostname", "photo_frame": 0}, [b"x"], "refused"),
        ({"photo_frame": 1}, [b"x"], "refused"),
        ({"photo_frame": 0}, [b"x", b"y"], "refused"),
        ({"photo_frame": -1}, [b"x"], "refused"),
        ({"parent": "0"}, [], "unknown_job"),
        ({"photo_frame": 0, "avatar": "0"}, [b"x"], "unknown_job"),
        ({"photo_frame": 0, "avatar": "/nowhere"}, [b"x"], "bad_input"),
        ({"photo_frame": 0, "avatar": "0", "corrections": p.Corrections()}, [b"x"], "refused"),
    ],
)
def test_submits_that_cannot_be_are_refused_and_leave_nothing(client, server, fields, bulk, code):
    reply = client.ask(p.Submit, bulk, name="x", **fields)
    assert isinstance(reply, p.Failure)
    assert reply.problem.code == code
    assert list((server.data / "photos").iterdir()) == []
    assert client.state().jobs == ()


def test_a_video_drives_a_finished_avatar_or_a_folder(client, tmp_path):
    avatar = client.submit()
    client.wait(avatar, p.Done)
    (tmp_path / "avatar.json").write_text("{}")
    for given, folder in ((avatar, f"jobs/{avatar}"), (str(tmp_path), str(tmp_path))):
        accepted = client.ask(
            p.Submit, [b"film"], name="film", photo_frame=0, avatar=given, options=p.Options(engine="good")
        )
        done = client.wait(accepted.job, p.Done)
        assert done.info.avatar == given
        told = msgspec.json.decode(Path(done.info.directory, "avatar.json").read_bytes())
        assert told["avatar"].endswith(folder)
        again = client.ask(p.Submit, [b"x"], name="x", photo_frame=0, avatar=accepted.job)
        assert again.problem.code == "refused"  # keyframes are no avatar
    corrected = client.ask(
        p.Submit, [b"x"], name="x", photo_frame=0, avatar=avatar, corrections=p.Corrections()
    )
    assert corrected.problem.code == "refused"


def test_fetch_in_chunks_and_no_way_out_of_the_folder(client, server):
    big = np.random.default_rng(0).bytes(p.CHUNK_BYTES + 12345)
    job = client.submit(photo=big)
    client.wait(job, p.Done)
    got = b""
    while True:
        reply, bulk = client.ask_bulk(p.Fetch, job=job, name="maps/albedo.png", offset=len(got))
        assert (reply.offset, reply.total_bytes) == (len(got), 3 * len(big))
        if not bulk[0]:
            break
        assert len(bulk[0]) <= p.CHUNK_BYTES
        got += bytes(bulk[0])
    assert got == big * 3
    for name in ("../../journal.sqlite", "/etc/passwd", "maps/../avatar.json", "", "..", "nothing", "a\0"):
        reply = client.ask(p.Fetch, job=job, name=name)
        assert isinstance(reply, p.Failure), name
        assert reply.problem.code == "missing"
    reply = client.ask(p.Fetch, job=job, name="mesh.npz", offset=1 << 40)
    assert reply.problem.code == "refused"
    assert client.ask(p.Fetch, job="../" * 3, name="avatar.json").problem.code == "unknown_job"


def test_fifty_queued_jobs_run_in_order(client):
    jobs = [client.submit(photo=PHOTO + bytes([n])) for n in range(50)]
    ended = []
    while len(ended) < 50:
        event, _ = client.event()
        if isinstance(event, p.Done):
            ended.append(event.job)
    assert ended == jobs
    assert all(info.state == "done" for info in client.state().jobs)


def test_queue_positions_and_cancel_of_a_queued_job(client):
    first, second, third = client.submit("slow@0"), client.submit(), client.submit()
    client.wait(first, p.StageStarted)
    assert [client.info(job).position for job in (first, second, third)] == [0, 1, 2]
    assert isinstance(client.ask(p.Cancel, job=second), p.Ok)
    client.wait(second, p.Cancelled)
    assert client.info(third).position == 1
    assert isinstance(client.ask(p.Cancel, job=second), p.Ok)  # again: nothing to do
    client.ask(p.Cancel, job=first)
    client.wait(first, p.Cancelled)
    client.wait(third, p.Done)
    assert client.ask(p.Cancel, job=third).problem.code == "refused"


@pytest.mark.parametrize("engine", ["slow@0", *(f"hang@{stage}" for stage in range(len(STAGES)))])
def test_cancel_at_any_stage_even_of_a_worker_that_is_stuck(client, server, engine):
    job = client.submit(engine)
    stage = STAGES[int(engine.partition("@")[2])]
    while client.wait(job, p.StageStarted).stage != stage:
        pass
    asked = time.monotonic()
    assert isinstance(client.ask(p.Cancel, job=job), p.Ok)
    client.wait(job, p.Cancelled)
    print(f"{engine}: cancelled after {time.monotonic() - asked:.2f} s")
    assert client.info(job).state == "cancelled"
    assert list((server.data / "jobs").iterdir()) == []
    client.wait(client.submit(), p.Done)  # and the next one runs


def test_events_are_replayed_by_attach(client, server, connect):
    job = client.submit()
    client.wait(job, p.Done)
    live = [e for e, _ in client.kept if getattr(e, "job", None) == job]
    kept = [e for e in live if not isinstance(e, p.StageProgress)]
    other = connect(server)
    reply = other.ask(p.Attach, job=job)
    assert reply.info.state == "done"
    other.wait(job, p.Done)
    replayed = [event for event, _ in other.kept]
    assert [(type(e), e.number) for e in replayed] == [(type(e), e.number) for e in kept]
    previews = [bulk for event, bulk in other.kept if isinstance(event, p.StageFinished)]
    assert bytes(previews[0][0]).startswith(PREVIEW)
    # The job's folder has moved since: the files are where the event now says.
    for partial in (e for e in replayed if isinstance(e, p.Partial)):
        assert all(Path(file.path).exists() for file in partial.files)
    other.kept.clear()
    other.ask(p.Attach, job=job, after=kept[-2].number)
    other.wait(job, p.Done)
    assert [event.number for event, _ in other.kept] == [kept[-1].number]
    assert other.ask(p.Attach, job="unknown").problem.code == "unknown_job"


def test_refine_and_drive(client):
    job = client.submit()
    client.wait(job, p.Done)
    reply, bulk = client.ask_bulk(p.Refine, job=job, pins=(p.Pin(landmark=1, x_px=1, y_px=2),))
    assert isinstance(reply, p.Refined)
    assert [len(frame) for frame in bulk] == [48, 48, 478 * 8]
    weights = np.zeros((3, 52), np.float32).tobytes()
    reply, bulk = client.ask_bulk(p.Drive, [weights], job=job, frames=3)
    assert reply.vertices == 4
    assert len(bulk[0]) == 3 * 4 * 12
    for frames, data in ((0, weights), (7, weights), (3, b"")):
        assert client.ask(p.Drive, [data], job=job, frames=frames).problem.code == "refused"
    assert client.ask(p.Drive, [weights], job=job, frames=1).problem.code == "bad_input"
    assert client.ask(p.Drive, job=job, frames=1).problem.code == "refused"
    failed = client.submit("bad_input@0")
    client.wait(failed, p.Failed)
    assert client.ask(p.Refine, job=failed, pins=()).problem.code == "refused"


def test_one_frame_of_splats_is_decoded(client, tmp_path):
    """For a finished job, or a folder of this machine; nothing else reaches a worker."""
    job = client.submit()
    client.wait(job, p.Done)
    vertices = np.zeros((5, 3), np.float32).tobytes()
    reply, bulk = client.ask_bulk(p.Decode, [vertices], avatar=job)
    assert isinstance(reply, p.Decoded)
    assert bytes(bulk[0]).endswith(f"{job} 60".encode())
    folder = tmp_path / "somebody"
    folder.mkdir()
    assert client.ask(p.Decode, [vertices], avatar=str(folder)).problem.code == "bad_input"
    (folder / "avatar.json").write_text("{}")
    reply, bulk = client.ask_bulk(p.Decode, [vertices], avatar=str(folder))
    assert bytes(bulk[0]) == f"{folder} 60".encode()
    assert client.ask(p.Decode, [b"1234"], avatar=job).problem.code == "refused"
    assert client.ask(p.Decode, avatar=job).problem.code == "refused"
    assert client.ask(p.Decode, [vertices], avatar="unknown").problem.code == "unknown_job"
    failed = client.submit("bad_input@0")
    client.wait(failed, p.Failed)
    assert client.ask(p.Decode, [vertices], avatar=failed).problem.code == "refused"


def test_refine_answers_while_a_job_runs_and_newer_ones_take_over(client):
    job = client.submit()
    client.wait(job, p.Done)
    busy = client.submit("slow@0")
    client.wait(busy, p.StageStarted)
    slow = (p.Pin(landmark=SLOW_LANDMARK, x_px=1, y_px=1),)
    first = client.send(p.Refine, job=job, pins=slow)
    time.sleep(0.1)  # now it is at work
    second = client.send(p.Refine, job=job, pins=slow)  # waits
    third = client.send(p.Refine, job=job, pins=())  # takes the place of the second
    replies = [client.reply()[0] for _ in range(3)]
    assert [(reply.id, type(reply)) for reply in replies] == [
        (second, p.Failure),
        (first, p.Refined),
        (third, p.Refined),
    ]
    assert replies[0].problem.code == "cancelled"
    assert client.info(busy).state == "running"


def test_free_memory(client):
    assert client.ask(p.FreeMemory).freed_bytes == 0  # no worker runs
    client.wait(client.submit(), p.Done)
    assert client.ask(p.FreeMemory).freed_bytes == 1000


def test_state_tells_workers_cache_and_versions(client, server):
    client.wait(client.submit(), p.Done)
    state = client.state()
    (worker,) = state.workers
    assert (worker.device, worker.state, worker.last_exit) == ("cpu", "idle", None)
    assert worker.pid
    assert worker.rss_mb == 50
    assert state.cache_bytes >= 4 * len(PHOTO)
    assert not state.networked


def test_cache_is_capped_and_results_stay(start, connect):
    server = start("--cache-cap", str(len(PHOTO) * 9))
    client = connect(server)
    jobs = [client.submit(photo=PHOTO + bytes([n])) for n in range(4)]
    for job in jobs:
        client.wait(job, p.Done)
    cached = [path for path in (server.data / "cache").rglob("*") if path.is_file()]
    assert cached == []  # photos and results alone are over the cap
    assert all(info.state == "done" for info in client.state().jobs)
    assert len(list((server.data / "jobs").iterdir())) == 4


def test_several_devices_work_at_once(start, connect):
    client = connect(start("--devices", "cpu,cuda:0"))
    jobs = [client.submit("slow@0") for _ in range(2)]
    for job in jobs:
        client.wait(job, p.StageStarted)
    busy = {worker.device: worker.job for worker in client.state().workers if worker.state == "busy"}
    assert sorted(busy.values()) == sorted(jobs)
    for job in jobs:
        client.ask(p.Cancel, job=job)
        client.wait(job, p.Cancelled)
