"""Decoded frames: light followed over a moved mesh against closed forms; numbers that survive their file."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest
from bound_splats import make_bound_avatar

from backend.errors import BadInput
from backend.gaussians.frames import decoder_of, frame_png
from backend.gaussians.relighting import DIRECTIONS, reached, relit, spread_directions
from backend.shading import sh
from backend.uvspace.normals import vertex_normals
from blender_addon.bundle import Light, read_bundle, write_manifest
from blender_addon.splat_binding import HAIR_PART
from blender_addon.splat_frames import splats_of
from blender_addon.splats import Splats, SplatsError


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    """The synthetic avatar in a light from above, with 400 splats."""
    folder = make_bound_avatar(tmp_path_factory.mktemp("frames"))
    radiance = np.zeros((9, 3))
    radiance[0], radiance[1] = 3.0, 1.5
    light = Light(radiance_sh=tuple(tuple(row) for row in radiance.tolist()))
    write_manifest(folder, msgspec.structs.replace(read_bundle(folder).manifest, light=light))
    return folder


def tip_back(vertices: np.ndarray, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    return (vertices @ turn.T).astype(np.float32)


def test_the_photographed_face_keeps_its_colours(avatar) -> None:
    mesh, decoder = read_bundle(avatar).mesh, decoder_of(avatar)
    made = decoder.decode(mesh.expressed())
    placed = decoder.tie.placed(decoder.splats, mesh.expressed())
    skin = decoder.tie.part == 0
    assert np.abs(made.sh - placed.sh)[skin].max() < 1e-5
    for name in ("positions", "log_scales", "rotations", "opacity_logits"):
        assert np.array_equal(getattr(made, name), getattr(placed, name))


def test_a_turned_head_keeps_its_bright_side_towards_the_light(avatar) -> None:
    """Open skin gets what the closed form of irradiance says of its new normal."""
    mesh, decoder = read_bundle(avatar).mesh, decoder_of(avatar)
    tie, light = decoder.tie, decoder.relighting.radiance_sh
    open_skin = np.flatnonzero(tie.part == 0)

    def closed_form(vertices: np.ndarray) -> np.ndarray:
        normals = vertex_normals(vertices, mesh.triangles)
        values = np.maximum(sh.irradiance(light, normals), 0)[:, 0]
        return np.einsum("nk,nk->n", tie.barycentric, values[tie.corners])[open_skin]

    before, after = mesh.expressed(), tip_back(mesh.expressed(), 60)
    ratio = (decoder.relighting.factors(after) / decoder.relighting.factors(before))[open_skin, 0]
    wanted = closed_form(after) / closed_form(before)
    assert np.corrcoef(np.log(ratio), np.log(wanted))[0, 1] > 0.95
    assert wanted.max() > 1.15 > 0.9 > wanted.min()
    np.testing.assert_allclose(np.median(ratio / wanted), 1, atol=0.05)


def test_light_stops_at_what_stands_in_its_way() -> None:
    """A roof over half a floor: dark under it, lit beside it, from above alone."""
    floor = np.array([[x, 0, z] for x in np.linspace(-1, 1, 21) for z in np.linspace(-1, 1, 21)], np.float32)
    roof = np.array([[0, 0.5, -1], [1, 0.5, -1], [1, 0.5, 1], [0, 0.5, 1]], np.float32)
    vertices = np.concatenate([floor, roof])
    n = len(floor)
    blocking = np.array([[n, n + 1, n + 2], [n, n + 2, n + 3]], np.int32)
    lit = reached(vertices, blocking, np.array([0.0, 1.0, 0.0]))[:n]
    inner = np.abs(floor[:, [0, 2]]).max(1) < 0.9
    assert np.all(lit[inner & (floor[:, 0] > 0.1)] == 0)
    np.testing.assert_allclose(lit[floor[:, 0] < -0.1], 1, atol=1e-6)
    below = reached(vertices, blocking, np.array([0.0, -1.0, 0.0]))[:n]
    np.testing.assert_allclose(below, 1, atol=1e-6)
    aslant = reached(vertices, blocking, np.array([-(0.5**0.5), 0.5**0.5, 0.0]))[:n]  # the shadow moves on
    assert np.all(aslant[inner & (floor[:, 0] > 0.6)] == 0)
    np.testing.assert_allclose(aslant[inner & (floor[:, 0] < 0.4)], 1, atol=1e-6)


def test_directions_are_spread_evenly() -> None:
    """Moments of the sphere to degree 2: nothing is counted twice."""
    d = spread_directions(DIRECTIONS)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(d.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(d.T @ d / len(d), np.eye(3) / 3, atol=0.01)


def test_relighting_multiplies_linear_light() -> None:
    grey = np.full((2, 4, 3), 0.0, np.float32)  # display 0.5 is 0.2140 in linear light
    splats = Splats(*(np.ones((2, k), np.float32) for k in (3, 3, 4)), np.zeros(2, np.float32), grey)
    made = relit(splats, np.array([[1.0] * 3, [0.5] * 3]))
    shown = 0.5 + 0.28209479177387814 * made.sh[:, 0]
    np.testing.assert_allclose(shown[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(((shown[1] + 0.055) / 1.055) ** 2.4, 0.5 * 0.21404, rtol=1e-3)


def test_a_frame_survives_its_picture(avatar) -> None:
    decoder = decoder_of(avatar)
    made = decoder.decode(tip_back(read_bundle(avatar).mesh.expressed(), 20))
    pixels = cv2.imdecode(np.frombuffer(frame_png(made), np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    back = splats_of(np.ascontiguousarray(pixels), len(made))
    assert np.abs(back.positions - made.positions).max() < 1.6e-5
    assert np.abs(back.quaternions() - made.quaternions()).max() < 3e-5
    assert np.abs(back.log_scales - made.log_scales).max() < 1.3e-4
    assert np.abs(back.opacity_logits - made.opacity_logits).max() < 2.5e-4
    assert np.abs(back.sh - made.sh).max() < 7e-5
    with pytest.raises(SplatsError, match="no frame of"):
        splats_of(np.ascontiguousarray(pixels[:-1]), len(made))


def test_what_cannot_be_decoded_is_told_in_one_line(avatar, tmp_path) -> None:
    decoder = decoder_of(avatar)
    with pytest.raises(BadInput, match="import the head again"):
        decoder.decode(np.zeros((5, 3), np.float32))
    far = decoder.decode(read_bundle(avatar).mesh.expressed() + np.float32(2))
    with pytest.raises(BadInput, match="move its root instead"):
        frame_png(far)
    with pytest.raises(BadInput, match="not an avatar"):
        decoder_of(tmp_path)


def test_hair_is_not_shaded_by_the_scalp_under_it(avatar) -> None:
    decoder = decoder_of(avatar)
    hair = decoder.tie.part == HAIR_PART
    assert hair.any()
    factors = decoder.relighting.factors(read_bundle(avatar).mesh.expressed())
    np.testing.assert_allclose(factors[hair], 1, atol=1e-6)
