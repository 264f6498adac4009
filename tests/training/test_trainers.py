"""Every trainer from the command line, a few steps on a set of a second: what it writes can be read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli_runs import run_failing
from safetensors.torch import load_file
from synthetic_set import TEXELS, make_here

from backend.cli import main
from backend.marcus.adapters import read_adapter
from backend.marcus.longcat import TransformerConfig, build_transformer
from backend.marcus.lora_bank import install_bank
from backend.training.diary import read_metrics
from backend.training.recipe import RECIPES, TinyBackbone, read_recipe, written

SHORT: dict[str, dict[str, Any]] = {
    "inpaint": {"texels": TEXELS, "sampling_steps": 2},
    "homogenise": {"texels": TEXELS, "sampling_steps": 2},
    "materials": {"texels": TEXELS, "sampling_steps": 2, "independent_steps": 1},
    "superres": {"patch": TEXELS, "reduce": 1, "adversarial_from": 1},
    "geometry": {"pixels": 48, "identity": 5},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    make_here(folder)
    return folder


def short_recipe(task: str, path: Path, **optimisation: Any) -> Path:
    content = yaml.safe_load(written(read_recipe(task, "tiny")))
    content |= SHORT[task]
    content["optimisation"] |= {"steps": 2, "epochs": None, "batch": 2, "microbatch": 1, **optimisation}
    content["keeping"] |= {"checkpoint_every": 1, "sample_every": 2, "sampled": 2, "log_every": 1}
    path.write_text(yaml.safe_dump(content))
    return path


def trained(task: str, made: Path, tmp_path: Path) -> Path:
    recipe = short_recipe(task, tmp_path / f"{task}.yaml")
    out = tmp_path / "out"
    arguments = ["train", task, "--set", made, "-o", out, "--recipe", recipe, "--cpu"]
    assert main([str(a) for a in arguments]) == 0
    told = read_metrics(out)
    assert [line["step"] for line in told] == [1, 2]
    assert all(np.isfinite(list(line.values())).all() for line in told)
    return out


@pytest.mark.parametrize("task", ["inpaint", "homogenise"])
def test_an_adapter_is_written_as_published(task: str, made: Path, tmp_path: Path) -> None:
    out = trained(task, made, tmp_path)
    adapter = read_adapter(out / "result" / "transformer")
    assert (adapter.rank, adapter.scale) == (32, 1.0)
    assert len(adapter.factors) == 2 * 12 + 2 * 3
    assert all(float(b.abs().max()) > 0 for _, b in adapter.factors.values())  # B began at zero


def test_the_bank_is_written_under_published_keys(made: Path, tmp_path: Path) -> None:
    out = trained("materials", made, tmp_path)
    backbone = read_recipe("materials", "tiny").model_dump()["backbone"]
    tiny = TinyBackbone(**backbone)
    transformer = build_transformer(
        TransformerConfig(
            tiny.layers, tiny.single_layers, tiny.heads, tiny.head_dim, 12, tiny.text_dim, tiny.rope_axes
        )
    )
    bank = install_bank(transformer, rank=32)
    bank.load_published(load_file(out / "result" / "materials.safetensors"))
    told = read_metrics(out)
    assert "image" not in told[0]  # alone
    assert {"image", "gradients", "diffusion"} <= told[1].keys()  # joined and shaded
    assert not any("lpips" in name for name in told[1])


def test_the_upscaler_is_written_as_published(made: Path, tmp_path: Path) -> None:
    from backend.marcus.superres.networks import RRDBNet

    out = trained("superres", made, tmp_path)
    recipe = read_recipe("superres", "tiny").model_dump()
    network = RRDBNet(recipe["features"], recipe["blocks"], recipe["growth"])
    network.load_state_dict(load_file(out / "result" / "realesrgan_x4.safetensors"))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 32, 32)
    assert {"upscaler/adversarial", "critic/loss"} <= read_metrics(out)[1].keys()


@pytest.mark.slow
def test_the_encoder_is_written_and_read_back(made: Path, tmp_path: Path) -> None:
    out = trained("geometry", made, tmp_path)
    state = load_file(out / "result" / "net_recon.safetensors")
    assert len(state["final_layers.0.weight"]) == SHORT["geometry"]["identity"]
    again = short_recipe("geometry", tmp_path / "again.yaml", steps=1)
    start = out / "result" / "net_recon.safetensors"
    arguments = [
        "train",
        "geometry",
        "--set",
        made,
        "-o",
        tmp_path / "more",
        "--recipe",
        again,
        "--start",
        start,
    ]
    assert main([str(a) for a in (*arguments, "--cpu")]) == 0


@pytest.mark.slow
def test_the_papers_network_trains_in_miniature(made: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(short_recipe("geometry", tmp_path / "r.yaml").read_text())
    content |= {"network": {"kind": "mssf", "size": "tiny"}, "pixels": 64}
    content["optimisation"]["microbatch"] = 2
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    arguments = ["train", "geometry", "--set", made, "-o", tmp_path / "out", "--recipe", tmp_path / "r.yaml"]
    assert main([str(a) for a in (*arguments, "--cpu")]) == 0
    state = load_file(tmp_path / "out" / "result" / "net_recon.safetensors")
    assert "stages.0.blocks.0.conv_dw.weight" in state


def test_a_resume_goes_on_and_a_second_start_is_refused(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = trained("homogenise", made, tmp_path)
    base: list[str | Path] = ["train", "homogenise", "--set", made, "-o", out, "--cpu"]
    capfd.readouterr()
    run_failing(base, 2, capfd, "--resume")
    longer = short_recipe("homogenise", tmp_path / "longer.yaml", steps=3)
    assert main([str(a) for a in (*base, "--resume", "--recipe", longer)]) == 0
    assert [line["step"] for line in read_metrics(out)] == [1, 2, 3]
    capfd.readouterr()
    other = short_recipe("homogenise", tmp_path / "other.yaml", learning_rate=0.5)
    run_failing([*base, "--resume", "--recipe", other], 2, capfd, "optimisation.learning_rate")
    run_failing(["train", "inpaint", *base[2:], "--resume"], 2, capfd, "another task")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--recipe", "nowhere.yaml"], 3, "paper or tiny"),
        (["--recipe", "paper"], 3, "--weights"),
        (["--recipe", "tiny", "--resume"], 2, "leave out --resume"),
    ],
)
def test_bad_asks_are_one_line(
    arguments: list[str], code: int, says: str, made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_failing(["train", "inpaint", "--set", made, "-o", tmp_path / "x", *arguments], code, capfd, says)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_no_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments: list[str | Path] = ["train", "inpaint", "--set", tmp_path, "-o", tmp_path / "x"]
    run_failing([*arguments, "--recipe", "tiny"], 2, capfd, "manifest.json")


def test_maps_smaller_than_the_recipe_wants(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = short_recipe("inpaint", tmp_path / "large.yaml")
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump(content | {"texels": 512}))
    arguments: list[str | Path] = ["train", "inpaint", "--set", made, "-o", tmp_path / "x", "--cpu"]
    run_failing([*arguments, "--recipe", recipe], 2, capfd, "make a larger set")


@pytest.mark.parametrize("task", RECIPES)
def test_show_prints_a_recipe_that_can_be_given_back(
    task: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "show", task, "--recipe", "tiny"]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capfd.readouterr().out)
    assert read_recipe(task, str(path)) == read_recipe(task, "tiny")
