"""From a recipe and a set to the task that the loop trains."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch

from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.marcus.training.backbone import assemble
from backend.marcus.training.perceptual import perceptual_distance
from backend.marcus.training.set_task import open_instances
from backend.training.recipe import (
    GeometryRecipe,
    MaterialsRecipe,
    Recipe,
    SuperresRecipe,
    UVFlowRecipe,
)
from backend.training.task import Task


def build_task(
    name: str,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    weights: Path | None,
    head: str,
    start: Path | None,
) -> Task:
    """The task ``name`` on the set in ``folder``.

    Raises: BadInput (set or head cannot be used), Missing (weights that the recipe needs), BadWeights.
    """
    if isinstance(recipe, GeometryRecipe):
        return _geometry(recipe, folder, device, head, start)
    data = open_instances(folder, recipe.keeping.sampled)
    if isinstance(recipe, UVFlowRecipe):
        from backend.marcus.training.uv_flow import UVFlowTask

        stage = cast(Literal["inpaint", "homogenise"], name)
        return UVFlowTask(stage, recipe, assemble(recipe.backbone, weights, device), data)
    if isinstance(recipe, MaterialsRecipe):
        from backend.marcus.training.materials import MaterialsTask

        perceptual = perceptual_distance(recipe.shading.network)
        backbone = assemble(recipe.backbone, weights, device)
        return MaterialsTask(recipe, backbone, data, _head(head), perceptual)
    if isinstance(recipe, SuperresRecipe):
        from backend.marcus.training.superres import SuperresTask

        return SuperresTask(recipe, data, device, start)
    raise BadInput(f"there is no trainer '{name}' for this recipe")


def _geometry(
    recipe: GeometryRecipe, folder: Path, device: torch.device, head: str, start: Path | None
) -> Task:
    from backend.marcus.training.geometry import GeometryTask
    from backend.marcus.training.landmarked import landmarked, standard_five
    from backend.marcus.training.photographs import PhotoPortraits, is_prepared
    from backend.marcus.training.portraits import Portraits, SetPortraits, Sitters

    model = load_head(head)
    standard, shown = standard_five(model, head), recipe.keeping.sampled
    data: Portraits
    if is_prepared(folder):
        data = PhotoPortraits(folder, recipe.pixels, standard, shown)
    else:
        instances = open_instances(folder, shown)
        sitters = Sitters(load_head(instances.manifest.recipe.head), recipe.pixels, standard)
        data = SetPortraits(instances, sitters)
    return GeometryTask(recipe, data, landmarked(model), device, start)


def _head(name: str) -> ParametricHead:
    return load_head(name)
