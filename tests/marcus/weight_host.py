"""A host of weights for tests: Hugging Face's listing and files with ranges, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "c0ffee"


class Host:
    """Serves ``files`` of ``repository``; what it shall do wrong can be set while it runs."""

    def __init__(self, repository: str, files: dict[str, bytes], large: frozenset[str] = frozenset()) -> None:
        self.repository, self.files, self.large = repository, dict(files), large
        self.cut_after: int | None = None  # bytes of a body, then the connection ends
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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tree(self) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [{"type": "directory", "path": "a folder", "size": 0, "oid": ""}]
        for path, content in self.files.items():
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
        elif path == f"/api/models/{self.repository}/revision/main":
            self._send(request, json.dumps({"sha": COMMIT}).encode())
        elif path == f"/api/models/{self.repository}/tree/{COMMIT}?recursive=true":
            self._send(request, json.dumps(self.tree()).encode())
        elif path.startswith(f"/{self.repository}/resolve/{COMMIT}/"):
            self._send_file(request, path.split(f"/resolve/{COMMIT}/")[1])
        else:
            self._send_file(request, path.lstrip("/"))

    def _send_file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        if name not in self.files:
            request.send_error(404)
            return
        content = self.files[name]
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
        request.wfile.write(body if self.cut_after is None or not ranges else body[: self.cut_after])
