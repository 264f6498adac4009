"""Full disks and missing rights: one sentence with its remedy, nothing half-written, and on it goes."""

from __future__ import annotations

import pytest
from faults_kit import LIKENESS, PORTRAIT, server_pid

from blender_addon.protocol import Options


def fill(folder, leave_bytes=0):
    """Fill the disk of ``folder``."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
    if leave_bytes:
        with filler.open("r+b") as file:
            file.truncate(max(0, filler.stat().st_size - leave_bytes))
    return filler


def one_sentence(text: str) -> bool:
    return bool(text) and "\n" not in text and "Errno" not in text and "Traceback" not in text


def test_the_servers_disk_is_full_when_a_photo_comes(addon, pretending, disk):
    data = disk("data", "3m")
    one = addon(pretending(), data=data)
    one.ready()
    filler = fill(data)
    one.runtime.submit_photo(PORTRAIT, Options(engine="good"))
    one.until(lambda: one.view.notice)
    assert "disk is full" in one.view.notice.text
    assert "free some space" in one.view.notice.text
    assert one_sentence(one.view.notice.text)
    assert list((data / "photos").iterdir()) == []
    assert one.view.jobs == {}
    filler.unlink()
    one.runtime.submit_photo(PORTRAIT, Options(engine="good"))
    one.until(lambda: one.view.jobs and one.job().state == "done")


@pytest.mark.slow
def test_the_servers_disk_fills_up_in_the_middle_of_a_real_job(addon, disk):
    data = disk("data", "2500k")
    one = addon(LIKENESS, data=data)
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(maps=512))
    one.until(lambda: one.view.jobs and not one.job().is_active)
    job = one.job()
    assert job.state == "failed"
    assert job.problem.code == "out_of_resources", job.problem
    assert one_sentence(job.problem.message)
    assert "full" in job.problem.message or "space" in job.problem.message
    assert list((data / "jobs").iterdir()) == []
    assert not list(data.glob("cache/*/.*.partial"))
    disk.change(data, "size=200m")
    one.runtime.rerun(job.job)
    one.until(lambda: job.is_active)
    one.until(lambda: not job.is_active)
    assert job.state == "done", job.problem
    one.until(lambda: one.built and one.built[-1].complete)


@pytest.mark.parametrize("room", [0, 16384])  # for logs, not for the journal
def test_the_disk_is_full_when_the_backend_is_started(addon, pretending, disk, room):
    data = disk("data", "1m")
    filler = fill(data, leave_bytes=room)
    one = addon(pretending(), data=data)
    one.runtime.start_backend()
    one.until(lambda: one.view.backend.state == "failed")
    assert "disk" in one.view.backend.message  # what it says itself does not fit on the disk either
    assert "free some" in one.view.backend.message
    assert one_sentence(one.view.backend.message)
    assert server_pid(data) is None
    assert one.view.backend.remedy == "restart"
    filler.unlink()
    one.runtime.restart_backend()
    one.until(lambda: one.view.backend.state == "ready")


def test_no_right_to_write_the_data_folder(addon, pretending, disk):
    data = disk("data", "1m")
    disk.change(data, "ro")
    one = addon(pretending(), data=data)
    one.runtime.start_backend()
    one.until(lambda: one.view.backend.state == "failed")
    assert str(data) in one.view.backend.message
    assert "right" in one.view.backend.message
    assert one_sentence(one.view.backend.message)
    assert one.view.backend.remedy == "restart"
    disk.change(data, "rw")
    assert list(data.iterdir()) == []
    one.runtime.restart_backend()
    one.until(lambda: one.view.backend.state == "ready")
