"""Fetching panoramas, against a server of our own; Blender's; those of the user."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput, Missing
from backend.shading.environment import read_hdr, write_hdr
from synthdata.hdris.command import fetch_hdris
from synthdata.hdris.folders import blender_panoramas
from synthdata.hdris.polyhaven import INDEX, OFFLINE_SWITCH, Haven, fetch_panoramas
from synthdata.light.panoramas import survey


class _Server(ThreadingHTTPServer):
    """Five panoramas; counts what it is asked, and breaks off or spoils files when told to."""

    def __init__(self, picture: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.picture = picture
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.agents: set[str] = set()
        self.breaks_off: dict[str, int] = {}  # how often a file is sent only in half
        self.spoilt: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        server, path = self.server, self.path
        server.asked.append(path)
        server.agents.add(self.headers["User-Agent"])
        if path == "/assets?type=hdris":
            named = {f"place_{k}": {"authors": {"Ann Author": "All"}} for k in range(5)}
            self._send(json.dumps({**named, "../evil": {}}).encode())
        elif found := re.fullmatch(r"/files/(\w+)", path):
            name, data = found[1], server.picture
            file = {
                "url": f"{server.url}/{name}.hdr",
                "size": len(data),
                "md5": hashlib.md5(data).hexdigest(),
            }
            self._send(json.dumps({"hdri": {"1k": {"hdr": file}}, "colorchart": {}}).encode())
        else:
            self._send_file(path)

    def _send_file(self, path: str) -> None:
        server, data = self.server, self.server.picture
        start = 0
        if asked := self.headers.get("Range"):
            server.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if path in server.spoilt:
            data = data[:-1] + b"x"
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if server.breaks_off.get(path, 0):
            server.breaks_off[path] -= 1
            self.wfile.write(data[start : start + (len(data) - start) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def _send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    write_hdr(tmp_path / "one.hdr", np.random.default_rng(0).random((16, 32, 3)).astype(np.float32) + 0.1)
    running = _Server((tmp_path / "one.hdr").read_bytes())
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def _haven(server: _Server) -> Haven:
    return Haven(server.url, pause_s=0.0)


def test_panoramas_come_once_with_their_terms_and_serve_a_run(server: _Server, tmp_path: Path) -> None:
    folder = tmp_path / "hdris"
    first = fetch_panoramas(folder, 3, haven=_haven(server))
    assert (first.new, first.kept, first.failed) == (3, 0, ())
    files = sum(path.endswith(".hdr") for path in server.asked)
    more = fetch_panoramas(folder, 5, haven=_haven(server))
    assert (more.new, more.kept) == (2, 3)
    assert sum(path.endswith(".hdr") for path in server.asked) - files == 2  # nothing came twice
    assert all(agent.startswith("likeness/") for agent in server.agents)
    found = survey(folder)
    assert len(found.paths) == 5
    assert all(licence.licence.startswith("CC0") for licence in found.licences)
    assert "Ann Author" in (folder / "LICENCE.txt").read_text()
    index = json.loads((folder / INDEX).read_text())
    for path in found.paths:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == index[path.name]["sha256"]
    assert not list(folder.glob("*.part"))
    assert not list(tmp_path.glob("evil*"))


def test_a_transfer_broken_off_goes_on_where_it_ended(server: _Server, tmp_path: Path) -> None:
    server.breaks_off = {f"/place_{k}.hdr": 1 for k in range(5)}
    done = fetch_panoramas(tmp_path / "hdris", 5, haven=_haven(server))
    assert (done.new, done.failed) == (5, ())
    assert len(server.ranges) == 5
    assert all(read_hdr(path).radiance.any() for path in survey(tmp_path / "hdris").paths)


def test_a_file_that_never_comes_whole_is_skipped_and_gone_on_with_later(
    server: _Server, tmp_path: Path
) -> None:
    server.breaks_off, server.spoilt = {"/place_1.hdr": 99}, {"/place_2.hdr"}
    done = fetch_panoramas(tmp_path / "hdris", 5, haven=_haven(server))
    assert done.new == 3
    assert any("place_2 was skipped" in line and "checksum" in line for line in done.failed)
    assert any("place_1 was skipped" in line for line in done.failed)
    server.breaks_off, server.spoilt = {}, set()
    again = fetch_panoramas(tmp_path / "hdris", 5, haven=_haven(server))
    assert (again.new, again.kept) == (2, 3)


def test_offline_nothing_is_asked(server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE_SWITCH, "1")
    with pytest.raises(Missing, match="LIKENESS_OFFLINE is set"):
        fetch_panoramas(tmp_path / "hdris", 1, haven=_haven(server))
    assert server.asked == []
    assert not (tmp_path / "hdris").exists()


def test_no_server_and_foreign_folders_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Missing, match="cannot be reached"):
        fetch_panoramas(tmp_path / "hdris", 1, haven=Haven("http://127.0.0.1:9", pause_s=0.0))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "LICENCE.txt").write_text("mine")
    with pytest.raises(BadInput, match="other terms"):
        fetch_panoramas(tmp_path / "own", 1, haven=Haven("http://127.0.0.1:9"))
    monkeypatch.setenv(OFFLINE_SWITCH, "1")
    with pytest.raises(Missing, match="LIKENESS_OFFLINE"):
        fetch_hdris(tmp_path / "hdris")
    with pytest.raises(BadInput, match="create its parent"):
        fetch_hdris(tmp_path / "no" / "hdris")


@pytest.mark.blend
def test_blenders_panoramas_are_found_without_blender_and_can_be_read() -> None:
    found = survey(blender_panoramas())
    assert len(found.paths) == 8
    assert found.skipped == ()
    assert all("CC0" in licence.licence for licence in found.licences)


def test_an_exr_panorama_is_read_and_a_broken_one_told(tmp_path: Path) -> None:
    """Files of another writer are in the test above."""
    import cv2

    light = np.random.default_rng(1).random((8, 16, 3)).astype(np.float32) * 40
    whole, broken = tmp_path / "one.exr", tmp_path / "two.exr"
    broken.write_bytes(b"v/1\x01 but no more")
    with pytest.raises(BadInput, match=r"two\.exr is not an OpenEXR"):
        read_hdr(broken)  # this also lets OpenCV write the format
    assert cv2.imwrite(str(whole), light[..., ::-1])
    np.testing.assert_allclose(read_hdr(whole).radiance, light, rtol=1e-3)
