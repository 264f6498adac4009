"""What lies beside a bundle's maps, and a bundle that is still being made."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from synthetic_avatar import make_materials, make_reconstruction

from backend.export.bundle_writer import Fitted, write_bundle, write_bundle_files, write_fit
from backend.export.map_files import write_whole
from blender_addon import bundle
from blender_addon.landmarks import LANDMARKS, Landmarks, read_landmarks, write_landmarks


def with_maps(size):
    """A reconstruction with maps of ``size`` and a photo with a picture in it."""
    made = make_reconstruction(materials=make_materials(size), size=size)
    height, width = made.observation.photo.rgb_srgb.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    rgb = np.stack([columns / width, rows / height, np.full((height, width), 0.3)], -1).astype(np.float32)
    photo = dataclasses.replace(made.observation.photo, rgb_srgb=rgb)
    return dataclasses.replace(made, observation=dataclasses.replace(made.observation, photo=photo))


def test_the_photo_is_the_cameras_picture(tmp_path):
    made = with_maps(64)
    folder = write_bundle(made, tmp_path / "x")
    picture = cv2.imread(str(folder / bundle.PHOTO_NAME))[..., ::-1]
    camera = bundle.read_manifest(folder).camera
    assert picture.shape[:2] == (camera.height_px, camera.width_px)
    assert np.abs(picture / 255 - made.observation.photo.rgb_srgb).mean() < 0.01


def test_small_maps_need_no_proxies(tmp_path):
    folder = write_bundle(with_maps(64), tmp_path / "x")
    assert not (folder / "proxies").exists()


def test_proxies_are_the_maps_averaged(tmp_path):
    made = with_maps(2 * bundle.PROXY_SIDE)
    folder = write_bundle(made, tmp_path / "x")
    for name in bundle.MAP_NAMES:
        assert bundle.png_size(bundle.proxy_path(folder, name)) == (bundle.PROXY_SIDE, bundle.PROXY_SIDE)
        full = cv2.imread(str(bundle.map_path(folder, name)), cv2.IMREAD_UNCHANGED)
        small = cv2.imread(str(bundle.proxy_path(folder, name)), cv2.IMREAD_UNCHANGED)
        assert small.dtype == full.dtype
        top = np.iinfo(full.dtype).max
        mean = full.reshape(bundle.PROXY_SIDE, 2, bundle.PROXY_SIDE, 2, -1).mean((1, 3)).squeeze() / top
        # Albedo is averaged in linear light and normals are made unit again: not quite the plain mean.
        assert np.abs(small / top - mean).mean() < 0.003, name
    normal = cv2.imread(str(bundle.proxy_path(folder, "normal")))[..., ::-1] / 127.5 - 1
    assert np.abs(np.linalg.norm(normal, axis=-1) - 1).max() < 0.02


def test_after_the_fit_a_bundle_can_be_read_but_is_not_whole(tmp_path):
    made = with_maps(64)
    write_fit(Fitted.of(made), tmp_path)
    assert not list(tmp_path.glob(".*"))
    early = bundle.read_partial(tmp_path)
    assert early.manifest.partial
    assert early.maps() == ()
    assert early.manifest.displacement_scale_m == 0
    assert early.mesh.vertices_neutral_head.tobytes() == made.fit.neutral_head.tobytes()
    with pytest.raises(bundle.BundleError, match="unfinished"):
        bundle.read_bundle(tmp_path)

    write_whole(bundle.map_path(tmp_path, "albedo"), b"\x89PNG\r\n\x1a\n cut short")
    with pytest.raises(bundle.BundleError, match="not a whole PNG"):
        bundle.read_partial(tmp_path)

    write_bundle_files(made, tmp_path)
    whole = bundle.read_partial(tmp_path)
    assert not whole.manifest.partial
    assert whole.maps() == bundle.MAP_NAMES
    assert bundle.read_bundle(tmp_path).manifest == whole.manifest


def test_a_partial_bundle_says_no_more_than_it_knows(tmp_path):
    made = with_maps(64)
    write_fit(Fitted.of(made), tmp_path)
    (tmp_path / "mesh.npz").unlink()
    with pytest.raises(bundle.BundleError, match=r"mesh\.npz is missing"):
        bundle.read_partial(tmp_path)


def test_a_bundle_of_before_reads_without_the_new_files(tmp_path):
    import json

    folder = write_bundle(with_maps(64), tmp_path / "x")
    for name in ("photo.jpg", "landmarks.npz"):
        (folder / name).unlink()
    fields = json.loads((folder / "avatar.json").read_text())
    del fields["identity"], fields["partial"]
    (folder / "avatar.json").write_text(json.dumps(fields))
    avatar = bundle.read_bundle(folder)
    assert avatar.manifest.identity is None
    assert not avatar.manifest.partial
    with pytest.raises(bundle.BundleError, match="no landmarks"):
        read_landmarks(folder)


def test_landmarks_are_read_back_and_checked(tmp_path):
    chance = np.random.default_rng(0)
    points = chance.random((2, LANDMARKS, 2)).astype(np.float32)
    made = Landmarks(points[0], points[1], chance.random(LANDMARKS).astype(np.float32))
    write_landmarks(tmp_path, made)
    read = read_landmarks(tmp_path)
    for name, array in vars(made).items():
        assert getattr(read, name).tobytes() == array.tobytes()
    write_landmarks(tmp_path, dataclasses.replace(made, trust=made.trust[:-1]))
    with pytest.raises(bundle.BundleError, match="trust"):
        read_landmarks(tmp_path)
    write_landmarks(tmp_path, dataclasses.replace(made, solved_px=made.solved_px * np.float32(np.nan)))
    with pytest.raises(bundle.BundleError, match="solved_px"):
        read_landmarks(tmp_path)
    (tmp_path / "landmarks.npz").write_bytes(b"PK")
    with pytest.raises(bundle.BundleError, match="damaged"):
        read_landmarks(tmp_path)
