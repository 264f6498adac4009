"""The names of views: photo, front, left, right or YAW,PITCH."""

from __future__ import annotations

from backend.errors import BadInput

NAMED_VIEWS = {"front": (0.0, 0.0), "left": (90.0, 0.0), "right": (-90.0, 0.0)}


def parse_view(view: str) -> tuple[float, float] | None:
    """Yaw and pitch in degrees of ``view``; None for the photograph's own.

    Yaw turns the camera to the subject's left, pitch lifts it; left and right are the subject's.
    Raises: BadInput.
    """
    if view == "photo":
        return None
    if view in NAMED_VIEWS:
        return NAMED_VIEWS[view]
    try:
        yaw, pitch = (float(part) for part in view.split(","))
    except ValueError:
        raise BadInput(
            f"view '{view}' is unknown; use photo, front, left, right or YAW,PITCH in degrees"
        ) from None
    if not (-360.0 <= yaw <= 360.0 and -89.0 <= pitch <= 89.0):
        raise BadInput(f"view '{view}' is out of range; yaw lies in ±360, pitch in ±89 degrees")
    return yaw, pitch
