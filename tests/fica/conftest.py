"""The head, its atlases, and a small made-up set; all read only."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from backend.fica.atlas import Atlas, build_atlas
from backend.head.base import ParametricHead
from backend.head.registry import load_head


@pytest.fixture(scope="session")
def head() -> ParametricHead:
    return load_head("open")


@pytest.fixture(scope="session")
def atlas(head: ParametricHead) -> Atlas:
    return build_atlas(head, 64)


@pytest.fixture(scope="session")
def dome(tmp_path_factory: pytest.TempPathFactory, head: ParametricHead) -> Path:
    pytest.importorskip("embreex")
    from dome_set import write_dome_set

    return write_dome_set(tmp_path_factory.mktemp("dome") / "set", head)
