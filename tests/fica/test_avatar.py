"""An avatar whose splats networks made: its files, and frames that its own prior decodes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_networks import portrayed, write_trainings

from backend.artifacts import Reconstruction, Run
from backend.errors import BadInput
from backend.export.bundle_writer import write_bundle
from backend.fica.files import FOLDER, IDENTITY, PRIOR
from backend.fica.frames import FicaFrames, splats_of, turned
from backend.fica.networks import pack
from backend.fica.splats import EXERCISE, FicaSplats
from backend.gaussians.frames import FrameDecoder, decoder_of, frame_png
from backend.head.base import ParametricHead
from backend.pipeline import with_splats
from blender_addon import splat_sh
from blender_addon.bundle import Mesh, read_bundle
from blender_addon.splat_binding import read_bound_splats

pytestmark = pytest.mark.slow

SMILE = {"jawOpen": 0.4, "mouthSmileLeft": 0.7, "eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, head: ParametricHead) -> FicaSplats:
    parent = tmp_path_factory.mktemp("networks")
    trainings = write_trainings(parent / "trainings", head)
    pack(dataclasses.replace(trainings, conditioning=None), parent / "packed")
    return FicaSplats(parent / "packed")


@pytest.fixture(scope="module")
def made(networks: FicaSplats, head: ParametricHead) -> Reconstruction:
    return with_splats(portrayed(head), Run(seed=4), by=networks)


@pytest.fixture(scope="module")
def avatar(made: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(made, tmp_path_factory.mktemp("avatar") / "portrait")


@pytest.fixture(scope="module")
def decoder(avatar: Path) -> FicaFrames:
    found = decoder_of(avatar)
    assert isinstance(found, FicaFrames)
    return found


@pytest.fixture(scope="module")
def mesh(avatar: Path) -> Mesh:
    return read_bundle(avatar).mesh


def weights_of(mesh: Mesh, wanted: dict[str, float]) -> np.ndarray:
    return np.array([wanted.get(name, 0.0) for name in mesh.expression_names], np.float32)


def turn_about_x(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def test_the_record_names_the_networks_and_the_user_is_told_what_they_are(
    made: Reconstruction, avatar: Path, networks: FicaSplats
) -> None:
    record = read_bundle(avatar).manifest.splats
    assert record is not None
    assert record.decoder is not None
    assert record.decoder.networks == networks.packed.manifest.digest()
    assert record.decoder.size == "tiny"
    assert set(record.decoder.trained) == {"completion", "refinement", "prior"}
    assert EXERCISE in made.warnings
    splats, tie = read_bound_splats(avatar, len(read_bundle(avatar).mesh.vertices_neutral_head))
    assert len(splats) == record.count == len(tie)
    assert splats.sh.shape[1] == 4


def test_a_frame_is_the_priors_gaussians_on_the_posed_mesh(decoder: FicaFrames, mesh: Mesh) -> None:
    """The prior asked directly for the weights that made the mesh."""
    weights = weights_of(mesh, SMILE)
    posed = mesh.posed(weights)
    solved = decoder.solver.solve(posed)
    drive = torch.from_numpy(np.concatenate([weights, solved.gaze]))
    wanted = splats_of(decoder.avatar, drive)
    frame, resting = decoder.decode(posed), decoder.decode(mesh.vertices_neutral_head)
    off, moved = (np.linalg.norm(one.positions - wanted.positions, axis=1) for one in (frame, resting))
    assert off.max() < 5e-4
    assert moved.mean() > 5 * off.mean()
    assert np.abs(resting.sh - wanted.sh).mean() > 5 * np.abs(frame.sh - wanted.sh).mean()  # colours hear it
    assert frame_png(frame).startswith(b"\x89PNG")


def test_a_turned_head_takes_its_gaussians_and_colours_along(decoder: FicaFrames, mesh: Mesh) -> None:
    turn, posed = turn_about_x(25), mesh.posed(weights_of(mesh, SMILE))
    before, after = decoder.decode(posed), decoder.decode((posed @ turn.T).astype(np.float32))
    assert np.abs(after.positions - before.positions @ turn.T).max() < 5e-5
    view = np.array([[0.3, 0.2, -0.93]])
    view /= np.linalg.norm(view)
    seen = splat_sh.colours_srgb(before.sh[:50], np.repeat(view, 50, 0))
    also = splat_sh.colours_srgb(after.sh[:50], np.repeat(view @ turn.T, 50, 0))
    np.testing.assert_allclose(also, seen, atol=2e-3)
    np.testing.assert_allclose(turned(before.sh, np.eye(3)), before.sh, atol=1e-5)


def test_colours_of_all_views_are_in_the_harmonics(decoder: FicaFrames) -> None:
    """As near as degree 1 comes: far nearer than without a view."""
    drive = torch.zeros(56)
    views = torch.nn.functional.normalize(torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.1, 0.8]]), dim=1)
    made = splats_of(decoder.avatar, drive)
    errors, plain = [], []
    for view, asked in zip(views.numpy(), decoder.avatar.decode_views(drive, views), strict=True):
        truth = asked.colours_srgb.numpy()
        colours = splat_sh.colours_srgb(made.sh, np.repeat(-view[None], len(truth), 0))
        errors.append(np.abs(colours - truth).mean())
        plain.append(np.abs(np.maximum(0.5 + splat_sh.C0 * made.sh[:, 0], 0) - truth).mean())
    assert np.mean(errors) < 0.5 * np.mean(plain)


def test_there_is_no_way_back_to_the_embedded_decoder(avatar: Path, tmp_path: Path, mesh: Mesh) -> None:
    """Files that are gone or changed are told; nothing else decodes in their stead."""
    for name, spoil, said in (
        (PRIOR, lambda p: p.unlink(), "lacks prior.safetensors"),
        (IDENTITY, lambda p: p.write_bytes(p.read_bytes()[:-8] + b"01234567"), "has changed or is damaged"),
    ):
        folder = tmp_path / name
        shutil.copytree(avatar, folder)
        spoil(folder / FOLDER / name)
        with pytest.raises(BadInput, match=said) as error:
            decoder_of(folder)
        assert "--splats-by" in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match="vertices"):
        decoder_of(avatar).decode(mesh.vertices_neutral_head[:-1])


def test_a_head_of_other_kind_is_refused(networks: FicaSplats) -> None:
    from synthetic_avatar import make_reconstruction

    with pytest.raises(BadInput, match="made for --head open"):
        networks.make(make_reconstruction(), Run())


def test_the_embedded_decoder_is_what_others_have(made: Reconstruction, avatar: Path, tmp_path: Path) -> None:
    plain = write_bundle(dataclasses.replace(made, splat_keeper=None), tmp_path / "portrait")
    record = read_bundle(plain).manifest.splats
    assert record is not None
    assert record.decoder is None
    assert isinstance(decoder_of(plain), FrameDecoder)
    assert not (plain / FOLDER).exists()
