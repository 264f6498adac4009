"""A host of weights for tests: Hugging Face's listing and files with ranges, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "c0ffee"


def files_in(folder: Path) -> dict[str, bytes]:
    """A folder's files as a repository holds them."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Host:
    """Serves ``files`` of ``repository``; what it shall do wrong can be set while it runs.

    ``also`` are further repositories, beside which ``files`` is the first.
    """

    def __init__(self, repository: str, files: dict[str, bytes], large: frozenset[str] = frozenset()) -> None:
        self.repository, self.files, self.large = repository, dict(files), large
        self.also: dict[str, dict[str, bytes]] = {}
        self.cut_after: int | None = None  # bytes of a body, then the connection ends …
        self.hang = 0.0  # … after so many seconds, or when the host closes
        self.spoiled: set[str] = set()  # files whose bytes are other than listed
        self.status: int | None = None  # answered instead of anything else
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        self.tokens: list[str | None] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *arguments: object) -> None:
                return None

        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def tree(self, files: dict[str, bytes]) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [{"type": "directory", "path": "a folder", "size": 0, "oid": ""}]
        for path, content in files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": blob}
            if path in self.large:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry)
        return entries

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path)
        self.requests.append((path, request.headers.get("Range")))
        self.tokens.append(request.headers.get("Authorization"))
        if self.status is not None:
            request.send_error(self.status)
        else:
            for repository, files in {self.repository: self.files, **self.also}.items():
                if path == f"/api/models/{repository}/revision/main":
                    return self._send(request, json.dumps({"sha": COMMIT}).encode())
                if path == f"/api/models/{repository}/tree/{COMMIT}?recursive=true":
                    return self._send(request, json.dumps(self.tree(files)).encode())
                if path.startswith(f"/{repository}/resolve/{COMMIT}/"):
                    return self._send_file(request, path.split(f"/resolve/{COMMIT}/")[1], files)
            self._send_file(request, path.lstrip("/"), self.files)
        return None

    def _send_file(self, request: BaseHTTPRequestHandler, name: str, files: dict[str, bytes]) -> None:
        if name not in files:
            request.send_error(404)
            return
        content = files[name]
        if name in self.spoiled:
            content = bytes(255 - b for b in content)
        self._send(request, content, ranges=True)

    def _send(self, request: BaseHTTPRequestHandler, content: bytes, ranges: bool = False) -> None:
        start = 0
        asked = request.headers.get("Range")
        if ranges and asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        body = content[start:]
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.cut_after is None or not ranges:
            request.wfile.write(body)
            return
        request.wfile.write(body[: self.cut_after])
        request.wfile.flush()
        if len(body) > self.cut_after:
            self._closed.wait(self.hang)
