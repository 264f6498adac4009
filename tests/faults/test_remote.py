"""A server on another machine, as the panels use it: preferences, connection file, download."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from faults_kit import LIKENESS, PORTRAIT, end_server, wait_until
from test_disks import fill, one_sentence

from blender_addon.protocol import Options


def free_port() -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
            if port < 65534:
                with socket.socket() as other:
                    if other.connect_ex(("127.0.0.1", port + 1)):
                        return port


class Elsewhere:
    """``likeness serve`` for other machines, and a connection file that it made."""

    def __init__(self, folder: Path, program: Path, *, authorized: bool = True) -> None:
        self.folder, self.program = folder, program
        self.data, self.clients, self.port = folder / "server", folder / "clients", free_port()
        keys = self.clients if authorized else folder / "others"
        self.clients.mkdir(parents=True)
        self._likeness(
            "keys", "anna", "--data", self.data, "--address", f"tcp://127.0.0.1:{self.port}", "-o", keys
        )
        self.connection = keys / "anna.connection.json"
        self.process: subprocess.Popen | None = None

    def _likeness(self, *arguments: object) -> None:
        command = [str(self.program), "serve", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        address = f"tcp://127.0.0.1:{self.port}"
        arguments = ["--data", self.data, "--bind", address, "--authorize", self.clients]
        self.process = subprocess.Popen(
            [str(self.program), "serve", *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        assert "other machines" in self.process.stdout.readline()

    def stop(self) -> None:
        end_server(self.data)
        if self.process is not None:
            self.process.wait(timeout=30)
            self.process.stdout.close()


@pytest.fixture
def elsewhere(tmp_path):
    made: list[Elsewhere] = []

    def make(program: Path, **options) -> Elsewhere:
        made.append(Elsewhere(tmp_path / "elsewhere", program, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.blend
@pytest.mark.slow
def test_a_head_comes_from_another_machine(blender, elsewhere, warm):
    """As docs/remote.md says: keys, server, preferences; the photo by bytes, the result by pieces."""
    far = elsewhere(LIKENESS)
    warm(far.data)
    far.start()
    one = blender()
    one.ask("prefer", location="REMOTE", connection_file=str(far.connection))
    one.reconstruct()
    answer = one.answer()
    assert "ok" in answer, answer
    seen = answer["ok"]
    ((_, job),) = seen["heads"].items()
    assert not seen["same_machine"]
    assert seen["left_this_machine"]
    downloads = Path(one.ask("folders")["downloads"])
    assert Path(seen["jobs"][job]["directory"]) == downloads / job
    assert sorted(path.name for path in downloads.iterdir()) == [job]  # nothing half-brought beside it
    theirs = far.data / "jobs" / job
    for file in theirs.rglob("*"):
        if file.is_file():
            assert (downloads / job / file.relative_to(theirs)).read_bytes() == file.read_bytes()
    assert not (one.data / "journal.sqlite").exists()  # no server was started here
    assert "another machine" in one.refusal("operate", name="install_backend")
    assert "another machine" in one.refusal("operate", name="stop_backend")

    one.quit()  # a new Blender finds it in the history and imports it from what was brought
    again = blender()
    again.ask("prefer", location="REMOTE", connection_file=str(far.connection))
    again.ask("operate", name="start_backend")
    again.ask("wait_for", job=job, state="done")
    assert list(again.ask("import_job", job=job)["heads"].values()) == [job]
    again.ask("operate", name="forget_photo", job=job)
    wait_until(lambda: again.ask("look", seconds=0.2)["jobs"] == {})
    assert list(downloads.iterdir()) == []
    assert not theirs.exists()


@pytest.mark.blend
def test_a_connection_file_that_is_none_is_one_sentence(blender, tmp_path):
    one = blender()
    one.ask("prefer", location="REMOTE", connection_file="")
    assert "Choose the connection file" in one.refusal("operate", name="start_backend")
    one.ask("prefer", connection_file=str(tmp_path / "gone.json"))
    assert "Choose the connection file" in one.refusal("operate", name="start_backend")
    one.reconstruct()
    said = one.answer()["error"].removeprefix("Error: ").strip()
    assert "gone.json" in said
    assert "choose it in the add-on's preferences" in said
    assert one_sentence(said)
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{}")
    one.ask("prefer", connection_file=str(damaged))
    said = one.refusal("operate", name="start_backend").removeprefix("Error: ").strip()
    assert "damaged.json" in said
    assert "made again" in said
    assert one_sentence(said)
    one.ask("prefer", location="LOCAL")
    assert "online access" in one.refusal("operate", name="install_backend")  # Blender may not go online


def test_a_key_that_is_not_on_the_list_is_told(addon, pretending, elsewhere):
    far = elsewhere(pretending(), authorized=False)
    far.start()
    one = addon(pretending(), remote=far.connection)
    one.runtime.start_backend()
    one.until(lambda: one.view.backend.state == "failed")
    assert "does not accept this client's key" in one.view.backend.message
    assert one_sentence(one.view.backend.message)
    assert one.view.backend.remedy == "preferences"
    (far.folder / "others" / "anna.pub").rename(far.clients / "anna.pub")
    one.until(lambda: one.view.backend.state == "ready")  # by itself


def test_nobody_answers_then_somebody_does(addon, pretending, elsewhere):
    far = elsewhere(pretending())
    one = addon(pretending(), remote=far.connection)
    one.runtime.start_backend()
    one.until(lambda: one.view.backend.state == "failed")
    assert str(far.port) in one.view.backend.message
    assert one_sentence(one.view.backend.message)
    far.start()
    one.until(lambda: one.view.backend.state == "ready")


def test_the_disk_here_is_full_while_a_head_is_brought(addon, pretending, elsewhere, disk):
    """Then said; once there is room the download goes on where it stopped."""
    far = elsewhere(pretending())
    far.start()
    here = disk("here", "2m")
    filler = fill(here, leave_bytes=32768)
    one = addon(pretending(), folder=here, remote=far.connection)
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(engine="good"))
    one.until(lambda: one.view.notice)
    assert "disk is full" in one.view.notice.text
    assert one_sentence(one.view.notice.text)
    job = one.job()
    assert job.state == "done"
    assert job.directory is None
    assert not (here / "avatars" / job.job).exists()
    filler.unlink()
    one.runtime.import_job(job.job)
    one.until(lambda: job.directory is not None)
    one.until(lambda: one.built and one.built[-1].complete)
    assert [path.name for path in (here / "avatars").iterdir()] == [job.job]
    assert (job.directory / "mesh.npz").read_bytes() == PORTRAIT.read_bytes()  # as the pretender does


def test_the_server_is_killed_while_its_head_is_brought(addon, pretending, elsewhere):
    far = elsewhere(pretending())
    far.start()
    one = addon(pretending(), remote=far.connection)
    one.ready()
    one.runtime.submit_photo(PORTRAIT, Options(engine="slow@0"))
    one.until(lambda: one.view.jobs and one.job().stage_index >= 3)
    os.kill(far.process.pid, signal.SIGKILL)
    far.process.wait()
    one.until(lambda: one.view.backend.state == "failed")
    assert one_sentence(one.view.backend.message)
    far.process.stdout.close()
    far.start()
    one.until(lambda: one.view.backend.state == "ready")
    one.until(lambda: one.job().state == "interrupted")
    one.runtime.rerun(one.job().job)
    one.until(lambda: one.built and one.built[-1].complete)
    assert [path.name for path in (one.runtime.control.downloads).iterdir()] == [one.job().job]
