"""The heads of the open file, looked up by their marks each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .scene import identity
from .scene.quality import DIRECTORY_KEY

JOB_KEY = "likeness_job"  # on the root: the job that the head was built from


def uuids() -> list[str]:
    """The heads of the file, by the name of their collections."""
    found = [
        (block.name, str(block[identity.UUID_KEY]))
        for block in bpy.data.collections
        if block.get(identity.ROLE_KEY) == "collection" and identity.UUID_KEY in block
    ]
    return [uuid for _, uuid in sorted(found)]


def active(context: Any) -> str | None:
    """The head that the artist means: of the active object or its parents, else the only one."""
    obj = getattr(context, "active_object", None)
    while obj is not None:
        if identity.UUID_KEY in obj:
            return str(obj[identity.UUID_KEY])
        obj = obj.parent
    all_heads = uuids()
    return all_heads[0] if len(all_heads) == 1 else None


def obstacle(context: Any) -> str | None:
    """Why there is no head to work on."""
    if active(context) is not None:
        return None
    return "Select a head first" if uuids() else "There is no head in this file yet"


def require(context: Any) -> identity.AvatarObjects:
    """The active head's objects. Raises: LookupError; operators ask ``obstacle`` first."""
    uuid = active(context)
    head = identity.find(uuid) if uuid is not None else None
    if head is None:
        raise LookupError(obstacle(context) or "the head is not whole; import it again")
    return head


def note_job(uuid: str, job: str) -> None:
    """Remember on the head which job it was built from."""
    head = identity.find(uuid)
    if head is not None:
        head.root[JOB_KEY] = job


def job_of(uuid: str) -> str | None:
    """The job that the head was built from; None for a folder opened by hand."""
    head = identity.find(uuid)
    job = head.root.get(JOB_KEY) if head is not None else None
    return str(job) if job else None


def folder_of(uuid: str) -> Path | None:
    """The avatar folder of the head, None when it is not there (any more)."""
    head = identity.find(uuid)
    folder = head.collection.get(DIRECTORY_KEY) if head is not None else None
    return Path(folder) if folder and Path(folder).is_dir() else None


def avatar_of(uuid: str, *, same_machine: bool) -> str | None:
    """The avatar as the server knows it: its folder, or from elsewhere its job; None when both are gone."""
    folder = folder_of(uuid)
    return str(folder.resolve()) if folder is not None and same_machine else job_of(uuid)


def skin(uuid: str) -> Any | None:
    """The skin's mesh object, which carries all shape keys."""
    head = identity.find(uuid)
    return head.parts.get("skin") if head is not None else None
