"""The maps on disk, read back by an independent decoder (Pillow)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from synthetic_avatar import make_materials

from backend.export.map_files import SMALLEST_SCALE_M, displacement_scale, encode_maps, encode_png, write_maps


def test_maps_round_trip(tmp_path):
    materials = make_materials(48)
    seen = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    write_maps(encode_maps(materials, seen), tmp_path)

    def read(name):
        return np.asarray(Image.open(tmp_path / "maps" / f"{name}.png"))

    # IEC 61966-2-1 written out once more
    x = materials.albedo_linear.astype(np.float64)
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    assert read("albedo").dtype == np.uint8
    assert np.abs(read("albedo") / 255 - srgb).max() <= 0.5 / 255 + 1e-6
    normal = read("normal") / 255 * 2 - 1
    assert np.abs(normal - materials.normal_tangent).max() <= 1 / 255 + 1e-6
    for name in ("roughness", "specular"):
        assert np.abs(read(name) / 255 - getattr(materials, name)).max() <= 0.5 / 255 + 1e-6
    scale = displacement_scale(materials.displacement_m)
    metres = (read("displacement").astype(np.float64) / 65535 - 0.5) * scale
    assert np.abs(metres - materials.displacement_m).max() < 1e-8
    assert read("visibility").shape == (32, 32)


def test_a_flat_displacement_keeps_a_scale_and_moves_nothing():
    flat = dataclasses.replace(make_materials(8), displacement_m=np.zeros((8, 8), np.float32))
    assert displacement_scale(flat.displacement_m) == SMALLEST_SCALE_M
    stored = encode_maps(flat, np.ones((8, 8), np.float32))["displacement"]
    assert np.abs(stored / 65535 - 0.5).max() * SMALLEST_SCALE_M < 1e-8


def test_channels_keep_their_order():
    from io import BytesIO

    image = np.array([[[1, 2, 3, 4]]], np.uint8)
    assert np.asarray(Image.open(BytesIO(encode_png(image)))).tolist() == image.tolist()
    assert np.asarray(Image.open(BytesIO(encode_png(image[..., :3])))).tolist() == image[..., :3].tolist()


def test_a_map_with_nan_is_our_bug():
    broken = make_materials(8)
    broken.roughness[3, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        encode_maps(broken, np.ones((8, 8), np.float32))
