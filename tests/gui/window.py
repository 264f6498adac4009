"""The mouse, the keyboard and the panels of a Blender window, as an artist uses them. Runs inside Blender."""

from __future__ import annotations

from collections.abc import Generator

import bpy
import numpy as np
from steps import Box, Session, Steps, Wait, screen_pixels

BETWEEN_EVENTS_S = 0.05
ROW_PX = 10  # half of a button's height
ARROW_PX = (9, 22)  # where a panel's header has its arrow, from the sidebar's left
INNER_ARROW_PX = (30, 41)  # the same of a panel in a panel
TABS_PX = 30  # the tabs at the sidebar's right
OPENED_PX = 400  # how far below its header a panel's button is looked for
SCREENFULS = 5  # how far down the sidebar is looked through
DRAWN_LEVELS = 12  # difference of grey levels that tells a drawn thing from the background
FIGURE_KEYS = dict(
    zip(
        "0123456789.",
        ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "PERIOD"),
        strict=True,
    )
)
Place = tuple[int, int]  # window pixels from the left and the bottom, as Blender counts


def view3d(session: Session) -> bpy.types.Area:
    """The largest 3D viewport of the window."""
    areas = [area for area in session.window.screen.areas if area.type == "VIEW_3D"]
    return max(areas, key=lambda area: area.width * area.height)


def region(area: bpy.types.Area, kind: str) -> bpy.types.Region:
    """The region of this type (``WINDOW``, ``UI``, …) in an area."""
    return next(region for region in area.regions if region.type == kind)


def box(session: Session, part: bpy.types.Region | bpy.types.Area) -> Box:
    """Where a region or an area lies on a screenshot."""
    top = session.window.height - (part.y + part.height)
    return Box(part.x, top, part.x + part.width, top + part.height)


def centre(part: bpy.types.Region | bpy.types.Area) -> Place:
    """The middle of a region or an area."""
    return part.x + part.width // 2, part.y + part.height // 2


def move(session: Session, place: Place) -> Steps:
    """Move the mouse there."""
    # Blender takes a second move at another place for a real one, and wakes the button under it.
    session.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=place[0] - 1, y=place[1])
    session.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=place[0], y=place[1])
    session.mouse = place
    yield BETWEEN_EVENTS_S


def press(session: Session, kind: str, **modifiers: bool) -> Steps:
    """Press and release a key or a mouse button where the mouse is."""
    x, y = session.mouse
    for value in ("PRESS", "RELEASE"):
        session.window.event_simulate(type=kind, value=value, x=x, y=y, **modifiers)
        yield BETWEEN_EVENTS_S


def turn_wheel(session: Session, kind: str, place: Place, notches: int = 10) -> Steps:
    """Turn the mouse wheel (``WHEELUPMOUSE``, ``WHEELDOWNMOUSE``) over this place."""
    yield from move(session, place)
    for _ in range(notches):
        session.window.event_simulate(type=kind, value="PRESS", x=place[0], y=place[1])
        yield BETWEEN_EVENTS_S
    yield 0.3


def click(session: Session, place: Place) -> Steps:
    """Click with the left button."""
    yield from move(session, place)
    yield from press(session, "LEFTMOUSE")


def write(session: Session, text: str) -> Steps:
    """Type figures into the field that is being edited, and Enter."""
    x, y = session.mouse
    for letter in text:
        session.window.event_simulate(type=FIGURE_KEYS[letter], value="PRESS", x=x, y=y, unicode=letter)
        session.window.event_simulate(type=FIGURE_KEYS[letter], value="RELEASE", x=x, y=y)
        yield BETWEEN_EVENTS_S
    yield from press(session, "RET")


def open_sidebar(session: Session, category: str) -> Steps:
    """Press N in the viewport and choose a tab of the sidebar."""
    area = view3d(session)
    if not area.spaces.active.show_region_ui:
        yield from move(session, centre(region(area, "WINDOW")))
        yield from press(session, "N")
        yield Wait("the sidebar", lambda: view3d(session).spaces.active.show_region_ui, 5)
    sidebar = region(view3d(session), "UI")
    yield Wait("the sidebar's width", lambda: region(view3d(session), "UI").width > 50, 5)
    yield 0.3
    sidebar.active_panel_category = category
    sidebar.tag_redraw()
    yield 0.3


def command_under_mouse(session: Session, area: bpy.types.Area, part: bpy.types.Region) -> str:
    """The operator call of the button under the mouse, as "Copy Python Command" gives it; '' without one."""
    manager = bpy.context.window_manager
    manager.clipboard = ""
    with bpy.context.temp_override(window=session.window, area=area, region=part):
        if bpy.ops.ui.copy_python_command_button.poll():
            bpy.ops.ui.copy_python_command_button()
    return manager.clipboard


def property_under_mouse(session: Session, area: bpy.types.Area, part: bpy.types.Region) -> str:
    """The name of the property of the button under the mouse; '' without one."""
    with bpy.context.temp_override(window=session.window, area=area, region=part):
        found = bpy.context.property
    return "" if found is None else str(found[1]).rsplit(".", 1)[-1]


def button_under_mouse(session: Session, area: bpy.types.Area, part: bpy.types.Region) -> str:
    """The operator call or property under the mouse; '' without either."""
    return command_under_mouse(session, area, part) or property_under_mouse(session, area, part)


def is_wanted(found: str, wanted: str) -> bool:
    """Whether what lies under the mouse is the operator or property ``wanted``, or that call itself."""
    return found == wanted or found.startswith((f"bpy.ops.{wanted}(", wanted if "(" in wanted else "\0"))


def rows_with_content(session: Session, part: bpy.types.Region, left: int, right: int) -> list[int]:
    """Heights in the window, from above, at which something is drawn between two columns of a region."""
    seen = box(session, part)
    picture = screen_pixels(Box(part.x + left, seen.top, part.x + right, seen.bottom)).astype(int)
    drawn = np.ptp(picture, axis=1).max(axis=1) > DRAWN_LEVELS
    steps = range(ROW_PX, part.height - ROW_PX, ROW_PX)
    return [part.y + part.height - row for row in steps if drawn[row - ROW_PX // 2 : row + ROW_PX // 2].any()]


def find_button(session: Session, area: bpy.types.Area, wanted: str) -> Generator[float | Wait, None, Place]:
    """Where in the sidebar the button of an operator (``likeness.reconstruct``) or a property lies.

    The mouse goes over what is drawn in the sidebar and asks Blender what lies under it; the wheel brings
    what lies further down. Then closed panels are opened one after the other, first those at the top, from
    below, so that what is above stays where it is.

    Raises:
        LookupError: no such button is there.
    """
    part = region(area, "UI")
    columns = [part.x + int(part.width * share) for share in (0.5, 0.2, 0.75)]
    buttons: dict[int, str] = {}

    def scan(lowest: int, highest: int) -> Generator[float | Wait, None, Place | None]:
        rows = rows_with_content(session, part, ARROW_PX[0], part.width - TABS_PX)
        for x in columns:
            for y in (y for y in rows if lowest < y < highest):
                yield from move(session, (x, y))
                found = button_under_mouse(session, area, part)
                if is_wanted(found, wanted):
                    return x, y
                if found:
                    buttons[y] = found
        return None

    middle = centre(part)
    at_top: set[int] = set()  # rows of buttons before anything is scrolled
    for screenful in range(SCREENFULS):
        place = yield from scan(part.y, part.y + part.height)
        if place is not None:
            return place
        if screenful == 0:
            at_top = set(buttons)
        before = screen_pixels(box(session, part))
        yield from turn_wheel(session, "WHEELDOWNMOUSE", middle)
        if np.mean(screen_pixels(box(session, part)) != before) < 0.02:
            break  # the end
    for wheel, taken in (("WHEELUPMOUSE", at_top), ("WHEELDOWNMOUSE", set(buttons))):
        yield from turn_wheel(session, wheel, middle, 10 * SCREENFULS)
        outer = rows_with_content(session, part, *ARROW_PX)  # buttons begin here too
        headers = {y: ARROW_PX for y in outer if y not in taken}
        inner = set(rows_with_content(session, part, *INNER_ARROW_PX)).difference(outer)
        headers |= dict.fromkeys(inner, INNER_ARROW_PX)
        for header in sorted(headers):
            arrow = part.x + sum(headers[header]) // 2, header
            yield from click(session, arrow)
            yield 0.3
            place = yield from scan(header - OPENED_PX, header)
            if place is not None:
                return place
            yield from click(session, arrow)
            yield 0.3
    shown = ", ".join(dict.fromkeys(buttons.values())) or "nothing"
    raise LookupError(f"no button {wanted} in the sidebar; it shows: {shown}")


def press_button(session: Session, wanted: str) -> Steps:
    """Find the button of an operator or a property in the viewport's sidebar and click it."""
    yield from turn_wheel(session, "WHEELUPMOUSE", centre(region(view3d(session), "UI")), 3 * SCREENFULS)
    place = yield from find_button(session, view3d(session), wanted)
    yield from click(session, place)
