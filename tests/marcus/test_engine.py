"""``--engine marcus`` from photo to avatar on tiny random weights, and what is told where it cannot run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from portraits import astronaut, save

from backend import cli, engines, pipeline
from backend.artifacts import Run
from backend.errors import BadInput, BadWeights, Cancelled, Missing
from backend.marcus.engine import marcus_engine
from backend.marcus.options import MarcusOptions
from backend.marcus.release import LONGCAT, TURBO, Release, require
from blender_addon import bundle

CAPTION = "a smiling woman of forty with fair skin"
slow = pytest.mark.slow


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(astronaut(), tmp_path / "astronaut.png")


def reconstruct(*arguments: str) -> int:
    return cli.main(["reconstruct", *arguments, "--engine", "marcus", "--no-blend", "--maps", "512"])


@slow
def test_one_command_makes_a_whole_avatar(photo: Path, release: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(release))
    assert reconstruct(str(photo), "-o", str(tmp_path / "out"), "--caption", CAPTION, "--json") == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["engine"] == "marcus"
    made = bundle.read_bundle(tmp_path / "out" / "astronaut")
    assert made.manifest.engine == "marcus"
    assert made.manifest.head == "open"  # eyes, teeth and expressions are there
    assert len(made.manifest.expression) == 52
    names = [stage.name for stage in made.manifest.stages]
    assert names[:9] == [
        *("photo", "observation", "description", "head fit", "partial UV", "complete UV", "even-lit UV"),
        *("materials", "delivered head"),
    ]
    by_name = {stage.name: stage.implementation for stage in made.manifest.stages}
    assert by_name["head fit"] == "ResNet-50 regressor"
    assert "30 steps euler" in by_name["complete UV"]
    assert "cross-intrinsic attention" in by_name["materials"]
    assert CAPTION in by_name["description"]


@slow
def test_the_same_seed_is_the_same_avatar_and_another_is_not(photo: Path, release: Path):
    engine = marcus_engine(MarcusOptions(caption=CAPTION, weights=release), "asked for")
    previews: list[tuple[str, tuple[int, ...]]] = []

    def made(seed: int):
        run = Run(seed, on_preview=lambda stage, picture: previews.append((stage, picture.shape)))
        return pipeline.reconstruct(photo, engine=engine, head="hifi3dpp", maps=512, run=run)

    first, again, other = made(3), made(3), made(4)
    assert first.fit.head.name == "hifi3dpp"  # raw: the engine's own head
    assert first.materials.size == 512
    np.testing.assert_array_equal(first.materials.albedo_linear, again.materials.albedo_linear)
    np.testing.assert_array_equal(first.materials.displacement_m, again.materials.displacement_m)
    assert np.abs(first.materials.albedo_linear - other.materials.albedo_linear).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(first.materials.normal_tangent, axis=-1), 1, atol=1e-3)
    assert np.abs(first.materials.displacement_m).max() <= 0.001
    assert {stage for stage, _ in previews} == {"complete UV", "even-lit UV", "materials"}
    assert {shape for _, shape in previews} == {(16, 16, 3)}
    assert len(previews) == 3 * 3 * 30
    for value in (first.fit.radiance_sh, first.complete.rgb_linear, first.even.rgb_linear, first.even.relit):
        assert np.isfinite(value).all()


@slow
def test_cancel_stops_between_steps(photo: Path, release: Path):
    engine = marcus_engine(MarcusOptions(caption=CAPTION, weights=release), "asked for")
    steps: list[float] = []
    run = Run(
        on_progress=lambda stage, fraction: steps.append(fraction) if stage == "even-lit UV" else None,
        is_cancelled=lambda: len(steps) > 5,
    )
    with pytest.raises(Cancelled):
        pipeline.reconstruct(photo, engine=engine, maps=512, run=run)
    assert len(steps) == 6


@slow
def test_turbo_is_labelled(release: Path):
    engine = marcus_engine(MarcusOptions(turbo=True, weights=release), "asked for")
    assert "turbo, 10 steps adams2" in engine.complete.implementation


def test_no_weights_is_one_line_that_says_how(photo: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tmp_path / "none"))
    assert reconstruct(str(photo), "-o", str(tmp_path / "out")) == 3
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert "likeness weights fetch marcus" in err[0]
    assert "sizes and licences" in err[0]
    assert not (tmp_path / "out").exists()
    assert engines.choose("auto").name == "embedded"
    assert "marcus cannot run" in engines.choose("auto").reason


def test_terms_come_before_use(release: Path, tmp_path: Path):
    for part in release.iterdir():
        if part.name != "accepted-licences.json":
            (tmp_path / part.name).symlink_to(part)
    require(Release(tmp_path))
    with pytest.raises(Missing, match="terms of the weights 'marcus' are not accepted"):
        engines.choose("marcus", MarcusOptions(weights=tmp_path))


@pytest.fixture
def broken(release: Path, tmp_path: Path) -> Path:
    """The weights with MARCUS' own folder as a copy that may be changed."""
    for part in release.iterdir():
        if part.name != "marcus":
            (tmp_path / part.name).symlink_to(part)
    shutil.copytree(release / "marcus", tmp_path / "marcus", copy_function=shutil.copy)
    return tmp_path


def test_the_distilled_model_is_taken_where_it_was_fetched(broken: Path):
    (broken / TURBO).symlink_to(broken / LONGCAT)
    plain = MarcusOptions(turbo=True, weights=broken)
    assert "turbo (distilled), 8 steps euler" in marcus_engine(plain, "asked for").complete.implementation
    assert (
        marcus_engine(replace(plain, turbo=False), "x").complete.implementation.count("30 steps euler") == 1
    )
    both = marcus_engine(replace(plain, turbo=False, fp8=True, guided=(0.2, 0.9)), "x")
    assert "FP8, 30 steps euler, guided in σ 0.2–0.9" in both.materials.implementation


class Planted:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda r: r.resnet().unlink(), Missing, "epoch_latest.pth"),
        (lambda r: r.resnet().write_bytes(b"PK cut"), BadWeights, "damaged"),
        (lambda r: torch.save({"net_recon": Planted()}, r.resnet()), BadWeights, "could run code"),
        (lambda r: torch.save({"net_recon": {"x": torch.zeros(1)}}, r.resnet()), BadWeights, "lacks"),
        (lambda r: r.head_model.write_bytes(b"x" * 200), BadWeights, "MATLAB"),
        (lambda r: shutil.rmtree(r.materials().parent), Missing, "three-branch"),
        (
            lambda r: (r.marcus / "likeness-model.json").write_text('{"chart": 100}'),
            BadWeights,
            "multiple of 16",
        ),
    ],
)
def test_spoiled_weights_are_told_in_one_line(broken: Path, spoil, kind, words: str, capfd):
    spoil(Release(broken))
    with pytest.raises(kind, match=words) as told:
        engines.choose("marcus", MarcusOptions(weights=broken, caption=CAPTION))
    assert "\n" not in str(told.value)
    assert "code ran" not in capfd.readouterr().out


def test_options_of_marcus_are_not_for_embedded(photo: Path, tmp_path: Path):
    assert cli.main(["reconstruct", str(photo), "-o", str(tmp_path), "--engine", "embedded", "--turbo"]) == 2


def test_one_persons_photographs_are_for_embedded(photo: Path, release: Path):
    engine = marcus_engine(MarcusOptions(weights=release), "asked for")
    with pytest.raises(BadInput, match="--engine embedded"):
        pipeline.reconstruct_same_person([photo, photo], engine=engine)
