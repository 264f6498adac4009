"""Worker and server are killed under the add-on: the sentence that it shows, and running again."""

from __future__ import annotations

import os
import signal

import pytest
from fake_worker import STAGES
from faults_kit import LIKENESS, PORTRAIT, is_running, server_pid, wait_until

from blender_addon.protocol import Options
from blender_addon.remedies import REMEDIES, remedy_of


def worker_pid(addon) -> int:
    addon.runtime.refresh()
    before = addon.runtime.server
    addon.until(lambda: addon.runtime.server is not before)
    (worker,) = addon.runtime.server.workers
    assert worker.pid is not None
    return worker.pid


@pytest.mark.parametrize("stage", range(len(STAGES)))
def test_a_worker_killed_at_any_stage_is_told_with_its_remedy(addon, pretending, stage):
    """The worker kills itself with SIGKILL at that stage; the server and the next job are well."""
    one = addon(pretending())
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(engine=f"crash@{stage}"))
    one.until(lambda: one.view.jobs and not one.job().is_active)
    job = one.job()
    assert job.state == "failed"
    assert "run the job again" in job.problem.message
    assert "\n" not in job.problem.message
    assert REMEDIES[remedy_of(job.problem)].operator == "likeness.rerun"
    assert one.view.backend.state == "ready"
    assert not one.built or not one.built[-1].complete
    one.runtime.rerun(job.job)
    one.until(lambda: job.is_active)
    one.until(lambda: not job.is_active)
    assert job.state == "failed"  # it dies there every time, and is told every time
    one.runtime.submit_photo(PORTRAIT, Options(engine="good"))
    one.until(lambda: any(other.state == "done" for other in one.view.jobs.values()))
    one.until(lambda: one.built and one.built[-1].complete)


def test_a_server_killed_in_the_middle_comes_back_and_the_job_is_run_again(addon, pretending):
    one = addon(pretending())
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(engine="slow@0"))
    one.until(lambda: one.view.jobs and one.job().stage_index >= 2)
    killed, worker = server_pid(one.data), worker_pid(one)
    os.kill(killed, signal.SIGKILL)
    one.until(lambda: one.view.backend.state != "ready")
    one.until(lambda: "memory" in one.view.backend.message)  # what a kill by the system mostly means
    one.until(lambda: one.view.backend.state == "ready")
    assert server_pid(one.data) != killed
    wait_until(lambda: not is_running(worker))  # nobody's worker is left
    one.until(lambda: one.job().state == "interrupted")
    assert "run it again" in one.job().problem.message
    assert REMEDIES[remedy_of(one.job().problem)].operator == "likeness.rerun"
    assert not list((one.data / "jobs").iterdir())
    one.runtime.rerun(one.job().job)
    one.until(lambda: one.job().state == "done")
    one.until(lambda: one.built and one.built[-1].complete)


@pytest.mark.slow
def test_real_workers_killed_one_after_the_other_then_done_from_the_cache(addon):
    one = addon(LIKENESS)
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(maps=512))
    one.until(lambda: one.view.jobs)
    job = one.job()
    cached = []
    for stage in ("head fit", "even-lit UV", "maps"):
        one.until(lambda stage=stage: job.stage == stage and job.state == "running")
        os.kill(worker_pid(one), signal.SIGKILL)
        one.until(lambda: not job.is_active)
        assert job.state == "failed", stage
        assert "memory" in job.problem.message
        assert remedy_of(job.problem) == "rerun"
        cached.append(job.cached_stages)
        one.runtime.rerun(job.job)
        one.until(lambda: job.is_active)
        job.stage, job.cached_stages = None, 0
    one.until(lambda: not job.is_active)
    assert job.state == "done", job.problem
    assert job.cached_stages > cached[-1] > cached[0]  # nothing that was finished was done again
    one.until(lambda: one.built and one.built[-1].complete)
    assert not list((one.data / "jobs").glob("*.partial"))
    assert not list(one.data.glob("cache/*/.*.partial"))


@pytest.mark.blend
@pytest.mark.slow
def test_a_headless_reconstruction_tells_that_its_server_was_killed(blender, observer):
    from blender_addon import protocol

    one = blender()
    one.reconstruct()
    wait_until(lambda: server_pid(one.data))
    watching = observer(one.data)

    def running():
        state = watching.request(protocol.List(id=0)).result(30).reply
        return any(job.fraction > 0.35 for job in state.jobs)

    wait_until(running)
    watching.close()
    os.kill(server_pid(one.data), signal.SIGKILL)
    answer = one.answer()
    assert "run it again" in answer["error"]
    assert answer["error"].strip().count("\n") == 0
    seen = one.ask("wait_ready")  # it was started again
    (job,) = seen["jobs"]
    assert seen["jobs"][job]["state"] == "interrupted"
    one.ask("operate", name="rerun", job=job)
    seen = one.ask("wait_for", job=job, state="done")
    assert seen["jobs"][job]["cached"] >= 1  # what was finished was not done again
    assert one.ask("import_job", job=job)["heads"] == {job: job}
