"""The trainers on LongCat-Image-Edit in the published layout, in miniature: VAE, Qwen2.5-VL, schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from synthetic_set import make_here
from test_trainers import short_recipe

from backend.cli import main
from backend.head.registry import load_head
from backend.marcus.adapters import read_adapter
from backend.marcus.tiny import write_longcat
from backend.marcus.training.backbone import assemble
from backend.marcus.training.materials import MaterialsTask
from backend.marcus.training.perceptual import gradient_distance
from backend.marcus.training.set_task import open_instances
from backend.marcus.training.uv_flow import UVFlowTask
from backend.training.recipe import MaterialsRecipe, ReleasedBackbone, UVFlowRecipe, read_recipe
from backend.training.task import Task, collate

pytestmark = pytest.mark.slow


def test_pictures_and_prompts_go_through_the_published_parts(tmp_path: Path) -> None:
    write_longcat(tmp_path)
    made = assemble(ReleasedBackbone(kind="released"), tmp_path, torch.device("cpu"))
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    coded = made.codec.encode(pictures)
    assert coded.shape[1:] == made.codec.shape(64)
    assert made.codec.decode(coded).shape == pictures.shape
    text = made.text.encode(["a face", ""], pictures)
    assert text.shape[:1] == (2,)
    assert not torch.equal(text[0], text[1])
    assert made.grid(64) == (4, 4)


def test_an_adapter_of_the_published_model_is_trained(tmp_path: Path) -> None:
    make_here(tmp_path / "set")
    write_longcat(tmp_path / "longcat")
    recipe = short_recipe("homogenise", tmp_path / "recipe.yaml")
    content = yaml.safe_load(recipe.read_text())
    content["backbone"] = {"kind": "released", "gradient_checkpointing": True}
    recipe.write_text(yaml.safe_dump(content))
    out, weights = tmp_path / "out", tmp_path / "longcat"
    arguments = ["train", "homogenise", "--set", tmp_path / "set", "-o", out, "--recipe", recipe]
    assert main([str(a) for a in (*arguments, "--weights", weights, "--cpu")]) == 0
    assert read_adapter(out / "result" / "transformer").rank == 32


def one_batch(task: Task) -> dict[str, torch.Tensor]:
    return collate([task.sample(0, 0), task.sample(1, 1)])


@pytest.mark.parametrize("name", ["inpaint", "materials"])
def test_a_base_in_bf16_trains_weights_in_float32(name: str, tmp_path: Path) -> None:
    """As on a GPU: the loss of the float32 base within bf16's rounding, gradients in float32."""
    make_here(tmp_path / "set")
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        recipe = read_recipe(name, "tiny")
        assert isinstance(recipe, UVFlowRecipe | MaterialsRecipe)
        backbone = assemble(recipe.backbone, None, torch.device("cpu"))
        backbone.transformer.to(dtype)
        data = open_instances(tmp_path / "set", 2)
        task: Task
        if isinstance(recipe, UVFlowRecipe):
            task = UVFlowTask("inpaint", recipe, backbone, data)
        else:
            task = MaterialsTask(recipe, backbone, data, load_head("open"), gradient_distance)
            task.begin(recipe.independent_steps)
        objective = task.players[0].objective
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss, _ = objective(one_batch(task))
        loss.backward()
        trained = [p for p in objective.parameters() if p.requires_grad]
        assert {p.dtype for p in trained} == {torch.float32}
        assert all(p.grad is not None for p in trained)
        losses.append(loss.item())
        assert np.isfinite(task.picture()).all()
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
