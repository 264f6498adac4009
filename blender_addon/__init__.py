"""Likeness inside Blender: the avatar bundle and the builders of its scene.

Importing this package does not import Blender, so that the backend can share ``bundle``.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is switched on; it has no user interface yet."""


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
