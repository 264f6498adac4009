"""The folder that a command writes into."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from backend.errors import BadInput


@contextlib.contextmanager
def output_folder(out: Path, source: Path | None = None) -> Iterator[Path]:
    """``out``, made where only its last part is missing; taken away again if nothing was written into it.

    Raises: BadInput when it cannot be made, or is ``source``, where the input comes from.
    """
    if source is not None and out.resolve() == source.resolve():
        raise BadInput(f"'{out}' is where the cases come from; choose another output folder")
    if out.exists() and not out.is_dir():
        raise BadInput(f"'{out}' is a file; choose another output folder")
    if not out.exists() and not out.parent.is_dir():
        raise BadInput(f"output folder '{out.parent}' does not exist; create it or choose another")
    fresh = not out.exists()
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise BadInput(f"output folder '{out}' cannot be made ({error.strerror}); choose another") from error
    try:
        yield out
    finally:
        if fresh:
            with contextlib.suppress(OSError):  # something was written: it stays
                out.rmdir()
