"""Scan textures: what is read, and the line for each that cannot be."""

import cv2
import numpy as np
import pytest

from backend.errors import BadInput, Missing
from synthdata.skin.maps import SkinMaps, encoded_normal
from synthdata.skin.scans import find_scans, mixed, read_scan

SIZE = 256
NAMES = (
    "Head_Colour_8k",
    "Head_NormalMap",
    "Head_Displacement",
    "Head_Gloss",
    "Head_Specular",
    "Head_Cavity",
)


def _write(folder, size=SIZE, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        image = np.full((size, size, 3), 128, np.uint8)
        if "Colour" in name:
            image[:] = (60, 90, 140)  # BGR
        if "Gloss" in name:
            image[:] = 51
        if "Normal" in name:
            image[..., 0] = 255
        assert cv2.imwrite(str(folder / f"{name}.png"), image)
    return folder


def _drawn():
    flat = np.zeros((SIZE, SIZE), np.uint16) + 32768
    up = encoded_normal(np.tile(np.array([0, 0, 1], np.float32), (SIZE, SIZE, 1)))
    grey = np.full((SIZE, SIZE), 128, np.uint8)
    return SkinMaps(
        np.full((SIZE, SIZE, 3), 90, np.uint8),
        up,
        up.copy(),
        flat,
        grey,
        grey.copy(),
        np.ones_like(flat, bool),
    )


def test_maps_are_found_by_the_words_in_their_names(tmp_path):
    _write(tmp_path / "a")
    _write(tmp_path / "b")
    assert [scan.name for scan in find_scans(tmp_path)] == ["a", "b"]
    maps = read_scan(find_scans(tmp_path)[0], SIZE)
    assert tuple(maps.albedo_srgb[5, 5]) == (140, 90, 60)
    assert maps.roughness[5, 5] == pytest.approx(0.8, abs=0.01)  # gloss turned round
    assert maps.relief_tangent[5, 5] == pytest.approx([0, 0, 1], abs=0.01)


def test_a_scan_is_brought_to_the_size_asked_for(tmp_path):
    _write(tmp_path, 512)
    assert read_scan(find_scans(tmp_path)[0], SIZE).size == SIZE


def test_share_nothing_and_all(tmp_path):
    _write(tmp_path)
    scan, drawn = read_scan(find_scans(tmp_path)[0], SIZE), _drawn()
    for share, is_it in ((0.0, drawn), (1.0, scan)):
        got = mixed(drawn, scan, share)
        assert np.abs(got.albedo_srgb.astype(int) - is_it.albedo_srgb).max() <= 1
        assert np.abs(got.roughness - is_it.roughness).max() < 0.005
        assert np.abs(got.normal_tangent - is_it.normal_tangent).max() < 1e-3
    half = mixed(drawn, scan, 0.5).albedo_linear[0, 0]
    assert half == pytest.approx(np.sqrt(drawn.albedo_linear[0, 0] * scan.albedo_linear[0, 0]), rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda f: (f / "Head_NormalMap.png").unlink(), "lacks its normal map"),
        (lambda f: cv2.imwrite(str(f / "Head_Colour_8k.png"), np.zeros((300, 400, 3), np.uint8)), "400×300"),
        (lambda f: (f / "Head_Specular.png").write_bytes(b"no"), "not a picture"),
        (lambda f: cv2.imwrite(str(f / "Other_Colour.png"), np.zeros((256, 256, 3), np.uint8)), "two albedo"),
    ],
)
def test_a_bad_scan_gets_one_line(tmp_path, spoil, line):
    _write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(BadInput, match=line) as caught:
        read_scan(find_scans(tmp_path)[0], SIZE)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_missing_scans(tmp_path):
    with pytest.raises(Missing, match="no scan textures"):
        find_scans(tmp_path)
    with pytest.raises(Missing, match="no folder"):
        find_scans(tmp_path / "nowhere")
