"""Pose, camera and light by the facts sheet's formulas, written down a second time; the alignment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from backend.errors import BadWeights, Missing
from backend.marcus.geometry import alignment as al
from backend.marcus.geometry.coefficients import Coefficients
from backend.marcus.geometry.face_model import FaceModel, project, rotations, shade

ANGLES = np.array([[0.1, -0.4, 0.2], [-0.3, 0.5, 0.05]])


def model(n: int = 30) -> FaceModel:
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    triangles = torch.randint(0, n, (40, 3), generator=g)
    return FaceModel(draw(n, 3), draw(6, n, 3), draw(4, n, 3), draw(n, 3), draw(5, n, 3), triangles)


def coefficients() -> Coefficients:
    g = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(2, *shape, generator=g)  # noqa: E731
    return Coefficients(
        draw(6), draw(4), draw(5), torch.tensor(ANGLES, dtype=torch.float32), draw(3, 9), draw(3)
    )


def test_rotation_is_roll_after_yaw_after_pitch():
    expected = Rotation.from_euler("xyz", ANGLES).as_matrix()  # extrinsic: x first
    np.testing.assert_allclose(rotations(torch.tensor(ANGLES)).numpy(), expected, atol=1e-12)


def test_decoding_posing_and_projection_are_the_formulas():
    face, c = model(), coefficients()
    posed = face.posed(c)
    u, depth = project(posed)
    for b in range(2):
        s = face.mean + sum(c.identity[b, k] * face.identity[k] for k in range(6))
        s = (s + sum(c.expression[b, k] * face.expression[k] for k in range(4))).numpy()
        x = s @ Rotation.from_euler("xyz", ANGLES[b]).as_matrix().T + c.translation[b].numpy()
        np.testing.assert_allclose(posed[b].numpy(), x, atol=1e-5)
        np.testing.assert_allclose(depth[b].numpy(), 10 - x[:, 2], atol=1e-5)
        np.testing.assert_allclose(
            u[b].numpy(), 1015 * x[:, :2] / (10 - x[:, 2:]) + 112, rtol=1e-4, atol=1e-2
        )
    t = face.texture_mean + torch.tensordot(c.texture[1], face.texture_basis, 1)
    torch.testing.assert_close(face.texture(c)[1], t)


def test_normals_are_sums_of_unit_face_normals():
    face = model()
    vertices = face.posed(coefficients())
    found = face.normals(vertices)[1].numpy()
    v, expected = vertices[1].numpy(), np.zeros((30, 3))
    for t in face.triangles.numpy():
        n = np.cross(v[t[1]] - v[t[0]], v[t[2]] - v[t[0]])
        for k in t:
            expected[k] += n / max(np.linalg.norm(n), 1e-12)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    used = lengths[:, 0] > 1e-3
    np.testing.assert_allclose(found[used], expected[used] / lengths[used], atol=1e-3)


def test_shading_of_constant_light_is_the_known_factor():
    gamma = torch.zeros(1, 3, 9)
    gamma[..., 0] = 0.8
    normals = torch.nn.functional.normalize(
        torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    expected = 0.8 * np.pi / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(shade(normals, gamma).numpy(), expected, rtol=1e-6)
    gamma = torch.zeros(1, 3, 9)
    gamma[:, 0, 2] = 1  # the third band is +z, towards the camera
    facing = torch.tensor([[[0.0, 0, 1], [0, 0, -1]]])
    front, back = shade(facing, gamma)[0, :, 0]
    assert front > 0 > back
    assert shade(facing, gamma)[0, 0, 1] == 0


STANDARD = np.array(
    [[-0.31, 0.29, 0.1], [0.31, 0.29, 0.12], [0.0, 0.01, 0.45], [-0.26, -0.32, 0.14], [0.26, -0.32, 0.15]]
)
WIDTH, HEIGHT = 700, 500


def seen(scale: float, place: tuple[float, float], roll: float = 0.0) -> np.ndarray:
    """The standard points seen from afar: photo pixels per unit, middle (y down, centres at .5)."""
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    flat = STANDARD[:, :2] @ turn.T
    return np.stack([flat[:, 0] * scale + place[0], place[1] - flat[:, 1] * scale], axis=1)


@pytest.mark.parametrize("roll", [0.0, 0.3])
def test_alignment_finds_scale_and_place(roll: float):
    found = al.align(seen(180.0, (400.5, 210.5), roll), STANDARD, WIDTH, HEIGHT)
    assert found.scale == pytest.approx(102 / 180)
    assert found.centre == pytest.approx((400, HEIGHT - 1 - 210))
    middle = al.frame_to_photo(np.array([112.0, 112.0]), found)
    # rounding of the resized photo to whole pixels moves it by less than one of the frame's
    assert np.abs(middle - (400.5, 210.5)).max() < 1 / found.scale


def test_the_crop_shows_what_the_frame_says():
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    photo = np.stack([(xx + 0.5) / WIDTH, (yy + 0.5) / HEIGHT, np.zeros_like(xx)], -1).astype(np.float32)
    found = al.align(seen(120.0, (300.5, 240.5)), STANDARD, WIDTH, HEIGHT)
    portrait = al.crop(photo, found)
    rows, columns = np.mgrid[20:200:30, 20:200:30]
    frame = np.stack([columns, 223 - rows], axis=-1).astype(float)  # v up, from pixel centres
    places = al.frame_to_photo(frame, found)
    shown = portrait[rows, columns, :2] * (WIDTH, HEIGHT)
    assert np.abs(shown - places).max() < 2.5 / found.scale  # 8 bits, bicubic, whole-pixel crop


def test_camera_is_the_release_projection_on_the_whole_photo():
    rng = np.random.default_rng(0)
    found = al.align(seen(150.0, (330.0, 260.0), 0.1), STANDARD, WIDTH, HEIGHT)
    rotation = Rotation.from_euler("xyz", ANGLES[0]).as_matrix()
    translation = np.array([0.05, -0.02, 0.3])
    points_m = rng.normal(0, 0.08, (20, 3))
    posed = points_m / 0.1 @ rotation.T + translation
    frame = 1015 * posed[:, :2] / (10 - posed[:, 2:]) + 112
    px, depth = al.camera(found, rotation, translation).project(points_m)
    np.testing.assert_allclose(px, al.frame_to_photo(frame, found), atol=1e-9)
    np.testing.assert_allclose(depth, (10 - posed[:, 2]) * 0.1, atol=1e-12)


def test_standard_points_file(tmp_path: Path):
    path = tmp_path / "similarity_Lm3D_all.mat"
    with pytest.raises(Missing):
        al.standard_points(path)
    lm = np.random.default_rng(0).normal(size=(68, 3))
    savemat(path, {"lm": lm})
    np.testing.assert_allclose(al.standard_points(path)[0], lm[[36, 39]].mean(0))
    np.testing.assert_allclose(al.standard_points(path)[2:], lm[[30, 48, 54]])
    savemat(path, {"lm": lm[:5]})
    with pytest.raises(BadWeights, match="expected"):
        al.standard_points(path)
    path.write_bytes(b"x" * 300)
    with pytest.raises(BadWeights, match="cannot be read"):
        al.standard_points(path)
