"""The trainers on a made-up set: each part's loss falls, products are read back, two processes are as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dome_set import PIXELS, SMILE, skin_colour

from backend.errors import BadInput, BadWeights, Missing
from backend.fica.codec import TINY_CODEC, Codec
from backend.fica.dit import CompletionDiT
from backend.fica.maps import HeadMaps
from backend.fica.recipes import Evidence
from backend.fica.sizes import dit_config
from backend.fica.store import load_network
from backend.fica.training.build import build_task
from backend.fica.training.held_out_maps import filled
from backend.fica.training.measure_command import Measurement, measured
from backend.fica.training.people import open_people
from backend.head.base import ParametricHead
from backend.training.diary import read_metrics
from backend.training.loop import make_accelerator, train
from backend.training.recipe import Recipe, parse_recipe, read_recipe, shipped_names, written
from backend.training.session import Asked, run_training

ROOT = Path(__file__).parents[2]


def short(task: str, steps: int, **changes: object) -> Recipe:
    """The tiny recipe on the made-up set's sizes, ``steps`` long."""
    recipe = read_recipe(task, "tiny")
    optimisation = recipe.optimisation.model_copy(
        update={"steps": steps, "batch": 2, "microbatch": 1, "warmup_steps": 0, "rate_at_end": 1.0}
    )
    keeping = recipe.keeping.model_copy(
        update={"checkpoint_every": steps, "sample_every": steps, "sampled": 2, "log_every": 1}
    )
    return recipe.model_copy(
        update={"texels": 64, "optimisation": optimisation, "keeping": keeping, "pixels": PIXELS, **changes}
    )


def trained(
    task: str, recipe: Recipe, dome: Path, out: Path, weights: Path | None = None, start: Path | None = None
) -> list[dict[str, float]]:
    out.mkdir()
    (out / "recipe.yaml").write_text(written(recipe))
    accelerator = make_accelerator(recipe.optimisation, cpu=True)
    made = build_task(recipe, dome, accelerator.device, weights, "open", start)
    train(made, recipe, out, accelerator)
    return read_metrics(out)


def test_head_maps_and_sights_are_the_sets(dome: Path, head: ParametricHead) -> None:
    people = open_people(dome, "train", head, 64, 48)
    assert len(people) == 4
    assert people.persons() == [0, 2]
    maps = people.maps(3)
    skin = torch.from_numpy(people.atlas.part == 0)
    # The skin's chart is one flat colour; eyes and the rest come from the views.
    np.testing.assert_allclose(maps.texture[0][:, skin].mean(1).numpy(), skin_colour(1), atol=0.02)
    eye = torch.from_numpy(people.atlas.part == head.part_names.index("eye_left"))
    assert (maps.texture[0][:, eye].mean(0) > 0.4).float().mean() > 0.1
    neutral = people.atlas.on_texels(people.vertices(3, neutral=True)).transpose(2, 0, 1)
    np.testing.assert_allclose(maps.geometry[0].numpy(), neutral)
    assert people.maps(2) is maps
    drive = people.drive(3)
    assert float(drive.sum()) == pytest.approx(sum(SMILE.values()))
    assert (people.posed(3) - maps.geometry[0]).abs().max() > 0.005
    sight = people.sight(3, 0)
    assert sight.picture.shape == (3, 48, 48)
    # Where the head is known the mask has it, and vertices project onto their own pixels.
    assert (sight.mask[sight.known > 0] > 0.3).float().mean() > 0.97
    row, column = np.nonzero(sight.known[0].numpy())
    px, _ = sight.camera.project(sight.vertex[:, row, column].numpy().T)
    np.testing.assert_allclose(px, np.stack([column, row], 1) + 0.5, atol=0.02)


@pytest.mark.slow
def test_each_part_hands_on_what_the_next_one_starts_from(dome: Path, tmp_path: Path) -> None:
    """Codec, predictor, completion on both, refinement of that; the predictor's UV comes nearer meanwhile."""
    trained("fica-codec", short("fica-codec", 2), dome, tmp_path / "codec")
    dense = trained("fica-conditioning", short("fica-conditioning", 15), dome, tmp_path / "conditioning")
    assert np.mean([line["uv"] for line in dense[-3:]]) < 0.8 * dense[0]["uv"]
    recipe = short("fica-completion", 4, pretraining_steps=2, sampling_steps=2)
    codec, predictor = (tmp_path / name / "result" for name in ("codec", "conditioning"))
    lines = trained("fica-completion", recipe, dome, tmp_path / "completion", codec, predictor)
    assert ["photograph" in line for line in lines] == [True, True, False, False]
    assert ["texture" in line for line in lines] == [False, False, True, True]
    recipe = short("fica-refinement", 2, sampling_steps=2)
    trained("fica-refinement", recipe, dome, tmp_path / "refined", None, tmp_path / "completion" / "result")
    assert (tmp_path / "refined" / "result" / "refinement.safetensors").is_file()
    for name in ("codec", "conditioning", "completion"):
        asked = Measurement(
            f"fica-{name}", dome, str(tmp_path / name / "recipe.yaml"), tmp_path / name / "result"
        )
        rows = measured(asked)
        assert rows[0].of.startswith("mean")
        assert all(row.pictures == rows[0].pictures > 0 and row.values for row in rows)
        assert np.isfinite([list(row.values.values()) for row in rows[1:]]).all()


@pytest.mark.slow
def test_the_prior_learns_a_face_in_a_few_steps(dome: Path, tmp_path: Path) -> None:
    recipe = short("fica-prior", 8, true_geometry_steps=2, blend_steps=2)
    lines = trained("fica-prior", recipe, dome, tmp_path / "prior")
    assert lines[-1]["image"] < 0.9 * lines[0]["image"]
    (tmp_path / "mine.yaml").write_text(written(recipe))
    result = tmp_path / "prior" / "result"
    prior, mesh = measured(Measurement("fica-prior", dome, str(tmp_path / "mine.yaml"), result))
    assert prior.pictures == mesh.pictures == 6  # one person, two moments, three cameras
    assert 8 < prior.values["psnr_db"] < 50
    assert prior.values["surface_mm"] > 0


def test_products_are_read_back_and_others_refused(dome: Path, tmp_path: Path) -> None:
    trained("fica-codec", short("fica-codec", 1), dome, tmp_path / "codec")
    result = tmp_path / "codec" / "result"
    load_network(result, "codec", Codec(TINY_CODEC), "tiny", 64)
    with pytest.raises(BadWeights, match="tiny with 64 texels"):
        load_network(result, "codec", Codec(TINY_CODEC), "tiny", 128)
    with pytest.raises(Missing, match="holds no completion"):
        load_network(result, "completion", CompletionDiT(dit_config("tiny", 64)), "tiny", 64)
    with pytest.raises(Missing, match="fica-codec"):
        build_task(short("fica-completion", 1), dome, torch.device("cpu"), None, "open", None)


def test_full_size_asks_for_published_weights(dome: Path) -> None:
    recipe = short("fica-conditioning", 1).model_copy(update={"size": "full"})
    with torch.device("meta"), pytest.raises(Missing, match="Sapiens2"):  # no memory for what is not read
        build_task(recipe, dome, torch.device("cpu"), None, "open", None)


def test_an_untrained_refinement_measures_as_what_it_refines(dome: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(written(short("fica-refinement", 1)))
    asked = Measurement("fica-refinement", dome, str(tmp_path / "mine.yaml"))
    rows = {row.of: row for row in measured(asked)}
    degraded, before, after = rows["completed"], rows["with what is seen"], rows["refined"]
    assert before.pictures > 0
    for name, value in before.values.items():
        assert after.values[name] == pytest.approx(value, rel=1e-3)
    # Each axis is off by 3 mm in the mean square: the length of three such Gaussians is 1.6 times that.
    assert degraded.values["geometry_mm"] == pytest.approx(1.6 * 3, rel=0.3)
    assert before.values["psnr_db"] > degraded.values["psnr_db"]
    assert rows["mean head"].values["geometry_mm"] > 1
    filled = rows["portrait, filled with the mean"]
    assert filled.pictures == before.pictures


def test_the_filled_portrait_is_the_truth_where_it_shows_it_and_the_mean_elsewhere(
    dome: Path, head: ParametricHead
) -> None:
    exact = Evidence(
        normal_and_vertex=True, semantic=True, most_yaw_degrees=60.0, uv_error=0, vertex_error_m=0
    )
    recipe = short("fica-refinement", 1, evidence=exact)
    task = build_task(recipe, dome, torch.device("cpu"), None, "open", None)
    people = open_people(dome, "val", head, 64, PIXELS)
    sample = task.portrait_sample(people, 0, 0, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    batch = {name: value[None] for name, value in sample.items()}
    frame, truth = people.frame, people.maps(0)
    average = HeadMaps(torch.zeros_like(truth.texture), frame.mean + 0.02 * frame.inside)
    made = filled(batch, average, frame)
    shown = made.texture.sum(1, keepdim=True) > 0.05
    off = (made.geometry - truth.geometry).norm(dim=1, keepdim=True)
    assert 0.2 < float(shown.float().mean()) < 0.8
    assert float(off[shown].median()) < 0.003  # of texels 5 mm wide
    beyond = (frame.inside > 0) & ~shown
    torch.testing.assert_close(made.geometry[:, :1][beyond], average.geometry[:, :1][beyond])


def test_recipes_ship_in_paper_and_tiny_size_and_say_what_is_wrong() -> None:
    for task in ("fica-codec", "fica-conditioning", "fica-completion", "fica-refinement", "fica-prior"):
        for name in shipped_names(task):
            recipe = read_recipe(task, name)
            assert parse_recipe(task, written(recipe), name) == recipe
    assert {"ablation-rgb", "ablation-geometry", "tiny-rgb", "tiny-geometry"} < set(
        shipped_names("fica-completion")
    )
    paper = read_recipe("fica-refinement", "paper").model_dump()
    assert paper["weights"] == {"photometric": 2.0, "mask": 0.5, "keypoints": 0.01, "regularisation": 1.0}
    assert (paper["optimisation"]["steps"], paper["optimisation"]["batch"]) == (50000, 128)
    with pytest.raises(BadInput, match="texels"):
        parse_recipe("fica-prior", written(read_recipe("fica-prior", "tiny")).replace("128", "100"), "mine")


def test_the_command_trains(dome: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(written(short("fica-conditioning", 1)))
    run_training(Asked("fica-conditioning", dome, tmp_path / "out", str(tmp_path / "mine.yaml"), False, True))
    assert (tmp_path / "out" / "result" / "conditioning.safetensors").is_file()
    assert (tmp_path / "out" / "samples" / "step-00000001.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["fica-prior", "fica-completion"])
def test_two_processes_take_the_steps_of_one(task: str, dome: Path, tmp_path: Path) -> None:
    """Equal but for the order of sums, in every phase of a warm-up."""
    phases = {
        "fica-prior": {"true_geometry_steps": 2, "blend_steps": 1},
        "fica-completion": {"pretraining_steps": 2},
    }
    (tmp_path / "mine.yaml").write_text(written(short(task, 5, **phases[task])))
    command = ["train", task, "--set", str(dome), "--recipe", str(tmp_path / "mine.yaml"), "--cpu"]
    if task == "fica-completion":
        trained("fica-codec", short("fica-codec", 1), dome, tmp_path / "codec")
        command += ["--weights", str(tmp_path / "codec" / "result")]
    run = [sys.executable, "-c", "from backend.cli import main; main()"]
    (tmp_path / "main.py").write_text("from backend.cli import main\n\nmain()\n")
    two = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29643"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, start in (("one", run), ("two", [*two, str(tmp_path / "main.py")])):
        made = subprocess.run(
            [*start, *command, "-o", str(tmp_path / name)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert made.returncode == 0, made.stderr
    one, other = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(one) == len(other) == 5
    for key in ("loss", f"{task.removeprefix('fica-')}/gradient_norm"):
        np.testing.assert_allclose([t[key] for t in other], [t[key] for t in one], rtol=2e-3)
