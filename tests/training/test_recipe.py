"""Recipes: those that ship, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.errors import BadInput, Missing
from backend.training.recipe import (
    RECIPES,
    SHIPPED,
    GeometryRecipe,
    MaterialsRecipe,
    UVFlowRecipe,
    differences,
    parse_recipe,
    read_recipe,
    written,
)


@pytest.mark.parametrize("task", RECIPES)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_come_back_as_written(task: str, name: str) -> None:
    recipe = read_recipe(task, name)
    assert parse_recipe(task, written(recipe), "again") == recipe


@pytest.mark.parametrize("task", ["inpaint", "homogenise"])
def test_papers_numbers_of_the_sequential_stages(task: str) -> None:
    recipe = read_recipe(task, "paper")
    assert isinstance(recipe, UVFlowRecipe)
    o = recipe.optimisation
    assert (o.steps, o.batch, o.learning_rate, o.precision) == (20_000, 64, 1e-4, "bf16")
    assert (recipe.rank, recipe.texels, recipe.sampling_steps) == (32, 1024, 30)


def test_papers_numbers_of_the_materials() -> None:
    recipe = read_recipe("materials", "paper")
    assert isinstance(recipe, MaterialsRecipe)
    assert (recipe.optimisation.steps, recipe.independent_steps, recipe.optimisation.batch) == (
        20_000,
        10_000,
        8,
    )
    shading = recipe.shading
    assert (shading.image, shading.perceptual, shading.network) == (0.5, 0.1, "lpips")
    assert (shading.ambient, shading.displacement_dm) == ((0.15, 0.3), 0.01)


def test_papers_schedule_of_the_geometry() -> None:
    recipe = read_recipe("geometry", "paper")
    assert isinstance(recipe, GeometryRecipe)
    assert recipe.optimisation.steps_for(100_000) == 50 * (100_000 // 128)
    assert recipe.network.kind == "mssf"


def changed(task: str, **fields: Any) -> str:
    content = yaml.safe_load(written(read_recipe(task, "tiny")))
    for path, value in fields.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return str(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("task", "fields", "says"),
    [
        ("inpaint", {"rank": 0}, "rank"),
        ("inpaint", {"rank": "many"}, "rank"),
        ("inpaint", {"ranks": 3}, "ranks"),
        ("inpaint", {"optimisation__batch": None}, "optimisation.batch"),
        ("inpaint", {"optimisation__microbatch": 3}, "multiple of microbatch"),
        ("inpaint", {"optimisation__epochs": 2}, "either steps or epochs"),
        ("inpaint", {"backbone__kind": "huge"}, "backbone"),
        ("inpaint", {"texels": 33}, "texels"),
        ("materials", {"independent_steps": 10**6}, "independent_steps"),
        ("superres", {"scale": 3}, "scale"),
        ("geometry", {"network__kind": "vit"}, "network"),
    ],
)
def test_bad_fields_are_named(task: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=r"^the recipe 'mine'") as caught:
        parse_recipe(task, changed(task, **fields), "mine")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2", "just words", "", "- a\n- b"])
def test_what_is_no_recipe_is_said_in_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_recipe("inpaint", text, "mine")
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(Missing, match="paper or tiny"):
        read_recipe("inpaint", "nowhere.yaml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_recipe("inpaint", str(tmp_path))


def test_differences_are_paths() -> None:
    a, b = read_recipe("inpaint", "tiny").model_dump(), read_recipe("inpaint", "tiny").model_dump()
    assert differences(a, b) == []
    b["optimisation"]["batch"] = 1
    b["rank"] = 7
    assert differences(a, b) == ["optimisation.batch", "rank"]
