"""Pins: landmarks that the artist drags into place on the photo. No Blender.

Pixels are those of the camera's picture: centres at .5, y down. Blender's image editor counts in
fractions of the picture, y up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .landmarks import LANDMARKS
from .protocol import Pin

RESOLVE_SECONDS = 0.3  # between two re-solves while a pin is dragged

# A readable subset of MediaPipe Face Mesh: (name, landmarks in drawing order, closed line).
GROUPS: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    (
        "Jaw line",
        (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
        False,
    ),
    ("Right brow", (71, 63, 105, 66, 107), False),
    ("Left brow", (336, 296, 334, 293, 301), False),
    ("Nose bridge", (168, 197, 5, 4), False),
    ("Nose base", (75, 97, 2, 326, 305), False),
    ("Right eye", (33, 160, 158, 133, 153, 144), True),
    ("Left eye", (362, 385, 387, 263, 373, 380), True),
    ("Upper and lower lip", (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181), True),
    ("Mouth opening", (78, 82, 13, 312, 308, 317, 14, 87), True),
    ("Irises", (468, 473), False),
)
HANDLES: tuple[int, ...] = tuple(i for _, group, _ in GROUPS for i in group)
_GROUP_OF = {i: name for name, group, _ in GROUPS for i in group}
LINES: tuple[tuple[int, int], ...] = tuple(
    pair
    for name, group, closed in GROUPS
    if name != "Irises"
    for pair in zip(group, group[1:] + (group[:1] if closed else ()), strict=False)
)


def to_view(px: NDArray[np.floating[Any]], size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Pixels ``(…, 2)`` to fractions of the picture with y up, as the image editor counts."""
    scaled = np.asarray(px, np.float64) / np.asarray(size_px, np.float64)
    return np.stack([scaled[..., 0], 1.0 - scaled[..., 1]], axis=-1)


def to_px(view: NDArray[np.floating[Any]], size_px: tuple[int, int]) -> NDArray[np.float64]:
    """The inverse of ``to_view``."""
    upright = np.asarray(view, np.float64) * (1.0, -1.0) + (0.0, 1.0)
    px: NDArray[np.float64] = upright * np.asarray(size_px, np.float64)
    return px


@dataclass
class PinBoard:
    """The pins of one head while they are edited."""

    solved_px: NDArray[np.float32]  # (478, 2) as solved last
    size_px: tuple[int, int]  # of the camera's picture
    pinned: dict[int, tuple[float, float]] = field(default_factory=dict)  # landmark: pixels
    held: int | None = None  # the landmark under the mouse button
    hovered: int | None = None
    changed_s: float | None = None  # when the pins last changed since they were sent
    sent_s: float = -1e9
    waiting: bool = False  # a re-solve is under way
    _grab: tuple[float, float] = (0.0, 0.0)
    _before: dict[int, tuple[float, float]] = field(default_factory=dict)

    def place(self, landmark: int) -> tuple[float, float]:
        """Where the handle of ``landmark`` is drawn, pixels."""
        if landmark in self.pinned:
            return self.pinned[landmark]
        x, y = self.solved_px[landmark]
        return float(x), float(y)

    def places(self) -> NDArray[np.float64]:
        """Pixels ``(len(HANDLES), 2)`` of all handles."""
        return np.array([self.place(i) for i in HANDLES])

    def nearest(self, x_px: float, y_px: float, within_px: float) -> int | None:
        """The handle nearest to a point, None when none lies within ``within_px``."""
        distance = np.hypot(*(self.places() - (x_px, y_px)).T)
        best = int(np.argmin(distance))
        return HANDLES[best] if distance[best] <= within_px else None

    def grab(self, landmark: int, x_px: float, y_px: float) -> None:
        """Take hold of a handle; it keeps its distance to the mouse."""
        x, y = self.place(landmark)
        self.held, self._grab, self._before = landmark, (x - x_px, y - y_px), dict(self.pinned)

    def drag(self, x_px: float, y_px: float, now_s: float) -> None:
        """Move the held handle with the mouse, within the picture."""
        if self.held is None:
            return
        x = min(max(x_px + self._grab[0], 0.0), float(self.size_px[0]))
        y = min(max(y_px + self._grab[1], 0.0), float(self.size_px[1]))
        self.pinned[self.held] = (x, y)
        self.changed_s = now_s

    def release(self) -> None:
        """Let the held handle go where it is."""
        self.held = None

    def put_back(self, now_s: float) -> None:
        """End a drag as if it had not begun."""
        if self.held is not None:
            self.pinned, self.held, self.changed_s = dict(self._before), None, now_s

    def unpin(self, landmark: int, now_s: float) -> None:
        """Give a landmark back to the solver."""
        if self.pinned.pop(landmark, None) is not None:
            self.changed_s = now_s

    def clear(self, now_s: float) -> None:
        """Give all landmarks back to the solver."""
        if self.pinned:
            self.pinned.clear()
            self.changed_s = now_s

    def due(self, now_s: float) -> bool:
        """Whether the pins should be sent now: changed, none on the way, and not too often."""
        return self.changed_s is not None and not self.waiting and now_s - self.sent_s >= RESOLVE_SECONDS

    def send(self, now_s: float) -> tuple[Pin, ...]:
        """The pins to send; the board then waits for ``solved`` or ``lost``."""
        self.changed_s, self.sent_s, self.waiting = None, now_s, True
        return self.pins()

    def solved(self, landmarks_px: NDArray[np.floating[Any]]) -> None:
        """A re-solve came back with landmarks ``(478, 2)`` in pixels."""
        self.solved_px = np.asarray(landmarks_px, np.float32).reshape(LANDMARKS, 2)
        self.waiting = False

    def lost(self) -> None:
        """A re-solve failed; the pins stay and are sent again with the next change."""
        self.waiting = False

    def pins(self) -> tuple[Pin, ...]:
        """The pins as the wire has them."""
        return tuple(Pin(landmark=i, x_px=x, y_px=y) for i, (x, y) in sorted(self.pinned.items()))


def handle_name(landmark: int) -> str:
    """What the handle of ``landmark`` stands for."""
    return _GROUP_OF.get(landmark, f"Landmark {landmark}")
