"""``landmarks.npz`` of an avatar bundle: Face Mesh points as seen in the photo and as the head has them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .arrays import write_arrays
from .bundle import BundleError

LANDMARKS_NAME = "landmarks.npz"
LANDMARKS = 478  # MediaPipe Face Mesh with irises
_SHAPES = {"observed_px": (LANDMARKS, 2), "solved_px": (LANDMARKS, 2), "trust": (LANDMARKS,)}


@dataclass(frozen=True)
class Landmarks:
    """Pixels of the camera's picture, centres at .5, y down; all finite."""

    observed_px: NDArray[np.float32]  # (478, 2) as found in the photo, or put there by the artist
    solved_px: NDArray[np.float32]  # (478, 2) of the fitted head; the observed point where it has none
    trust: NDArray[np.float32]  # (478,) in [0, 1]: how much the fit believed it; 0 where the head has none


def write_landmarks(directory: Path, landmarks: Landmarks) -> None:
    """Write ``landmarks.npz``. Raises: OSError."""
    write_arrays(directory / LANDMARKS_NAME, **vars(landmarks))


def read_landmarks(directory: Path) -> Landmarks:
    """Read ``landmarks.npz``. Raises: BundleError when it is absent (an older bundle) or damaged."""
    path = directory / LANDMARKS_NAME
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name].astype(np.float32, copy=False) for name in _SHAPES}
    except FileNotFoundError as error:
        raise BundleError(
            f"'{directory.name}' has no landmarks (it was made by an older Likeness); reconstruct it again"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"'{path}' is damaged ({error}); reconstruct the avatar again") from error
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise BundleError(f"'{path}' is damaged ({name}); reconstruct the avatar again")
    return Landmarks(**arrays)
