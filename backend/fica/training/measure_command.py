"""``likeness train fica-measure``: trained results on held-out people, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from backend.errors import BadInput
from backend.fica.recipes import (
    FICA_RECIPES,
    CodecRecipe,
    CompletionRecipe,
    ConditioningRecipe,
    PriorRecipe,
    RefinementRecipe,
)
from backend.fica.store import load_network
from backend.fica.training.build import build_task, renderer_for
from backend.fica.training.held_out import Means, open_held_out
from backend.fica.training.held_out_codec import measure_codec
from backend.fica.training.held_out_dense import measure_conditioning
from backend.fica.training.held_out_maps import measure_maps
from backend.fica.training.held_out_path import measure_path
from backend.fica.training.held_out_prior import measure_prior
from backend.fica.training.refinement import RefinementTask
from backend.fica.training.samples import open_split
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.training.recipe import parse_recipe, read_recipe

PATH = "fica-path"  # all parts, packed
_SEED = 17


@dataclass(frozen=True)
class Measurement:
    """What is asked: the results of a trainer on a set."""

    task: str
    folder: Path
    recipe: str = "tiny"
    result: Path | None = None  # None for an untrained refinement; packed networks for PATH
    start: Path | None = None  # of the refinement: the completion's result
    weights: Path | None = None  # published weights, at full size


def measured(asked: Measurement) -> list[Means]:
    """Means on the set's held-out people, baselines first.

    Raises: BadInput, Missing, BadWeights.
    """
    if asked.task == PATH:
        return measure_path(_result(asked), asked.folder)
    if asked.task not in FICA_RECIPES:
        raise BadInput(
            f"there is nothing to measure of '{asked.task}'; take one of {', '.join([*FICA_RECIPES, PATH])}"
        )
    head, device = load_head("open"), torch.device("cpu")
    path = Path(asked.recipe)
    recipe = (
        parse_recipe(asked.task, path.read_text("utf-8"), asked.recipe)
        if path.is_file()
        else read_recipe(asked.task, asked.recipe)
    )
    if isinstance(recipe, CompletionRecipe):
        return _completion(asked, recipe, head)
    assert isinstance(recipe, CodecRecipe | ConditioningRecipe | PriorRecipe | RefinementRecipe)
    people = open_held_out(asked.folder, head, recipe.texels, recipe.pixels)
    if isinstance(recipe, PriorRecipe):
        return measure_prior(_result(asked), people, recipe, renderer_for(device))
    train = open_split(asked.folder, head, recipe.texels, recipe.pixels).train
    if isinstance(recipe, CodecRecipe):
        return measure_codec(_result(asked), people, recipe, train)
    if isinstance(recipe, ConditioningRecipe):
        return measure_conditioning(_result(asked), people, recipe, train)
    task = build_task(recipe, asked.folder, device, asked.weights, "open", asked.start)
    assert isinstance(task, RefinementTask)
    if asked.result is not None:
        load_network(asked.result, "refinement", task.network, recipe.size, recipe.texels)
    return measure_maps(task, people, recipe.evidence, train, _SEED)


def _completion(asked: Measurement, recipe: CompletionRecipe, head: ParametricHead) -> list[Means]:
    """As what an untrained refinement, which changes nothing, makes of it."""
    result = _result(asked)
    other = read_recipe("fica-refinement", "tiny" if recipe.size == "tiny" else "paper")
    same = {name: getattr(recipe, name) for name in ("texels", "pixels", "evidence", "sampling_steps")}
    refinement = other.model_copy(update=same)
    people = open_held_out(asked.folder, head, recipe.texels, recipe.pixels)
    task = build_task(refinement, asked.folder, torch.device("cpu"), asked.weights, "open", result)
    assert isinstance(task, RefinementTask)
    train = open_split(asked.folder, head, recipe.texels, recipe.pixels).train
    rows = measure_maps(task, people, recipe.evidence, train, _SEED)
    return [row for row in rows if row.of != "refined"]


def _result(asked: Measurement) -> Path:
    if asked.result is None:
        raise BadInput(f"give the result of {asked.task} as --result")
    return asked.result
