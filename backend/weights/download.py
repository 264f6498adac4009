"""Single files over HTTP: resumed where a part is there already, checked before they take their name."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend import __version__
from backend.errors import BadWeights, Missing

PATIENCE_S = 60.0
BLOCK = 1 << 20
ATTEMPTS = 3  # connections in a row that bring nothing
PART = ".part"


@dataclass(frozen=True)
class Remote:
    """A file to fetch and what is known of it."""

    path: str  # within its set, with forward slashes
    url: str
    size: int
    sha256: str | None = None
    blob: str | None = None  # git's SHA-1 of a small file


def get_json(url: str, token: str | None = None) -> Any:
    """The JSON at ``url``. Raises: Missing."""
    try:
        with _open(url, token, 0) as answer:
            return json.load(answer)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ValueError, OSError) as error:
        raise Missing(_unreachable(url, error)) from error


def fetch_file(remote: Remote, target: Path, told: Callable[[int], None], token: str | None = None) -> None:
    """Bring ``remote`` to ``target``; ``told`` hears how many bytes of it are there.

    What has come so far stays in ``target``'s ``.part`` when the connection or the user ends the transfer,
    and the next call goes on from there. Raises: Missing (unreachable, refused, cut off), BadWeights
    (another size or checksum; the part is then thrown away), OSError, what ``told`` raises.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    idle = 0
    while (have := part.stat().st_size if part.exists() else 0) < remote.size:
        try:
            _transfer(remote, part, have, told, token)
        except urllib.error.HTTPError as error:
            raise Missing(_unreachable(remote.url, error)) from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            now = part.stat().st_size if part.exists() else 0
            idle = 0 if now > have else idle + 1
            if idle >= ATTEMPTS:
                raise Missing(
                    f"fetching {remote.path} was interrupted at {now} of {remote.size} bytes "
                    f"({_words(error)}); run the same command again to go on from there"
                ) from error
    problem = _difference(part, remote)
    if problem is not None:
        part.unlink(missing_ok=True)
        raise BadWeights(f"{remote.path} from {remote.url} {problem}; fetch it again, or from another mirror")
    part.touch()
    part.replace(target)


def check_file(path: Path, remote: Remote) -> str | None:
    """What is wrong with the file at ``path``, None where it is ``remote``'s."""
    return _difference(path, remote) if path.is_file() else "is not there"


def file_sha256(path: Path) -> str:
    """Hexadecimal. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def token_of_user() -> str | None:
    """The user's own token for gated repositories, where the environment holds one."""
    return os.environ.get("HF_TOKEN") or None


def _transfer(remote: Remote, part: Path, have: int, told: Callable[[int], None], token: str | None) -> None:
    with _open(remote.url, token, have) as answer:
        resumed = have > 0 and answer.status == http.client.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as file:
            count = have if resumed else 0
            while block := answer.read1(BLOCK):  # what has come, however little: a kill loses nothing more
                file.write(block)
                count += len(block)
                told(min(count, remote.size))
                if count > remote.size:
                    return  # told apart by its size
    if count < remote.size:
        raise ConnectionError("the connection ended early")


def _difference(path: Path, remote: Remote) -> str | None:
    size = path.stat().st_size
    if size != remote.size:
        return f"has {size} bytes, expected {remote.size}"
    if remote.sha256 is not None:
        found = file_sha256(path)
        return None if found == remote.sha256 else f"has sha256 {found[:12]}…, expected {remote.sha256[:12]}…"
    if remote.blob is not None:
        content = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return None if found == remote.blob else f"has git hash {found[:12]}…, expected {remote.blob[:12]}…"
    return None


def _open(url: str, token: str | None, start: int) -> Any:
    headers = {"User-Agent": f"likeness/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    if token:
        # Not among the headers that follow a redirect to a storage host.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.urlopen(request, timeout=PATIENCE_S)


def _unreachable(url: str, error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
        return (
            f"{url} may not be read without signing in: accept its terms on its page, then set HF_TOKEN to "
            "your token and run the same command again"
        )
    if isinstance(error, urllib.error.HTTPError) and error.code == 404:
        return f"{url} does not exist (any more); try another --mirror"
    return f"{url} cannot be reached ({_words(error)}); try again, or --mirror URL, or --from DIR"


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__
