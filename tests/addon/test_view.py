"""The view follows recorded sequences of events; late and repeated ones do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_addon import obstacles, protocol
from blender_addon.protocol import FileRef, JobInfo, Options, Problem, WorkerInfo
from blender_addon.remedies import REMEDIES, remedy_of
from blender_addon.view import Arrived, View, apply_event, apply_state, size_label, stage_label

JOB = "11111111-2222-3333-4444-555555555555"


def _info(state="running", **changes):
    fields = {
        "job": JOB,
        "state": state,
        "photo_name": "anna",
        "photo_sha256": "ab" * 32,
        "options": Options(),
        "submitted_s": 1000.0,
    }
    return JobInfo(**(fields | changes))


def _server_state(*jobs, **changes):
    fields = {
        "id": 1,
        "server": "likeness 0.1.0",
        "uptime_s": 5.0,
        "rss_mb": 80.0,
        "cache_bytes": 10,
        "cache_cap_bytes": 100,
        "workers": (),
        "jobs": jobs,
        "networked": False,
    }
    return protocol.State(**(fields | changes))


def _play(view, *events):
    return [
        apply_event(view, event, bulk)
        for event, bulk in ((e, b"") if not isinstance(e, tuple) else e for e in events)
    ]


def test_a_whole_job():
    view = View()
    mesh = FileRef(name="mesh.npz", size_bytes=3, path="/data/jobs/x.partial/mesh.npz")
    results = _play(
        view,
        protocol.Queued(job=JOB, number=1, info=_info("queued", position=2)),
        protocol.StageStarted(job=JOB, number=2, stage="photo", implementation="Pillow", index=0, count=4),
        protocol.StageProgress(job=JOB, number=2, stage="photo", fraction=0.5, job_fraction=0.1),
        (
            protocol.StageFinished(
                job=JOB, number=3, stage="photo", seconds=0.1, cached=False, preview_frame=0
            ),
            [b"\x89PNG picture"],
        ),
        protocol.Partial(job=JOB, number=4, kind="mesh", files=(mesh,)),
    )
    job = view.jobs[JOB]
    assert (job.state, job.stage, job.stage_count, job.seen) == ("running", "photo", 4, 4)
    assert job.fraction == pytest.approx(0.1)
    assert (job.preview, job.preview_number) == (b"\x89PNG picture", 1)
    assert results == [None, None, None, None, Arrived(JOB, False, (mesh,))]
    done = _info("done", directory="/data/jobs/x", finished_s=1060.0, warnings=("small face",))
    (arrived,) = _play(view, protocol.Done(job=JOB, number=5, info=done))
    assert arrived is not None
    assert arrived.complete
    assert job.directory == Path("/data/jobs/x")
    assert (job.state, job.fraction, job.warnings) == ("done", 1.0, ("small face",))
    assert view.queue() == []
    assert view.history() == [job]


def test_progress_never_goes_back_and_changes_no_job_that_has_ended():
    view = View()
    _play(
        view,
        protocol.Queued(job=JOB, number=1, info=_info()),
        protocol.StageProgress(job=JOB, number=1, stage="head fit", fraction=0.9, job_fraction=0.6),
        protocol.StageProgress(job=JOB, number=1, stage="head fit", fraction=0.1, job_fraction=0.2),
    )
    assert view.jobs[JOB].fraction == pytest.approx(0.6)
    _play(
        view,
        protocol.Cancelled(job=JOB, number=2, info=_info("cancelled")),
        protocol.StageProgress(job=JOB, number=2, stage="head fit", fraction=0.9, job_fraction=0.9),
    )
    assert view.jobs[JOB].state == "cancelled"


def test_what_is_half_made_is_shown():
    view = View()
    _play(view, protocol.Queued(job=JOB, number=1, info=_info()))
    half = protocol.StageProgress(
        job=JOB, number=1, stage="materials", fraction=0.5, job_fraction=0.6, preview_frame=0
    )
    apply_event(view, half, [b"\x89PNG half"])
    assert (view.jobs[JOB].preview, view.jobs[JOB].preview_number) == (b"\x89PNG half", 1)
    plain = protocol.StageProgress(job=JOB, number=1, stage="materials", fraction=0.6, job_fraction=0.7)
    apply_event(view, plain, [])
    assert (view.jobs[JOB].preview, view.jobs[JOB].preview_number) == (b"\x89PNG half", 1)


def test_an_account_that_events_have_overtaken_brings_nothing_back():
    view = View()
    _play(view, protocol.Done(job=JOB, number=9, info=_info("done", directory="/d")))
    apply_state(view, _server_state(_info("running", fraction=0.4)), {JOB})
    assert view.jobs[JOB].state == "done"
    other = "99999999-2222-3333-4444-555555555555"
    _play(view, protocol.Queued(job=other, number=1, info=_info("queued", job=other)))
    apply_state(view, _server_state(_info("done")), {JOB})
    assert set(view.jobs) == {JOB, other}  # submitted after the account was asked for
    apply_state(view, _server_state(), {JOB, other})
    assert view.jobs == {}


def test_state_sums_memory_and_tells_the_last_exit():
    view = View()
    workers = (
        WorkerInfo(device="cpu", state="idle", pid=1, rss_mb=700.0, last_exit="SIGKILL: memory ran out"),
        WorkerInfo(device="cuda:0", state="busy", pid=2, rss_mb=None),
    )
    apply_state(view, _server_state(workers=workers, networked=True))
    backend = view.backend
    assert backend.memory_mb == pytest.approx(780.0)
    assert backend.device == "cpu, cuda:0"
    assert backend.last_exit == "SIGKILL: memory ran out"
    assert backend.left_this_machine


def test_every_change_that_shows_raises_the_revision():
    view = View()
    seen = [view.revision]
    for event in (
        protocol.Queued(job=JOB, number=1, info=_info("queued")),
        protocol.StageStarted(job=JOB, number=2, stage="photo", implementation="x", index=0, count=2),
        protocol.StageProgress(job=JOB, number=2, stage="photo", fraction=0.5, job_fraction=0.2),
        protocol.Failed(job=JOB, number=3, info=_info("failed")),
        protocol.Forgotten(job=JOB, number=4),
    ):
        apply_event(view, event, [])
        seen.append(view.revision)
    assert seen == sorted(set(seen))
    assert view.jobs == {}


def test_events_of_unknown_jobs_are_left_alone():
    view = View()
    event = protocol.StageProgress(job=JOB, number=3, stage="photo", fraction=0.5, job_fraction=0.2)
    assert apply_event(view, event, []) is None
    assert apply_event(view, protocol.Listening(), []) is None
    assert view.jobs == {}


def test_the_queue_shows_what_runs_first():
    view = View()
    for number, (state, position) in enumerate((("queued", 2), ("running", 0), ("queued", 1))):
        info = _info(state, job=f"j{number}", position=position)
        apply_event(view, protocol.Queued(job=f"j{number}", number=1, info=info), [])
    assert [job.job for job in view.queue()] == ["j1", "j2", "j0"]


def test_every_problem_has_a_remedy_that_exists():
    codes = Problem.__annotations__["code"]
    import typing

    for code in typing.get_args(typing.get_type_hints(Problem)["code"]):
        assert remedy_of(Problem(code=code, message="x")) in REMEDIES, codes


@pytest.mark.parametrize(
    ("state", "on_demand", "expected"),
    [
        ("ready", True, None),
        ("stopped", True, None),
        ("stopped", False, "Start the backend first"),
        ("starting", False, None),
        ("absent", True, "Install the backend first"),
    ],
)
def test_reasons_against_submitting(tmp_path, state, on_demand, expected):
    photo = tmp_path / "a.png"
    photo.write_bytes(b"x")
    view = View()
    view.backend.state = state
    assert obstacles.to_submit(view, [photo], starts_on_demand=on_demand) == expected
    if expected is None:
        assert obstacles.to_submit(view, [], starts_on_demand=on_demand) == "Choose a photo first"
        gone = obstacles.to_submit(view, [tmp_path / "b.png"], starts_on_demand=on_demand)
        assert gone is not None
        assert "'b.png'" in gone


def test_nothing_is_installed_offline_or_while_photos_are_worked_on():
    view = View()
    view.backend.state = "absent"
    assert obstacles.to_install(view, online=True, remote=False) is None
    assert "online access" in str(obstacles.to_install(view, online=False, remote=False))
    apply_event(view, protocol.Queued(job=JOB, number=1, info=_info("queued")), [])
    assert "being worked on" in str(obstacles.to_install(view, online=True, remote=False))
    view.backend.state = "ready"
    assert "being worked on" in str(obstacles.to_remove(view, remote=False))


def test_labels():
    assert stage_label("head fit") == "Fitting the head"
    assert stage_label("some new stage") == "Some new stage"
    assert stage_label(None) == "Starting"
    assert [size_label(n) for n in (20_000, 3_400_000, 3_412_000_000)] == ["20 kB", "3 MB", "3.4 GB"]
