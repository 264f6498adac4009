"""Bringing an avatar folder from a server elsewhere: in pieces, interrupted, resumed, and lied to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import FakeServer, job_info

from blender_addon import download, protocol
from blender_addon.client import Client, Pace
from blender_addon.download import DownloadError, bring_files, bring_job, forget_job

Connect = Callable[..., Client]

RANDOM = np.random.default_rng(3)
CONTENT = {
    "avatar.json": b"{}",
    "maps/albedo.png": RANDOM.bytes(1000),
    "maps/deep/normal.png": RANDOM.bytes(257),
    "empty.txt": b"",
}
JOB = "3b7c"


class Share:
    """A server that hands out CONTENT, counting what it is asked for."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.content = dict(CONTENT)
        self.sent = 0
        self.largest = 10_000
        self.limit = 10**9  # requests after which it does not answer any more
        self.lies: dict[str, Any] = {}
        server.answers[protocol.Fetch] = self._fetch

    def _fetch(self, request: protocol.Fetch, bulk: list[bytes]) -> tuple[protocol.Reply, list[bytes]]:
        data = self.content[request.name]
        piece = data[request.offset :][: min(download.CHUNK_BYTES, self.largest)]
        self.limit -= 1
        if self.limit < 0:
            self.server.does.silent = True
            problem = protocol.Problem(code="refused", message="gone")
            return protocol.Failure(id=0x7FFF, problem=problem), []  # nobody's answer
        self.sent += len(piece)
        reply = {"id": request.id, "offset": request.offset, "total_bytes": len(data)} | self.lies
        return protocol.Chunk(**reply), [piece]

    @property
    def info(self) -> protocol.JobInfo:
        files = tuple(protocol.FileRef(name=n, size_bytes=len(d)) for n, d in self.content.items())
        return job_info(JOB, "done", files=files, finished_s=1.0)


@pytest.fixture
def share(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Share:
    monkeypatch.setattr(download, "CHUNK_BYTES", 64)
    return Share(server)


def folder_content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".contents.json"
    }


def test_a_whole_folder(share: Share, connect: Connect, tmp_path: Path) -> None:
    fractions: list[float] = []
    client = connect(share.server.connection_file)
    folder = bring_job(client, share.info, tmp_path / "avatars", on_progress=fractions.append)
    assert folder == tmp_path / "avatars" / JOB
    assert folder_content(folder) == CONTENT
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert [path.name for path in (tmp_path / "avatars").iterdir()] == [JOB]


def test_pieces_smaller_than_asked_for(share: Share, connect: Connect, tmp_path: Path) -> None:
    share.largest = 10
    folder = bring_job(connect(share.server.connection_file), share.info, tmp_path / "avatars")
    assert folder_content(folder) == CONTENT


def test_what_is_there_is_not_brought_again(share: Share, connect: Connect, tmp_path: Path) -> None:
    client = connect(share.server.connection_file)
    bring_job(client, share.info, tmp_path / "avatars")
    sent = share.sent
    bring_job(client, share.info, tmp_path / "avatars")
    assert share.sent == sent


def test_interrupted_download_goes_on(
    share: Share, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    share.limit = 9
    client = connect(share.server.connection_file)
    stop = threading.Event()

    def stop_at_the_end(fraction: float) -> None:
        if share.limit < 0:
            stop.set()

    with pytest.raises(DownloadError):
        bring_job(client, share.info, tmp_path / "avatars", stop=stop, on_progress=stop_at_the_end)
    assert not (tmp_path / "avatars" / JOB).exists()
    first = share.sent
    assert first > 0
    share.server.does.silent, share.limit = False, 10**9
    folder = bring_job(client, share.info, tmp_path / "avatars")
    assert folder_content(folder) == CONTENT
    again = share.sent - first
    assert again <= sum(map(len, CONTENT.values())) - 64 * 4


def test_a_lost_connection_is_survived(share: Share, connect: Connect, tmp_path: Path) -> None:
    share.limit = 9
    client = connect(share.server.connection_file)

    def revive() -> None:
        share.server.does.silent, share.limit = False, 10**9

    timer = threading.Timer(0.8, revive)
    timer.start()
    folder = bring_job(client, share.info, tmp_path / "avatars")
    timer.join()
    assert folder_content(folder) == CONTENT


def test_cancel_leaves_nothing_under_the_jobs_name(share: Share, connect: Connect, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(DownloadError, match="cancelled"):
        bring_job(
            connect(share.server.connection_file),
            share.info,
            tmp_path / "avatars",
            stop=stop,
            on_progress=lambda fraction: stop.set() if fraction > 0.3 else None,
        )
    assert not (tmp_path / "avatars" / JOB).exists()


def test_another_result_of_the_job_replaces_the_old_one(
    share: Share, connect: Connect, tmp_path: Path
) -> None:
    client = connect(share.server.connection_file)
    partial = tmp_path / "avatars" / f"{JOB}.partial"
    partial.mkdir(parents=True)
    (partial / ".contents.json").write_bytes(b"other")
    (partial / "stale.png.part").write_bytes(b"x")
    bring_job(client, share.info, tmp_path / "avatars")
    share.content = {"avatar.json": b"{1}"}
    folder = bring_job(client, share.info, tmp_path / "avatars")
    assert folder_content(folder) == {"avatar.json": b"{1}"}


@pytest.mark.parametrize(
    ("lies", "words"),
    [({"total_bytes": 999}, "999 bytes on the backend"), ({"offset": 5}, "something else")],
)
def test_sizes_and_places_are_checked(
    share: Share, connect: Connect, tmp_path: Path, lies: dict[str, int], words: str
) -> None:
    share.lies = lies
    with pytest.raises(DownloadError, match=words):
        bring_job(connect(share.server.connection_file), share.info, tmp_path / "avatars")
    assert not (tmp_path / "avatars" / JOB).exists()


def test_an_empty_piece_does_not_loop(share: Share, connect: Connect, tmp_path: Path) -> None:
    share.largest = 0
    with pytest.raises(DownloadError, match="0 bytes"):
        bring_job(connect(share.server.connection_file), share.info, tmp_path / "avatars")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\\b", "C:x", "a//b", "", "maps/..", "a?b"])
def test_names_that_leave_the_folder(server: FakeServer, connect: Connect, tmp_path: Path, name: str) -> None:
    info = job_info(JOB, "done", files=(protocol.FileRef(name=name, size_bytes=1),))
    with pytest.raises(DownloadError, match="not allowed"):
        bring_job(connect(server.connection_file), info, tmp_path / "avatars")
    assert not server.seen(protocol.Fetch)


def test_refused_by_the_server(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    problem = protocol.Problem(code="unknown_job", message="no such job")
    server.answers[protocol.Fetch] = lambda request, bulk: (
        protocol.Failure(id=request.id, problem=problem),
        [],
    )
    info = job_info(JOB, "done", files=(protocol.FileRef(name="a", size_bytes=1),))
    with pytest.raises(DownloadError, match="no such job") as caught:
        bring_job(connect(server.connection_file), info, tmp_path / "avatars")
    assert caught.value.problem == problem


def test_on_the_servers_machine_nothing_is_copied(
    server: FakeServer, connect: Connect, tmp_path: Path
) -> None:
    server.answers[protocol.Hello] = lambda request, bulk: (
        protocol.Welcome(id=request.id, protocol=1, server="s", session="s", same_machine=True),
        [],
    )
    client = connect(server.connection_file)
    client.request(protocol.Ping(id=0)).result(5)
    info = job_info(JOB, "done", directory=str(tmp_path / "theirs"))
    assert bring_job(client, info, tmp_path / "avatars") == tmp_path / "theirs"
    assert not (tmp_path / "avatars").exists()


def test_files_of_a_job_that_still_runs(share: Share, connect: Connect, tmp_path: Path) -> None:
    files = share.info.files[:2]
    bring_files(connect(share.server.connection_file, Pace()), JOB, files, tmp_path / "live")
    assert folder_content(tmp_path / "live") == {file.name: CONTENT[file.name] for file in files}


def test_what_was_brought_of_a_forgotten_job_is_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "other" / "mesh.npz"
    for folder in ("job", "job.partial", "job.growing", "other"):
        (tmp_path / folder / "maps").mkdir(parents=True)
        (tmp_path / folder / "mesh.npz").write_bytes(b"a face")
    forget_job(tmp_path, "job")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert kept.read_bytes() == b"a face"
    assert not caplog.records
    (tmp_path / "job").write_bytes(b"a file, which cannot be removed as a folder")
    forget_job(tmp_path, "job")
    assert "delete it by hand" in caplog.text
    with pytest.raises(DownloadError):
        forget_job(tmp_path, "../job")
