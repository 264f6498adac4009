"""Packed networks: read back as they were trained; whatever is wrong with them is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packed_networks import write_trainings

from backend.errors import BadInput, BadWeights, LikenessError, Missing
from backend.fica.assembly import load_packed
from backend.fica.networks import MANIFEST_NAME, Trainings, pack, read_networks
from backend.head.base import ParametricHead
from backend.weights.reading import read_safetensors


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory, head: ParametricHead) -> Trainings:
    return write_trainings(tmp_path_factory.mktemp("trainings"), head)


@pytest.fixture(scope="module")
def packed(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "networks"
    pack(trainings, folder)
    return folder


def test_what_was_trained_is_what_is_loaded(packed: Path, trainings: Trainings) -> None:
    manifest = read_networks(packed)
    assert (manifest.size, manifest.texels, manifest.prior_texels, manifest.pixels) == ("tiny", 64, 128, 96)
    assert manifest.is_exercise
    assert manifest.parts["prior"].steps == 20
    loaded = load_packed(packed).networks
    truth = read_safetensors(trainings.prior / "result" / "prior.safetensors")
    for name, tensor in loaded.prior.state_dict().items():
        torch.testing.assert_close(tensor, truth[name], rtol=0, atol=0)
    assert not any(p.requires_grad for p in loaded.completion.parameters())
    assert loaded.predictor is not None


def test_without_conditioning_the_fit_stands_in_and_results_may_be_named(
    trainings: Trainings, packed: Path, tmp_path: Path
) -> None:
    fewer = replace(trainings, conditioning=None, prior=trainings.prior / "result")
    manifest = pack(fewer, tmp_path / "networks")
    assert "conditioning" not in manifest.parts
    assert load_packed(tmp_path / "networks").networks.predictor is None
    assert manifest.digest() != read_networks(packed).digest()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: replace(t, prior=t.refinement),
            "training of fica-refinement, wanted is one of",
        ),
        (lambda t: replace(t, prior=t.prior.parent), "is no training"),
        (lambda t: _without(t.completion, "result/semantic.safetensors", t), "semantic.safetensors"),
        (lambda t: _other_texels(t), "refinement was trained with texels 32"),
    ],
)
def test_trainings_that_do_not_fit_are_named(
    change: Callable[[Trainings], Trainings], said: str, trainings: Trainings, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(trainings.prior.parent, mine)
    copies = Trainings(*(mine / n for n in ("completion", "refinement", "prior", "conditioning")))
    with pytest.raises(BadInput, match=said) as error:
        pack(change(copies), tmp_path / "networks")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "networks").exists()


def _without(folder: Path, name: str, trainings: Trainings) -> Trainings:
    (folder / name).unlink()
    return trainings


def _other_texels(trainings: Trainings) -> Trainings:
    recipe = trainings.refinement / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("texels: 64", "texels: 32"))
    return trainings


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda f: shutil.rmtree(f), Missing, "holds no packed networks"),
        (lambda f: (f / MANIFEST_NAME).write_text("{"), BadWeights, "damaged"),
        (lambda f: _edit(f, "schema", 9), BadWeights, "another version"),
        (lambda f: _edit(f, "atlas", "0" * 32), BadWeights, "another version of the head 'open'"),
        (lambda f: (f / "codec.safetensors").unlink(), Missing, "lacks codec.safetensors"),
        (lambda f: (f / "prior.safetensors").write_bytes(b"x"), BadWeights, "not the file that was packed"),
    ],
)
def test_spoiled_folders_are_told_in_one_line(
    spoil: Callable[[Path], object], kind: type[LikenessError], said: str, packed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "networks"
    shutil.copytree(packed, folder)
    spoil(folder)
    with pytest.raises(LikenessError, match=said) as error:
        load_packed(folder)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)


def _edit(folder: Path, field: str, value: object) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
