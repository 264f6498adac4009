"""``likeness train fica-measure``: trained results on held-out people, one line each."""

from __future__ import annotations

from pathlib import Path

import torch

from backend.errors import BadInput
from backend.fica.recipes import PriorRecipe, RefinementRecipe
from backend.fica.store import load_network
from backend.fica.training.build import build_task, renderer_for
from backend.fica.training.held_out import Means, measure_maps, measure_prior, open_held_out
from backend.fica.training.refinement import RefinementTask
from backend.fica.training.samples import open_split
from backend.head.registry import load_head
from backend.training.recipe import parse_recipe, read_recipe

_SEED = 17


def measured(task: str, folder: Path, result: Path | None, start: Path | None, recipe: str) -> list[Means]:
    """Means of ``fica-prior`` or ``fica-refinement`` (which measures the completion in ``start``, too).

    ``result`` is None for an untrained refinement: the completion alone.
    Raises: BadInput, Missing, BadWeights.
    """
    head = load_head("open")
    path = Path(recipe)
    chosen = (
        parse_recipe(task, path.read_text("utf-8"), recipe) if path.is_file() else read_recipe(task, recipe)
    )
    device = torch.device("cpu")
    if isinstance(chosen, PriorRecipe):
        if result is None:
            raise BadInput("give the prior's result as --result")
        people = open_held_out(folder, head, chosen.texels, chosen.pixels)
        return measure_prior(result, people, chosen.size, chosen.pixels, renderer_for(device))
    if not isinstance(chosen, RefinementRecipe):
        raise BadInput(
            "fica-prior and fica-refinement can be measured; the completion is measured as what is refined"
        )
    people = open_held_out(folder, head, chosen.texels, chosen.pixels)
    built = build_task(chosen, folder, device, None, "open", start)
    assert isinstance(built, RefinementTask)
    if result is not None:
        load_network(result, "refinement", built.network, chosen.size, chosen.texels)
    train = open_split(folder, head, chosen.texels, chosen.pixels).train
    return measure_maps(built, people, chosen.evidence, train, _SEED)
