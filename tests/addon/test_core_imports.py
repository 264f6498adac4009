"""The add-on's core runs where neither Blender, numpy nor the backend can be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

CORE = (
    "checks",
    "client",
    "download",
    "environment",
    "exit_codes",
    "install",
    "install_plan",
    "pythons",
    "runner",
    "supervision",
    "supervisor",
    "torch_source",
)


@pytest.mark.parametrize("module", CORE)
def test_core_needs_only_zmq_and_msgspec(module: str) -> None:
    code = (
        "import sys\n"
        "for name in ('bpy', 'mathutils', 'torch', 'numpy', 'backend'): sys.modules[name] = None\n"
        f"import blender_addon.{module}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
