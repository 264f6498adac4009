"""Heads by name: ``open`` (shipped), ``open:PATH`` (built by ``python -m synthdata.headmodel``), ``ict:PATH``
(ICT-FaceKit) and ``hifi3dpp:PATH`` (published .mat).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from backend.errors import BadInput
from backend.head.base import ParametricHead


@lru_cache(maxsize=4)
def load_head(name_or_path: str = "open") -> ParametricHead:
    """The head called ``open``, ``open:PATH``, ``ict:PATH`` or ``hifi3dpp:PATH``; the same object each time.

    ICT stands in the open head's pose and scale, so it gets the open head's landmarks, regions and albedo.

    Raises: BadInput (no such head, unusable file), Missing (file absent).
    """
    kind, _, path = name_or_path.partition(":")
    if name_or_path == "open":
        from backend.head.open_head import load_open_head

        return load_open_head()
    if kind == "open" and path:
        from backend.head.open_head import load_open_head

        return load_open_head(Path(path))
    if kind == "ict" and path:
        from backend.head.ict import load_ict
        from backend.head.surface import carry_over

        return carry_over(load_head("open"), load_ict(Path(path)))
    if kind == "hifi3dpp" and path:
        from backend.head.hifi3dpp import load_hifi3dpp

        return load_hifi3dpp(Path(path))
    raise BadInput(f"unknown head '{name_or_path}'; use open, open:PATH, ict:PATH or hifi3dpp:PATH")
