"""Likeness inside Blender: one photo becomes a relightable, drivable 3D head.

Importing this package does not import Blender, so that the backend can share ``bundle`` and ``protocol``.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is switched on."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is switched off; leaves nothing behind."""
    from . import registration

    registration.unregister()
