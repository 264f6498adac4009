"""The portraits of the end-to-end tests, each reconstructed once per test session."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend import pipeline
from backend.artifacts import Reconstruction, Run

DATA = Path(__file__).parent / "data"
MAPS = 512


def astronaut() -> NDArray[np.uint8]:
    """NASA's portrait of Eileen Collins (public domain), 512×512; the face is about 92×106 px."""
    return _sample_picture("astronaut")


def cat() -> NDArray[np.uint8]:
    """A cat's face from the front."""
    return _sample_picture("chelsea")


def _sample_picture(name: str) -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the sample pictures")
    picture: NDArray[np.uint8] = getattr(data, name)()
    return picture


def save(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write ``picture`` to ``path`` in the format of its suffix; returns ``path``."""
    from PIL import Image

    Image.fromarray(picture).save(path)
    return path


def recording_run(seed: int = 0) -> tuple[Run, list[tuple[str, float]]]:
    """A Run and the list that its progress goes to."""
    events: list[tuple[str, float]] = []
    return Run(seed=seed, on_progress=lambda stage, fraction: events.append((stage, fraction))), events


@lru_cache(maxsize=1)
def astronaut_reconstructed() -> tuple[Reconstruction, tuple[tuple[str, float], ...]]:
    """The astronaut at MAPS texels with seed 0, and the progress that was reported."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run, events = recording_run()
        photo = save(astronaut(), Path(folder) / "astronaut.png")
        return pipeline.reconstruct(photo, maps=MAPS, run=run), tuple(events)


@lru_cache(maxsize=2)
def fixture_reconstructed(name: str) -> Reconstruction:
    """The rendered portrait ``name`` of tests/data at MAPS texels with seed 0."""
    return pipeline.reconstruct(DATA / f"{name}.jpg", maps=MAPS)
