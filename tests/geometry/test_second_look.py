"""The network that looks twice: its plain form against torch, what it sees, what is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.errors import BadInput, Missing
from backend.geometry import face_mesh, face_sight, second_look, sight_network
from backend.geometry.face_patch import PATCH_PX, PatchLayout, flat_places, patch_layout
from backend.geometry.flat_slopes import point_places, slopes
from backend.geometry.second_look import Heard, Left, SecondLook, Whitening, sharper
from backend.geometry.sight_network import Affine, Seen, seen
from backend.head.open_head import load_open_head
from synthdata.shape_portraits.network import Shape, TrainedSight, adopt, exported

RNG = np.random.default_rng(11)
TINY = Shape(
    vector=9,
    said=7,
    gathered=3,
    channels=(4, 6, 5, 8),
    sharp=(3, 6),
    grown=(7, 3, 4),
    seen=10,
    heard=5,
    felt=2,
    wide=(5, 4, 3),
    weighed=6,
    side=PATCH_PX,
)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def trained() -> TrainedSight:
    """A tiny network whose normalisations are not the identity."""
    torch.manual_seed(4)
    network = TrainedSight(TINY, np.random.default_rng(3).uniform(0, 1, (478, 2)))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(layer.weight)
            torch.nn.init.normal_(layer.bias)
    for weights in (network.straight.weight, network.reply.weight, network.read, network.read_bias):
        torch.nn.init.normal_(weights)
    return network.eval()


@pytest.fixture(scope="module")
def layout() -> PatchLayout:
    head = load_open_head()
    return patch_layout(flat_places(head.mediapipe.positions(head.mean_vertices, head.triangles)))


def test_the_plain_network_says_what_torch_says(trained):
    picture, vector = Seen(normal(2, PATCH_PX, PATCH_PX), normal(1, 2 * PATCH_PX, 2 * PATCH_PX)), normal(9)
    with torch.no_grad():
        expected = trained(*(torch.from_numpy(a)[None] for a in (picture.planes, picture.sharp, vector)))
    said = exported(trained)(picture, vector)
    assert [one.shape for one in said] == [(7,), (478, 2)]
    for one, other in zip(said, expected, strict=True):
        np.testing.assert_allclose(one, other[0], rtol=1e-4, atol=1e-4 * np.abs(one).max())


def test_learning_goes_on_where_a_file_ended(trained):
    """A network that takes up the plain one's weights says the same, at rest and while it is trained."""
    torch.manual_seed(6)
    asked = torch.randn(6, 2, PATCH_PX, PATCH_PX), torch.randn(6, 1, 224, 224), torch.randn(6, 9)
    network = TrainedSight(replace(TINY, dropout=0.0), trained.places.numpy())
    with torch.no_grad():
        expected = trained(*asked)
        adopt(network, exported(trained), lambda: network(*asked))
        for mode in (network.eval(), network.train()):
            for one, other in zip(mode(*asked), expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * other.abs().max())
    with pytest.raises(ValueError, match="are trained"):
        adopt(TrainedSight(replace(TINY, said=8), np.zeros((478, 2))), exported(trained), lambda: None)


def test_a_point_reads_the_picture_at_its_own_place(trained):
    """What is changed far from a point changes nothing that it reads, but for what all points read."""
    network = exported(trained).points
    coarse, vector = normal(8, 20, 20), normal(9)
    skips = (normal(5, 40, 40), normal(6, 80, 80), normal(6, 160, 160))
    before = network(coarse, skips, vector)
    skips[0][:, :8], skips[1][:, :16], skips[2][:, :32] = 0, 0, 0
    moved = np.abs(network(coarse, skips, vector) - before).max(1)
    below = network.places[:, 1] > 0.35
    assert moved[below].max() < 1e-6 * np.abs(before).max() < moved[~below].max()


def test_what_points_read_beside_their_steps_goes_to_the_shape(trained):
    """The numbers of the whole face stay; each of the shape's moves by what is gathered of all points."""
    network = exported(trained)
    picture, vector = Seen(normal(2, PATCH_PX, PATCH_PX), normal(1, 2 * PATCH_PX, 2 * PATCH_PX)), normal(9)
    deaf = replace(network, gather=Affine(0 * network.gather.weights, 0 * network.gather.bias))
    (said, steps), (without, same) = network(picture, vector), deaf(picture, vector)
    np.testing.assert_array_equal(steps, same)
    np.testing.assert_array_equal(said[:4], without[:4])
    assert (np.abs(said - without)[4:] > 1e-3 * np.abs(said).max()).all()


def test_slopes_of_what_is_linear_on_the_flat_picture(layout):
    flat = point_places(layout).astype(np.float64)
    values = 0.3 + flat @ np.array([[1.5, 0.2], [-0.4, 2.0]])
    found = slopes(layout)[:, : face_mesh.IRISES[0]] @ values
    np.testing.assert_allclose(found, np.array([[[1.5, 0.2]], [[-0.4, 2.0]]]) + 0 * found, atol=1e-4)
    np.testing.assert_allclose(slopes(layout) @ np.ones(478), 0, atol=1e-4)


def disc(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.hypot(x, y) < 0.45 * side


def test_exposure_changes_little_of_what_is_seen():
    inside, whole = disc(60), disc(120)
    smooth = 70 + 40 * np.sin(np.arange(120) / 10)[None, :] * np.cos(np.arange(120) / 8)[:, None]
    dim, bright = (seen(s * smooth, inside, whole) for s in (1.0, 2.0))
    for one, other, face in ((dim.planes, bright.planes, inside), (dim.sharp, bright.sharp, whole)):
        assert np.abs(one - other).mean() < 0.15 * np.abs(one).mean()
        assert not one[:, ~face].any()


def test_the_sharper_picture_is_the_other_seen_more_closely():
    """Halved, what is seen at the whole size is what is seen at half of it, where the picture is smooth."""
    inside, whole = disc(60), disc(120)
    smooth = 90 + 40 * np.sin(np.arange(120) / 14)[None, :] * np.cos(np.arange(120) / 11)[:, None]
    found = seen(smooth, inside, whole)
    halved = found.sharp[0].reshape(60, 2, 60, 2).mean((1, 3))
    y, x = np.mgrid[:60, :60] - 30
    amid = np.hypot(x, y) < 20
    np.testing.assert_allclose(halved[amid], found.planes[1][amid], atol=0.05)


def made_up(trained: TrainedSight, layout: PatchLayout) -> SecondLook:
    def left() -> Left:
        return Left(0.01 * RNG.normal(size=(3, 478, 2)), RNG.uniform(0.01, 0.02, 478), 0.4 * np.eye(3))

    heard = Heard(
        Whitening(normal(1434), normal(1434, 2)),
        Whitening(normal(956), normal(956, 4)),
        np.ones(3, np.float32),
    )
    network, axes = exported(trained), 0.01 * normal(4, 956)
    return SecondLook(network, heard, axes, sharper(layout), layout.inside, slopes(layout), (left(), left()))


def grey_of(second: SecondLook) -> np.ndarray:
    side = len(second.layout.weights)
    return RNG.integers(1, 255, (side, side)).astype(np.uint8)


def test_stored_and_read_again_it_says_the_same(trained, layout):
    second = made_up(trained, layout)
    stored = {name: np.array(a) for name, a in second_look.to_arrays(second).items()}
    again = second_look.from_arrays(stored, layout)
    grey = grey_of(second)
    asked = (lambda _: grey, 0.1 * normal(478, 3), 0.01 * RNG.normal(size=956), RNG.normal(size=3))
    (errors, shape), (two, other) = second(*asked), again(*asked)
    scale = np.abs(errors - asked[2]).max()
    np.testing.assert_allclose(two, errors, atol=0.02 * scale)
    np.testing.assert_allclose(other, shape, atol=0.02 * np.abs(shape).max())
    np.testing.assert_allclose(again.left[1].shape_covariance, 0.4 * np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    "spoiled",
    [
        *("network.see.bias", "network.convolutions.1.weights", "shape_scale", "axes"),
        *("network.points.weights", "network.points.join.1.0.weights", "network.points.places"),
        *("network.sharp.1.weights", "network.points.narrow.2.weights", "network.points.join.2.1.bias"),
        *("network.gather.weights", "network.points.bias"),
        *("network.blocks.2.1.widen.weights", "network.blocks.6.0.narrow.weights"),
        *("network.weigh.weights", "network.reply.weights"),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(trained, layout, spoiled):
    stored = second_look.to_arrays(made_up(trained, layout))
    stored[spoiled] = stored[spoiled][:-1]
    with pytest.raises(ValueError, match=r"weights|fit"):
        second_look.from_arrays(stored, layout)


def test_strides_are_those_of_the_trained_network(trained):
    network = exported(trained)
    assert tuple(c.stride for c in network.convolutions) == second_look.STRIDES
    assert tuple(c.stride for c in network.sharp) == second_look.SHARP_STRIDES
    assert {c.stride for join in network.points.join for c in join} == {1}


def test_a_network_that_says_nothing_leaves_what_the_regressions_said(trained, layout):
    second = made_up(trained, layout)
    mute = Affine(np.zeros((7, 15), np.float32), np.zeros(7, np.float32))
    network = exported(trained)
    still = Affine(np.zeros_like(network.straight.weights), np.zeros(7, np.float32))
    points = replace(network.points, weights=0 * network.points.weights, bias=0 * network.points.bias)
    idle = Affine(0 * network.gather.weights, np.zeros(3, np.float32))
    silent = Affine(0 * network.reply.weights, np.zeros(7, np.float32))
    quiet = replace(network, say=mute, straight=still, points=points, gather=idle, reply=silent)
    second = replace(second, network=quiet)
    errors, shape = RNG.normal(size=956), RNG.normal(size=3)
    out = second(lambda _: grey_of(second), normal(478, 3), errors, shape)
    np.testing.assert_array_equal(out[0], errors)
    np.testing.assert_array_equal(out[1], shape)
    strides = second_look.STRIDES, second_look.SHARP_STRIDES
    assert sight_network.from_arrays(sight_network.to_arrays(quiet), *strides)


def test_the_face_is_laid_flat_again_by_what_the_first_glance_told(trained, layout):
    """Errors are what both glances told, the shape is the first's."""
    second = made_up(trained, layout)
    pictures, laid = [grey_of(second), grey_of(second)], []

    def lay(told: np.ndarray) -> np.ndarray:
        laid.append(told)
        return pictures[len(laid) - 1]

    points, errors, shape = 0.1 * normal(478, 3), 0.01 * RNG.normal(size=956), RNG.normal(size=3)
    told, said = second(lay, points, errors, shape)
    vector = second.heard(points.reshape(-1), errors, shape)
    expected = errors
    for at, picture in zip(laid, pictures, strict=True):
        np.testing.assert_allclose(at, expected, rtol=1e-5, atol=1e-5)
        spoken, beside = second.network(seen(picture, layout.inside, second.layout.inside), vector)
        along = second.slopes @ (points[:, :2] - expected.reshape(-1, 2))
        step = spoken[:4] @ second.axes + np.einsum("pg,gpx->px", beside, along).ravel()
        expected = expected + step
        if at is laid[0]:
            np.testing.assert_allclose(said, shape + spoken[4:], rtol=1e-5)
    np.testing.assert_allclose(told, expected, rtol=1e-5, atol=1e-5)


def test_a_missing_or_damaged_file_is_named(tmp_path, monkeypatch):
    file = tmp_path / "face_second_look.safetensors"
    monkeypatch.setattr(face_sight, "SECOND_FILE", file)
    with pytest.raises(Missing, match="face_second_look"):
        face_sight.open_head_sight.__wrapped__()
    for spoiled in (b"\x00" * 40, None):
        file.write_bytes(spoiled or face_sight.FILE.read_bytes())  # no safetensors; another file's
        with pytest.raises(BadInput, match="face_second_look"):
            face_sight.open_head_sight.__wrapped__()
