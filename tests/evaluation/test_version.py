"""What makes kept results stale: every module that can change a figure is counted."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import backend
from backend import stages
from backend.evaluation import version
from backend.head.registry import load_head

ROOT = Path(backend.__file__).parent.parent
# Imported on the way, and without a say in any figure: messages, folders, and what else Blender's worker can
# do than render a head.
WITHOUT_A_SAY = {
    "backend": {"errors", "failures", "stages"},
    "backend/export": {"gltf_images", "staging"},
    "blender_addon": {"drive_file", "grey_png"},
}
# Decodes splats of avatars that --splats-by made; those that are measured have the embedded decoder's.
NEVER_ASKED = ROOT / "backend/fica"


def _imported(file: Path) -> set[Path]:
    """Our own modules that ``file`` imports anywhere in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = file.parent.relative_to(ROOT).parts
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT / (name.replace(".", "/") + ".py")
            if name.startswith(("backend.", "blender_addon.")) and path.is_file():
                found.add(path)
    return found


def test_every_module_that_measuring_imports_is_counted():
    counted = {*version.making_files(), *version.measuring_files(), *stages.computing_files()}
    assert all(file.is_file() for file in counted)
    reached, waiting = set(), set(version.measuring_files()) | set(version.making_files())
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= {found for found in _imported(file) if not found.is_relative_to(NEVER_ASKED)} - reached
    silent = {ROOT / folder / f"{name}.py" for folder, names in WITHOUT_A_SAY.items() for name in names}
    assert len(reached) > 60
    assert sorted(str(f.relative_to(ROOT)) for f in reached - counted - silent) == []


@pytest.mark.parametrize(
    "name", ["backend/export/blend_worker.py", "blender_addon/scene/render.py", "backend/evaluation/realy.py"]
)
def test_a_change_of_what_draws_or_measures_makes_results_stale(monkeypatch: pytest.MonkeyPatch, name: str):
    assert ROOT / name in version.measuring_files()
    before = version.evaluation_version()
    read = Path.read_bytes

    def changed(path: Path) -> bytes:
        return read(path) + (b"# changed" if path == ROOT / name else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    version.evaluation_version.cache_clear()
    after = version.evaluation_version()
    version.evaluation_version.cache_clear()
    assert after != before


def test_another_head_under_the_same_name_is_another_version(monkeypatch: pytest.MonkeyPatch):
    head = load_head("open")
    before = version.avatar_version("open")
    moved = replace(head, mean_vertices=head.mean_vertices + np.float32(1e-4))
    monkeypatch.setattr(version, "load_head", lambda name: moved)
    assert version.avatar_version("open") != before
