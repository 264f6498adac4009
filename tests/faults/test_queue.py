"""Fifty photos at once from one add-on, one of which kills its worker."""

from __future__ import annotations

from faults_kit import PORTRAIT

from blender_addon.protocol import Options

FATAL = 25


def test_fifty_queued_jobs_and_one_that_kills_its_worker(addon, pretending):
    one = addon(pretending())
    one.ready()
    for number in range(50):
        engine = "crash@2" if number == FATAL else "good"
        one.runtime.submit_photo(PORTRAIT, Options(engine=engine, seed=number))
    one.until(lambda: len(one.runtime.heads) == 50)
    one.until(lambda: len(one.view.jobs) == 50 and not any(job.is_active for job in one.view.jobs.values()))
    jobs = sorted(one.view.jobs.values(), key=lambda job: job.options.seed)
    assert [job.options.seed for job in jobs if job.state != "done"] == [FATAL]
    ended = [job.finished_s for job in jobs]
    assert ended == sorted(ended)  # in the order in which they were asked for
    one.until(lambda: len({head.uuid for head in one.built if head.complete}) == 49)
    assert one.view.notice is None
