"""Blender is killed while it waits for a head; two Blenders share a server. Real processes throughout."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_kit import is_running, server_pid, wait_until

from blender_addon import protocol

pytestmark = [pytest.mark.blend, pytest.mark.slow]


def test_a_killed_blender_loses_nothing_and_its_server_ends_when_nobody_needs_it(blender, observer):
    """Killed in the middle of a job: the job is finished, found by a new Blender and imported there."""
    first = blender()
    data = first.data
    first.reconstruct()
    wait_until(lambda: server_pid(data))
    watching = observer(data)

    def running():
        state = watching.request(protocol.List(id=0)).result(30).reply
        return [job.job for job in state.jobs if job.state == "running" and job.fraction > 0]

    (job,) = wait_until(running)
    watching.close()
    first.kill()
    server = server_pid(data)
    assert is_running(server)

    second = blender()
    seen = second.ask("wait_ready")  # found, not started: the folder has one server
    assert server_pid(data) == server
    assert job in seen["jobs"]
    seen = second.ask("wait_for", job=job, state="done")
    assert seen["heads"] == {}  # it waits in the history until it is asked for
    assert second.ask("import_job", job=job)["heads"] == {job: job}
    second.kill()
    third = blender()  # what the second had is not lost either
    third.ask("wait_ready")
    assert third.ask("import_job", job=job)["heads"] == {job: job}
    third.quit()


def test_a_server_ends_when_its_blender_was_killed(blender, warm):
    first = blender()
    warm(first.data)
    first.reconstruct()
    assert "ok" in (answer := first.answer()), answer
    server = server_pid(first.data)
    assert is_running(server)
    first.kill()
    wait_until(lambda: not is_running(server), pause_s=0.5)
    assert server_pid(first.data) is None  # nothing half-written: its connection file is gone too
    assert not list((first.data / "jobs").glob("*.partial"))


def test_two_blenders_share_a_server_and_each_gets_its_own_head(blender, warm):
    one, other = blender(), blender()
    warm(one.data)
    one.reconstruct(seed=1)
    other.reconstruct(seed=2)  # both find no server and start one; one of them wins
    seen = {}
    for each in (one, other):
        answer = each.answer()
        assert "ok" in answer, answer
        seen[each] = answer["ok"]
    own = {each: list(seen[each]["heads"].values()) for each in (one, other)}
    assert [len(jobs) for jobs in own.values()] == [1, 1]
    assert own[one] != own[other]
    both = {*own[one], *own[other]}
    for each in (one, other):
        jobs = each.ask("look", seconds=6.0)["jobs"]  # a list is asked for every five seconds
        assert set(jobs) == both
        assert {job["state"] for job in jobs.values()} == {"done"}
        assert list(each.ask("look")["heads"].values()) == own[each]  # the other's was not built here

    server = server_pid(one.data)
    words = Path(f"/proc/{server}/cmdline").read_bytes().split(b"\0")
    starter = int(words[words.index(b"--parent") + 1])
    closed, left = (one, other) if one.process.pid == starter else (other, one)
    assert closed.process.pid == starter
    closed.quit()
    left.reconstruct(seed=3)  # it goes on
    answer = left.answer()
    assert len(answer["ok"]["heads"]) == 2
    assert server_pid(left.data) == server
    assert is_running(server)
