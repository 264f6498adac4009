"""A whole set of weights in the published layout, tiny and random."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def longcat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LongCat-Image-Edit's component folders. Read only."""
    from backend.marcus.tiny import write_longcat

    folder = tmp_path_factory.mktemp("longcat") / "longcat-image-edit"
    write_longcat(folder)
    return folder


@pytest.fixture(scope="session")
def weights(longcat: Path) -> Path:
    """A weights folder with LongCat and MARCUS' adapters. Read only."""
    from tiny_release import write_adapters

    write_adapters(longcat.parent / "marcus")
    return longcat.parent


@pytest.fixture(scope="session")
def release(weights: Path) -> Path:
    """A weights folder with all that ``--engine marcus`` needs, its terms accepted. Read only."""
    from tiny_release import write_regressor, write_super_resolution, write_topology

    from backend.weights.licences import accept

    write_topology(weights / "marcus")
    write_regressor(weights / "marcus")
    write_super_resolution(weights / "real-esrgan")
    (weights / "marcus" / "likeness-model.json").write_text('{"chart": 128}')
    accept(weights, "marcus", "of this test")
    return weights
