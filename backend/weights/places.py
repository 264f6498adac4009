"""Where fetched weights lie."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "LIKENESS_WEIGHTS"


def weights_folder() -> Path:
    """The user's folder of fetched weights: LIKENESS_WEIGHTS, or the system's place for such data."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "likeness" / "weights"
