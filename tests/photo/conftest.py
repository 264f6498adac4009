"""The public-domain portrait (Eileen Collins, scikit-image) as the photo stages see it."""

from __future__ import annotations

import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Observation, Photo, Run
from backend.photo.observe import observe


@pytest.fixture(scope="session")
def astronaut_u8() -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image (extra `demo`)")
    return np.asarray(data.astronaut())


@pytest.fixture(scope="session")
def astronaut(astronaut_u8: np.ndarray) -> Photo:
    return as_photo(astronaut_u8, "astronaut")


@pytest.fixture(scope="session")
def astronaut_seen(astronaut: Photo) -> Observation:
    run = Run()
    seen = observe(astronaut, run)
    assert run.warnings == []
    return seen
