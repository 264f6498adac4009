"""How the cases of a scan are called; no Blender."""

from __future__ import annotations

import re
from pathlib import Path


def scan_case_id(scan: Path, yaw_degrees: float) -> str:
    """The folder of the case of ``scan`` seen from ``yaw_degrees``."""
    side = "front" if yaw_degrees == 0 else f"{'left' if yaw_degrees > 0 else 'right'}{abs(yaw_degrees):g}"
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", scan.stem).strip("_") or "scan"
    return f"{stem}_{side}"
