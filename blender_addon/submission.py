"""A photo or video on its way to the backend. No Blender."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from . import protocol


@dataclass(frozen=True)
class Submission:
    """What is asked for; the photo itself is added when it is known where the backend is."""

    message: protocol.Submit
    bulk: tuple[bytes, ...]
    photo: Path | None  # None: the parent's
    head: str | None  # the head that the result replaces; None makes a new one

    def on_the_wire(self, *, same_machine: bool) -> tuple[protocol.Submit, list[bytes]]:
        """Message and bulk frames: the photo by path on this machine, by bytes elsewhere. Raises: OSError."""
        bulk = list(self.bulk)
        if self.photo is None:
            return self.message, bulk
        if same_machine:
            return msgspec.structs.replace(self.message, path=str(self.photo.resolve())), bulk
        message = msgspec.structs.replace(self.message, photo_frame=len(bulk))
        return message, [*bulk, self.photo.read_bytes()]
