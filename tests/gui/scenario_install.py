"""The zip is installed as a user installs it; the sidebar shows the extension's panel."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from steps import Session, Steps, perform
from window import box, open_sidebar, region, view3d

EXTENSION = "bl_ext.user_default.likeness"


def install_zip(session: Session) -> Steps:
    """Install the built zip from disk and switch it on."""
    session.begin("install the zip")
    # A distribution's Blender may run on a Python that the wheels are not for: see packaging/gui/prepare.sh.
    wheels = sys.version_info[:2] in ((3, 11), (3, 13))
    (zip_path,) = Path("/dist").glob(f"likeness-?.?.?{'' if wheels else '-linux-x64-without-wheels'}.zip")
    done = bpy.ops.extensions.package_install_files(
        filepath=str(zip_path), repo="user_default", enable_on_install=True
    )
    assert done == {"FINISHED"}, done
    assert EXTENSION in bpy.context.preferences.addons, "the extension was not switched on"
    yield 0.5


def scenario(session: Session) -> Steps:
    yield from session.shot("start")
    yield from install_zip(session)
    session.begin("open the sidebar")
    yield from open_sidebar(session, "Likeness")
    sidebar = box(session, region(view3d(session), "UI"))
    yield from session.shot("sidebar", sidebar)
    session.expect_change("start", "sidebar", sidebar)


if __name__ == "__main__":
    perform(scenario, EXTENSION)
