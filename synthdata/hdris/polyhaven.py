"""Panoramas of Poly Haven (CC0) through its public API, which asks for a name of its own for each program.

Only ``likeness synth fetch-hdris`` goes there. Files are whole or not there: what a broken transfer left is
gone on with, and a file gets its name when its length and MD5 are those that the API states.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from backend import __version__
from backend.errors import BadInput, Missing
from backend.export.map_files import write_whole

API = "https://api.polyhaven.com"
OFFLINE_SWITCH = "LIKENESS_OFFLINE"
RESOLUTIONS = ("1k", "2k", "4k", "8k")
INDEX = "fetched.json"
TERMS = "CC0 1.0, Poly Haven (https://polyhaven.com/license)"
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TRIES, _PATIENCE_S, _CHUNK = 3, 60.0, 1 << 16

Watch = Callable[[str, float], None]


class _File(msgspec.Struct, frozen=True):
    """As the API states it."""

    url: str
    size: int
    md5: str


class Entry(msgspec.Struct, frozen=True):
    """A panorama that lies in the folder."""

    slug: str
    size: int
    md5: str
    sha256: str
    url: str
    authors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """What a run did."""

    new: int
    kept: int  # were there already
    failed: tuple[str, ...]  # a line each


@dataclass(frozen=True)
class Haven:
    """Where the API is, and how long one waits before asking again."""

    api: str = API
    pause_s: float = 2.0


def fetch_panoramas(
    folder: Path,
    count: int,
    resolution: str = "1k",
    haven: Haven = Haven(),
    watch: Watch = lambda stage, share: None,
) -> Fetched:
    """Bring up to ``count`` panoramas into ``folder``; those that are there are kept.

    Which ones does not depend on what is there: they come in an order of their own (by a hash of their
    names), so that fewer are a fair sample of more. Raises: Missing when offline or when the API cannot be
    reached, BadInput for a folder that holds others, OSError.
    """
    if os.environ.get(OFFLINE_SWITCH, "") not in ("", "0"):
        raise Missing(f"{OFFLINE_SWITCH} is set, so nothing is fetched; unset it to go online")
    if resolution not in RESOLUTIONS:
        raise BadInput(f"resolution '{resolution}' is not offered; take one of {', '.join(RESOLUTIONS)}")
    folder.mkdir(exist_ok=True)
    index = _read_index(folder)
    assets = _listed(haven)
    chosen = sorted(assets, key=lambda slug: hashlib.sha256(slug.encode()).digest())[:count]
    new, kept, failed = 0, 0, []
    for number, slug in enumerate(chosen):
        watch(f"{number + 1} of {len(chosen)}: {slug}", number / len(chosen))
        path = folder / f"{slug}_{resolution}.hdr"
        if path.name in index and path.is_file() and path.stat().st_size == index[path.name].size:
            kept += 1
            continue
        try:
            file = _file_of(haven, slug, resolution)
            sha256 = _brought(haven, file, path)
        except (_Refused, urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            failed.append(f"{slug} was skipped: {_line(error)}")
            continue
        index[path.name] = Entry(slug, file.size, file.md5, sha256, file.url, _authors(assets[slug]))
        _write_index(folder, index)
        new += 1
    if chosen and not new and not kept:
        raise Missing(f"none of {len(chosen)} panoramas came; {failed[0]}")
    return Fetched(new, kept, tuple(failed))


class _Refused(Exception):
    """A file that cannot be taken."""


def _listed(haven: Haven) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(_get(haven, f"{haven.api}/assets?type=hdris"))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise Missing(f"Poly Haven cannot be reached ({_line(error)}); try again later") from error
    except msgspec.DecodeError as error:
        raise Missing(f"Poly Haven's list cannot be read ({error}); try again later") from error
    if not isinstance(found, dict):
        raise Missing("Poly Haven's list is not what this version of Likeness knows")
    return {slug: about for slug, about in found.items() if _SLUG.fullmatch(slug)}


def _file_of(haven: Haven, slug: str, resolution: str) -> _File:
    try:
        files = msgspec.json.decode(_get(haven, f"{haven.api}/files/{slug}"))
        file = msgspec.convert(files["hdri"][resolution]["hdr"], _File)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise _Refused(f"there is no .hdr of {resolution}") from error
    if not file.url.startswith(("https://", haven.api)):
        raise _Refused(f"its address is no https ({file.url[:60]})")
    return file


def _brought(haven: Haven, file: _File, path: Path) -> str:
    """Bring ``file`` to ``path``, from where the last try ended; its SHA-256."""
    part = path.with_name(f"{path.name}.part")
    if part.is_file() and part.stat().st_size > file.size:
        part.unlink()
    for left in reversed(range(_TRIES)):
        try:
            _append(file, part)
            break
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
            if not left:
                raise
            time.sleep(haven.pause_s)
    data = part.read_bytes()
    if len(data) != file.size or hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
        part.unlink()
        raise _Refused("what came does not have its checksum; run again")
    part.replace(path)
    return hashlib.sha256(data).hexdigest()


def _append(file: _File, part: Path) -> None:
    there = part.stat().st_size if part.is_file() else 0
    if there == file.size:
        return
    headers = {"Range": f"bytes={there}-"} if there else {}
    with _open(file.url, headers) as answer, part.open("ab" if answer.status == 206 else "wb") as out:
        while piece := answer.read(_CHUNK):
            out.write(piece)
    if part.stat().st_size < file.size:
        raise http.client.IncompleteRead(b"", file.size - part.stat().st_size)


def _get(haven: Haven, url: str) -> bytes:
    for left in reversed(range(_TRIES)):
        try:
            with _open(url, {}) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if not left or error.code < 500:
                raise
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError):
            if not left:
                raise
        time.sleep(haven.pause_s)
    raise AssertionError


def _open(url: str, headers: dict[str, str]) -> Any:
    asked = urllib.request.Request(url, headers={"User-Agent": f"likeness/{__version__}", **headers})
    return urllib.request.urlopen(asked, timeout=_PATIENCE_S)


def _authors(about: Any) -> tuple[str, ...]:
    named = about.get("authors") if isinstance(about, dict) else None
    return tuple(sorted(str(name) for name in named)) if isinstance(named, dict) else ()


def _line(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).splitlines()[0] if str(reason) else type(error).__name__


def _read_index(folder: Path) -> dict[str, Entry]:
    path = folder / INDEX
    if not path.is_file():
        if (folder / "LICENCE.txt").exists():
            raise BadInput(f"'{folder}' holds panoramas under other terms; choose a folder of its own")
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Entry])
    except msgspec.DecodeError as error:
        raise BadInput(f"'{path}' is damaged ({error}); delete it and fetch again") from error


def _write_index(folder: Path, index: dict[str, Entry]) -> None:
    ordered = dict(sorted(index.items()))
    credits = (f"{name}: {', '.join(entry.authors) or 'Poly Haven'}" for name, entry in ordered.items())
    write_whole(folder / INDEX, msgspec.json.format(msgspec.json.encode(ordered), indent=2) + b"\n")
    write_whole(folder / "LICENCE.txt", "\n".join((TERMS, "", *credits, "")).encode())
