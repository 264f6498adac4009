"""Traced transfer and what is shaded from it, against closed forms and a Monte Carlo twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spheres import front_camera, sphere_mesh

from backend.shading import harmonics, latlong, transferred
from backend.shading.environment import Environment
from backend.shading.relight import relight
from backend.shading.transfer import Transfer
from synthdata.transfer.trace import Degrees, trace_transfer

pytest.importorskip("embreex")
BALL_M, HEIGHT_M = 0.05, 0.12  # radius of a ball and how high its centre is above a floor
DEGREES = Degrees(direct=4, bounce=2, visibility=4)
WHITE = np.sqrt(4 * np.pi)  # degree-0 coefficient of radiance 1


def _ball() -> tuple[np.ndarray, np.ndarray]:
    vertices, triangles = sphere_mesh((0.0, 0.0, 0.0), BALL_M, 24)
    return vertices, triangles[:, ::-1].copy()  # counter-clockwise from outside


def _gradient_light() -> Environment:
    at = latlong.directions(64)
    red = 1 + 0.8 * at[..., 0]
    return Environment(
        "gradient", np.stack([red, 1 + 0.5 * at[..., 1], 0.6 - 0.3 * at[..., 2]], -1).astype("f4")
    )


def test_a_convex_body_does_not_shadow_itself() -> None:
    """Irradiance is that of the open sky, what it sees is everything, and nothing bounces."""
    vertices, triangles = _ball()
    normals = (vertices / BALL_M).astype(np.float32)
    transfer = trace_transfer(vertices, triangles, DEGREES, 512, normals)
    light = harmonics.project(_gradient_light().radiance, 4)
    got = transfer.direct @ light
    cosine = np.pi * np.array([1, 2 / 3, 1 / 4, 0, -1 / 24])[harmonics.degrees(4)]
    wanted = harmonics.basis(normals, 4) @ (cosine[:, None] * light)
    np.testing.assert_allclose(got, wanted, atol=0.02 * np.pi)
    assert np.abs(transfer.bounce).max() < 1e-6
    np.testing.assert_allclose(transfer.visibility[:, 0], WHITE, atol=1e-6)
    assert np.abs(transfer.visibility[:, 1:]).max() < 1e-6


def test_floor_below_a_ball_sees_the_sky_beside_it_and_the_ball_lit_by_the_floor() -> None:
    """Direct: π (1 − (R/h)²). Bounce: the ball's irradiance in front of a floor is π (1 + n_y) / 2."""
    ball, faces = _ball()
    floor = np.array([[-9, 0, -9], [9, 0, -9], [9, 0, 9], [-9, 0, 9], [0, 0, 0]], np.float32)
    floor[:, 1] = -HEIGHT_M
    ring = np.array([[4, 1, 0], [4, 2, 1], [4, 3, 2], [4, 0, 3]], np.int32)
    vertices, triangles = np.concatenate([ball, floor]), np.concatenate([faces, ring + len(ball)])
    normals = np.concatenate([ball / BALL_M, np.tile(np.float32([0, 1, 0]), (5, 1))])
    transfer = trace_transfer(vertices, triangles.astype(np.int32), DEGREES, 2048, normals)
    below = len(vertices) - 1
    share = (BALL_M / HEIGHT_M) ** 2
    assert transfer.direct[below, 0] * WHITE == pytest.approx(np.pi * (1 - share), rel=0.02)

    # Monte Carlo twin of the bounce, rays against an exact ball.
    rng = np.random.default_rng(0)
    u, v = rng.random((2, 200_000))
    across = np.sqrt(u)
    d = np.stack([across * np.cos(2 * np.pi * v), np.sqrt(1 - u), across * np.sin(2 * np.pi * v)], -1)
    inside = d[:, 1] ** 2 * HEIGHT_M**2 - (HEIGHT_M**2 - BALL_M**2)
    hits = inside > 0
    reach = d[hits, 1] * HEIGHT_M - np.sqrt(inside[hits])
    up = (reach * d[hits, 1] - HEIGHT_M) / BALL_M  # n_y where they meet the ball
    twin = (np.pi * (1 + up) / 2).sum() / len(d)
    assert transfer.bounce[below, 0] * WHITE == pytest.approx(twin, rel=0.05)


def test_lobe_towards_the_ball_is_blocked_and_away_from_it_is_not() -> None:
    ball, faces = _ball()
    near = np.array(
        [[-0.2, -0.06, -0.2], [0.2, -0.06, -0.2], [0.2, -0.06, 0.2], [-0.2, -0.06, 0.2], [0, -0.06, 0]]
    )
    ring = np.array([[4, 1, 0], [4, 2, 1], [4, 3, 2], [4, 0, 3]], np.int32) + len(ball)
    vertices = np.concatenate([ball, near]).astype(np.float32)
    transfer = trace_transfer(vertices, np.concatenate([faces, ring]).astype(np.int32), DEGREES, 1024)
    below = len(vertices) - 1
    up, aside = np.zeros((2, len(vertices), 3), np.float32)
    up[:, 1], aside[:] = 1, (0.98, 0.199, 0)
    assert transfer.seen_along(up, 0.4)[below] < 0.1
    assert transfer.seen_along(aside, 0.4)[below] > 0.6


def _ball_points(vertices: np.ndarray, n: np.ndarray) -> transferred.Surface:
    rows = torch.arange(len(vertices))[:, None].repeat(1, 3)
    weights = torch.tensor([[1.0, 0.0, 0.0]]).repeat(len(vertices), 1)
    count = len(vertices)
    return transferred.Surface(
        rows,
        weights,
        torch.as_tensor(vertices),
        torch.as_tensor(n),
        torch.as_tensor(n),
        torch.full((count, 3), 0.5),
        torch.full((count,), 0.4),
        torch.full((count,), 0.5),
    )


def test_shading_of_a_ball_equals_the_previews_shader_and_turns_with_the_light() -> None:
    """``relight`` shades the same ball by the same rules from numba; no shadows on a convex body."""
    vertices, triangles = _ball()
    n = (vertices / BALL_M).astype(np.float32)
    transfer = trace_transfer(vertices, triangles, DEGREES, 1024, n)
    head = transferred.head_light(transfer, vertices, n, np.full(3, 0.5))
    surface, light = _ball_points(vertices, n), _gradient_light()
    camera = front_camera()
    eye = torch.as_tensor(camera.centre_head, dtype=torch.float32)
    for turn in (0.0, 70.0):
        got = transferred.shade(surface, head, transferred.sky_light(light, 4), eye, turn).numpy()
        wanted = relight(_Buffer(vertices, n), light.rotated(turn), camera)[0]
        # The preview spreads light below skin; part 1 is not skin.
        facing = ((camera.centre_head - vertices) * n).sum(1) > 0
        np.testing.assert_allclose(got[facing], wanted[facing], atol=0.02)


class _Buffer:
    """Vertices as the one row of a picture."""

    def __init__(self, vertices: np.ndarray, normals: np.ndarray) -> None:
        self.position_head = vertices[None]
        self.normal_head = self.smooth_normal_head = normals[None]
        self.albedo_linear = np.full((1, len(vertices), 3), 0.5, np.float32)
        self.roughness = np.full((1, len(vertices)), 0.4, np.float32)
        self.specular = np.full((1, len(vertices)), 0.5, np.float32)
        self.part = np.ones((1, len(vertices)), np.int16)


def test_light_with_too_few_coefficients_is_refused() -> None:
    one = np.ones((1, 25), np.float32)
    with pytest.raises(ValueError, match="9 coefficients"):
        Transfer(one, one[:, :9], one).irradiance(np.ones((9, 3)), np.ones(3))
