"""The HiFi3D++ loader on a synthetic file of the published form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from backend.colour import linear_to_srgb
from backend.errors import BadInput, Missing
from backend.head.hifi3dpp import load_hifi3dpp


def synthetic(vertices: int = 80) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    shape = rng.standard_normal((vertices // 2, 3))
    shape = np.concatenate([shape, shape * [-1, 1, 1]])
    return {
        "meanshape": shape.reshape(1, -1) + np.tile([0.3, -1.0, 2.0], vertices),
        "meantex": rng.uniform(60, 220, (1, 3 * vertices)),
        "idBase": rng.standard_normal((3 * vertices, 532)).astype(np.float32),
        "exBase": rng.standard_normal((3 * vertices, 45)).astype(np.float32),
        "texBase": rng.standard_normal((3 * vertices, 439)).astype(np.float32),
        "head_tri": rng.integers(1, vertices + 1, (50, 3)),
        "head_tri_vt": rng.integers(1, 91, (50, 3)),
        "vt_list": rng.random((90, 2)),
        "keypoints": np.arange(1, 69).reshape(68, 1),
    }


@pytest.fixture
def write(tmp_path: Path):
    def _write(**changes: Any) -> Path:
        content = synthetic() | changes
        path = tmp_path / "model.mat"
        savemat(path, {k: v for k, v in content.items() if v is not None})
        return path

    return _write


def test_shape_is_mean_plus_bases_in_metres(write):
    raw, head = synthetic(), load_hifi3dpp(write())
    rng = np.random.default_rng(0)
    a, d = rng.standard_normal(532), rng.random(45)
    flat = raw["meanshape"].ravel() + raw["idBase"] @ a + raw["exBase"] @ d
    expected = (flat.reshape(-1, 3) - raw["meanshape"].reshape(-1, 3).mean(0)) * 0.1
    np.testing.assert_allclose(head.shape(a, d), expected, atol=2e-5)


def test_texture_modes_are_the_slope_of_the_linearised_texture(write):
    raw, head = synthetic(), load_hifi3dpp(write())
    b = np.zeros(439)
    b[7] = 0.05
    srgb = (raw["meantex"].ravel() + raw["texBase"] @ b).reshape(-1, 3) / 255.0
    np.testing.assert_allclose(linear_to_srgb(head.albedo(b)), srgb, atol=2e-4)


def test_faces_become_zero_based(write):
    raw, head = synthetic(), load_hifi3dpp(write())
    np.testing.assert_array_equal(head.triangles, raw["head_tri"] - 1)
    np.testing.assert_array_equal(head.triangle_uvs, raw["head_tri_vt"] - 1)
    assert (head.mediapipe.triangle == -1).all()
    assert (head.mediapipe.trust == 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"idBase": None}, "lacks idBase"),
        ({"exBase": np.zeros((240, 44))}, "exBase has shape"),
        ({"meanshape": np.zeros((240, 1))}, "meanshape has shape"),
        ({"head_tri": np.zeros((50, 3), int)}, "1-based"),
        ({"head_tri_vt": np.full((50, 3), 91)}, "1-based"),
        ({"keypoints": np.full((68, 1), 99)}, "keypoints"),
        ({"meantex": np.full((1, 240), np.nan)}, "finite"),
    ],
)
def test_wrong_content_is_named(write, changes, words):
    with pytest.raises(BadInput, match=words):
        load_hifi3dpp(write(**changes))


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(Missing, match="hifi3dpp_model_info"):
        load_hifi3dpp(tmp_path / "none.mat")
    bad = tmp_path / "bad.mat"
    bad.write_bytes(b"not a matlab file at all" * 20)
    with pytest.raises(BadInput, match="MATLAB"):
        load_hifi3dpp(bad)
