"""Poses: the fit's window of the photograph, and FLAME's form against the weak perspective it comes from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.artifacts import Camera, HeadFit
from backend.errors import BadInput
from backend.fica.atlas import Atlas
from backend.fica.poses import (
    JAW_OPEN_RAD,
    emoca_codes,
    flame_camera,
    flame_drive,
    posed_portrait,
    smirk_codes,
)
from backend.head.base import ParametricHead


def made_fit(head: ParametricHead, camera: Camera, smile: float = 0.6) -> HeadFit:
    expression = np.array([smile * n.startswith("mouthSmile") for n in head.expression_names], np.float32)
    identity = np.linspace(-0.5, 0.5, 6).astype(np.float32)
    return HeadFit(
        head=head,
        identity=identity,
        expression=expression,
        albedo_coefficients=np.zeros(3, np.float32),
        radiance_sh=np.ones((9, 3), np.float32),
        camera=camera,
        vertices_head=head.shape(identity, expression),
        neutral_head=head.shape(identity),
        iris_srgb=np.full(3, 0.3, np.float32),
        landmark_error_px=0.0,
        landmark_error_iod=0.0,
        photometric_psnr_db=30.0,
        focal_source="estimated",
    )


def photo_camera() -> Camera:
    pose = np.column_stack([np.diag([1.0, -1.0, -1.0]), [0.05, -0.03, 1.2]])
    return Camera(500.0, (150.0, 120.0), 300, 240, pose)


def test_the_window_shows_the_head_and_its_camera_sees_the_same(head: ParametricHead, atlas: Atlas) -> None:
    """A photo that codes its own pixels' places: what the window shows says where it was cut."""
    fit = made_fit(head, photo_camera())
    row, column = np.mgrid[0:240, 0:300] + 0.5
    photo = np.stack([column / 300, row / 240, 0 * row], -1).astype(np.float32)
    made = posed_portrait(photo, fit, atlas, 96)
    assert made.picture.shape == (1, 3, 96, 96)
    inside, _ = made.camera.project(fit.vertices_head)
    assert inside.min() > 0
    assert inside.max() < 96
    whole, _ = fit.camera.project(fit.vertices_head)
    at = inside.astype(int)
    shown = made.picture[0].numpy()[:2, at[:, 1], at[:, 0]].T * (300, 240)
    scale = made.camera.focal_px / fit.camera.focal_px
    assert np.abs(shown - whole).max() < 0.5 / scale + 1.0


def test_motion_and_drive_are_the_fits(head: ParametricHead, atlas: Atlas) -> None:
    fit = made_fit(head, photo_camera())
    made = posed_portrait(np.zeros((240, 300, 3), np.float32), fit, atlas, 64)
    assert made.drive.shape == (1, 56)
    np.testing.assert_allclose(made.drive[0, :52].numpy(), fit.expression)
    np.testing.assert_allclose(made.drive[0, 52:].numpy(), 0, atol=1e-3)
    wanted = atlas.on_texels(fit.vertices_head) - atlas.on_texels(fit.neutral_head)
    np.testing.assert_allclose(made.motion[0].permute(1, 2, 0).numpy(), wanted, atol=1e-6)


def smirk(rotation: tuple[float, float, float] = (0.1, -0.3, 0.05)) -> dict[str, object]:
    return {
        "pose_params": np.array([rotation]),
        "cam": np.array([[7.0, 0.02, -0.01]]),
        "shape_params": np.zeros((1, 300)),
        "expression_params": np.linspace(-1, 1, 50)[None],
        "eyelid_params": np.array([[0.9, 0.2]]),
        "jaw_params": np.array([[JAW_OPEN_RAD / 2, 0.0, 0.0]]),
    }


def test_a_distant_pinhole_sees_as_the_weak_perspective(head: ParametricHead) -> None:
    codes = smirk_codes(smirk())
    camera = flame_camera(codes, 224)
    points = head.mean_vertices[::50] * 0.5
    scale, x, y = codes.camera
    turned = points @ Rotation.from_rotvec(codes.rotation).as_matrix().T
    flat = np.stack([112 + 112 * scale * (turned[:, 0] + x), 112 - 112 * scale * (turned[:, 1] + y)], 1)
    made, depth = camera.project(points)
    assert depth.min() > 0
    # The pinhole stands 4 m away: a point 5 cm nearer is about 1 % larger.
    np.testing.assert_allclose(made - 112, flat - 112, rtol=0.06, atol=0.5)


def test_jaw_lids_and_a_given_map_become_weights(head: ParametricHead) -> None:
    names = list(head.expression_names)
    plain = flame_drive(smirk_codes(smirk()), head)
    assert float(plain[names.index("jawOpen")]) == pytest.approx(0.5)
    assert float(plain[names.index("eyeBlinkLeft")]) == pytest.approx(0.9)
    assert float(plain[names.index("eyeBlinkRight")]) == pytest.approx(0.2)
    assert float(plain.sum()) == pytest.approx(1.6)
    table = np.zeros((52, 50), np.float32)
    table[names.index("mouthSmileLeft"), 49] = 0.7
    mapped = flame_drive(smirk_codes(smirk()), head, table)
    assert float(mapped[names.index("mouthSmileLeft")]) == pytest.approx(0.7)
    emoca = emoca_codes(
        {"posecode": np.array([0, 0, 0, 0.1, 0, 0]), "cam": [5, 0, 0], "expcode": np.zeros(50)}
    )
    assert float(flame_drive(emoca, head)[names.index("jawOpen")]) == pytest.approx(0.1 / JAW_OPEN_RAD)


def test_output_of_another_form_is_refused(head: ParametricHead) -> None:
    with pytest.raises(BadInput, match="no eyelid_params"):
        smirk_codes({k: v for k, v in smirk().items() if k != "eyelid_params"})
    with pytest.raises(BadInput, match="jaw_params has 2"):
        smirk_codes({**smirk(), "jaw_params": np.zeros(2)})
    with pytest.raises(BadInput, match="map from FLAME"):
        flame_drive(smirk_codes(smirk()), head, np.zeros((52, 9), np.float32))
