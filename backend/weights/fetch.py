"""Sets of weights brought into the weights folder, from their host, a mirror or a local folder."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from backend.errors import BadWeights, Missing, OutOfResources
from backend.weights.catalogue import WeightSet
from backend.weights.download import (
    PART,
    Remote,
    check_file,
    fetch_file,
    file_sha256,
    get_json,
    token_of_user,
)
from backend.weights.licences import accept, accepted

HOST = "https://huggingface.co"
RECORD = "likeness-record.json"  # in a set's folder: what was fetched, by set
MARGIN = 1 << 30  # bytes of disk to leave free

Progress = Callable[[str, int, int], None]  # file, bytes of all that are there, bytes in all


@dataclass(frozen=True)
class Listing:
    """What a set consists of at one revision."""

    revision: str
    files: tuple[Remote, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def require_terms(root: Path, one: WeightSet, agreed: bool) -> None:
    """Record that the user accepts the set's terms. Raises: Missing where neither now nor before."""
    if agreed:
        accept(root, one.name, one.terms)
    elif accepted(root).get(one.name) != one.terms:
        raise Missing(
            f"{one.name}: {one.terms} See {one.page}. To accept these terms run the same command with "
            "--accept-licence"
        )


def listing(one: WeightSet, mirror: str | None = None) -> Listing:
    """Files, sizes and checksums as the host states them now. Raises: Missing."""
    if one.repository is None:
        files = tuple(
            Remote(name, _mirrored(at.url, mirror), at.size, at.sha256) for name, at in one.urls.items()
        )
        return Listing("", files)
    host = (mirror or os.environ.get("HF_ENDPOINT") or HOST).rstrip("/")
    token = token_of_user()
    commit = get_json(f"{host}/api/models/{one.repository}/revision/{one.revision}", token).get("sha")
    entries = get_json(f"{host}/api/models/{one.repository}/tree/{commit}?recursive=true", token)
    files = tuple(
        _remote(entry, f"{host}/{one.repository}/resolve/{commit}")
        for entry in entries
        if entry.get("type") == "file" and _wanted(one, entry["path"])
    )
    if not files:
        raise Missing(f"{host}/{one.repository} holds none of the files of '{one.name}'; see {one.page}")
    return Listing(str(commit), files)


def fetch(root: Path, one: WeightSet, listed: Listing, progress: Progress) -> Path:
    """Bring all files of ``one`` into ``root`` and record them; files that are there are not asked for again.

    Raises: Missing, BadWeights, OutOfResources (disk), OSError, what ``progress`` raises.
    """
    folder = root / one.folder
    folder.mkdir(parents=True, exist_ok=True)
    known = read_record(folder).get(one.name, {}).get("files", {})
    wanted = [f for f in listed.files if not _is_there(folder, f, known)]
    _require_room(folder, sum(f.size - _part_size(folder, f) for f in wanted))
    before = listed.size - sum(f.size for f in wanted)
    done: dict[str, dict[str, Any]] = {
        f.path: known[f.path] for f in listed.files if f not in wanted and f.path in known
    }
    for remote in wanted:
        start = before

        def told(count: int, path: str = remote.path, start: int = start) -> None:
            progress(path, start + count, listed.size)

        fetch_file(remote, folder / remote.path, told, token_of_user())
        before += remote.size
        done[remote.path] = {"size": remote.size, "sha256": file_sha256(folder / remote.path)}
        _write_record(folder, one, listed.revision, done)
    _write_record(folder, one, listed.revision, done)
    return folder


def take_from(root: Path, one: WeightSet, source: Path, progress: Progress) -> Path:
    """Copy the set's files out of a local folder, which holds them as the repository does.

    Raises: Missing (none there), BadWeights (checksum known and another), OutOfResources, OSError.
    """
    found = [p for p in sorted(source.rglob("*")) if p.is_file() and _wanted(one, _posix(p, source))]
    if not found:
        raise Missing(f"'{source}' holds none of the files of '{one.name}' ({', '.join(one.files[:3])} …)")
    folder = root / one.folder
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(p.stat().st_size for p in found)
    _require_room(folder, total)
    done: dict[str, dict[str, Any]] = {}
    before = 0
    for path in found:
        name = _posix(path, source)
        at = one.urls.get(name)
        if at is not None and (problem := check_file(path, Remote(name, at.url, at.size, at.sha256))):
            raise BadWeights(f"'{path}' {problem}; it is another file or damaged")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + PART)
        shutil.copyfile(path, part)
        part.replace(target)
        done[name] = {"size": target.stat().st_size, "sha256": file_sha256(target)}
        before += done[name]["size"]
        progress(name, before, total)
    _write_record(folder, one, f"from {source.name}", done)
    return folder


def verify(root: Path, one: WeightSet) -> list[str]:
    """Every recorded file read again; one line for each that is missing or changed.

    Raises: Missing (never fetched), BadWeights (record unreadable).
    """
    folder = root / one.folder
    record = read_record(folder).get(one.name)
    if record is None:
        raise Missing(f"'{one.name}' was not fetched into '{root}'; run `likeness weights fetch {one.name}`")
    problems = []
    for path, facts in sorted(record["files"].items()):
        problem = check_file(folder / path, Remote(path, "", facts["size"], facts["sha256"]))
        if problem is not None:
            problems.append(f"{one.folder}/{path} {problem}")
    return problems


def read_record(folder: Path) -> Mapping[str, Any]:
    """What was fetched into ``folder``, by set. Raises: BadWeights."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadWeights(f"'{path}' cannot be read ({error}); delete it and fetch again") from error
    return content


def _write_record(folder: Path, one: WeightSet, revision: str, files: Mapping[str, Any]) -> None:
    record = {
        "repository": one.repository,
        "revision": revision,
        "licence": one.licence,
        "files": dict(sorted(files.items())),
    }
    content = {**read_record(folder), one.name: record}
    part = folder / (RECORD + PART)
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / RECORD)


def _remote(entry: Mapping[str, Any], base: str) -> Remote:
    path = str(entry["path"])
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise BadWeights(f"the host lists '{path}', which lies outside its set; nothing was fetched")
    large = entry.get("lfs") or {}
    url = f"{base}/{urllib.parse.quote(path)}"
    return Remote(
        path,
        url,
        int(large.get("size", entry["size"])),
        sha256=large.get("oid"),
        blob=None if large else entry.get("oid"),
    )


def _wanted(one: WeightSet, path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in one.files)


def _is_there(folder: Path, remote: Remote, known: Mapping[str, Any]) -> bool:
    """A file of the right size whose checksum was found right when it was fetched, or is now."""
    path = folder / remote.path
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    recorded = known.get(remote.path, {})
    if remote.sha256 is not None:
        return (recorded.get("sha256") or file_sha256(path)) == remote.sha256
    return check_file(path, remote) is None


def _part_size(folder: Path, remote: Remote) -> int:
    part = folder / (remote.path + PART)
    return part.stat().st_size if part.is_file() else 0


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > 0 and free < needed + MARGIN:
        raise OutOfResources(
            f"{needed / 1e9:.1f} GB are to be fetched and '{folder}' has {free / 1e9:.1f} GB free; make "
            "room, or set LIKENESS_WEIGHTS to a folder on another disk"
        )


def _mirrored(url: str, mirror: str | None) -> str:
    return url if mirror is None else f"{mirror.rstrip('/')}/{url.rsplit('/', 1)[1]}"


def _posix(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
