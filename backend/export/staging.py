"""A folder that appears whole or not at all: written under a temporary name, renamed at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from backend.errors import BadInput, OutOfResources
from blender_addon.bundle import is_bundle

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RENAME_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def check_destination(directory: Path, *, overwrite: bool) -> None:
    """Say early whether an avatar may be written to ``directory``.

    Raises: BadInput when its parent is missing or not writable, when it holds an avatar and
    ``overwrite`` is off, or when it holds anything that is not an avatar.
    """
    parent = directory.parent
    if not parent.exists():
        raise BadInput(f"output folder '{parent}' does not exist; create it or choose another")
    if not parent.is_dir():
        raise BadInput(f"'{parent}' is not a folder; choose another output folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise BadInput(f"output folder '{parent}' cannot be written to; choose another")
    if not directory.exists() and not directory.is_symlink():
        return
    if not directory.is_dir():
        raise BadInput(f"'{directory}' is a file; remove it or choose another output folder")
    if is_bundle(directory):
        if not overwrite:
            raise BadInput(f"'{directory}' already holds an avatar; give --overwrite to replace it")
    elif any(directory.iterdir()):
        raise BadInput(f"'{directory}' holds other files; choose another output folder")


@contextlib.contextmanager
def staged_folder(directory: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new empty folder beside ``directory`` that takes its place when the block ends well.

    When the block raises, the new folder is removed and what was at ``directory`` stays as it was.
    Raises: as ``check_destination``; OutOfResources when the disk fills up.
    """
    directory = Path(os.path.abspath(directory))
    check_destination(directory, overwrite=overwrite)
    with _plain_errors(directory):
        staged = directory.parent / f".{directory.name}.{secrets.token_hex(4)}.partial"
        staged.mkdir()
        try:
            yield staged
            take_place(staged, directory)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise


def take_place(staged: Path, directory: Path) -> None:
    """Rename the folder ``staged`` to ``directory``, whose old content goes once the new one is there.

    Raises: OSError; what was at ``directory`` stays as it was then.
    """
    if not directory.exists():
        _renamed(staged, directory)
        return
    # A folder cannot be replaced in one step: the old one steps aside, and back if the new one fails.
    old = staged.with_suffix(".old")
    _renamed(directory, old)
    try:
        _renamed(staged, directory)
    except BaseException:
        old.rename(directory)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _renamed(source: Path, target: Path) -> None:
    for wait in _RENAME_WAITS_S:
        try:
            source.rename(target)
        except PermissionError:  # Windows, while someone has a file of the folder open
            if sys.platform != "win32":
                raise
            time.sleep(wait)
        else:
            return
    source.rename(target)


@contextlib.contextmanager
def _plain_errors(directory: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors with one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfResources(
                f"the disk is full while writing '{directory}'; free some space and run again"
            ) from error
        if error.errno in _DENIED:
            raise BadInput(
                f"'{directory}' cannot be written to ({error.strerror}); choose another"
            ) from error
        raise
