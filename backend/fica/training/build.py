"""From a recipe and a multi-view set to the task that the loop trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from backend.errors import BadInput, Missing
from backend.fica.codec import Codec
from backend.fica.completion import Completion
from backend.fica.dense import DensePredictor
from backend.fica.dit import CompletionDiT
from backend.fica.features import SapiensEncoder
from backend.fica.maps import frame_of
from backend.fica.prior import UniversalPrior
from backend.fica.recipes import (
    CodecRecipe,
    CompletionRecipe,
    ConditioningRecipe,
    PriorRecipe,
    RefinementRecipe,
)
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import ClipEncoder, build_semantic
from backend.fica.sizes import (
    Size,
    codec_config,
    dense_config,
    dit_config,
    prior_config,
    refinement_config,
    semantic_config,
)
from backend.fica.store import load_network
from backend.fica.training.codec import CodecTask
from backend.fica.training.completion import CompletionTask
from backend.fica.training.conditioning import ConditioningTask
from backend.fica.training.prior import PriorTask
from backend.fica.training.refinement import RefinementTask
from backend.fica.training.samples import open_split
from backend.gaussians.renderer import Renderer
from backend.head.registry import load_head
from backend.training.recipe import Recipe
from backend.training.task import Task

# Folders of published weights inside --weights, in the layouts of transformers.
SAPIENS, CLIP = "sapiens2", "clip"
Network = TypeVar("Network", bound=nn.Module)


def build_task(
    recipe: Recipe, folder: Path, device: torch.device, weights: Path | None, head: str, start: Path | None
) -> Task:
    """The task of a recipe of ``backend.fica.recipes`` on the set in ``folder``.

    ``weights`` holds what is frozen: the codec (a result of `fica-codec`), and at full size ``sapiens2`` and
    ``clip``. ``start`` is the result of the part that comes before: the dense predictor for the completion,
    the completion for the refinement.
    Raises: BadInput (set or head cannot be used), Missing (weights that the recipe needs), BadWeights.
    """
    if isinstance(recipe, CodecRecipe):
        return CodecTask(recipe, open_split(folder, load_head(head), recipe.texels, recipe.pixels), device)
    assert isinstance(recipe, ConditioningRecipe | CompletionRecipe | RefinementRecipe | PriorRecipe)
    split = open_split(folder, load_head(head), recipe.texels, recipe.pixels)
    frame = frame_of(split.train.atlas, device)
    if isinstance(recipe, ConditioningRecipe):
        return ConditioningTask(recipe, split, _predictor(recipe.size, recipe.seed, weights))
    if isinstance(recipe, PriorRecipe):
        config = prior_config(recipe.size, recipe.texels)
        network = seeded(recipe.seed, lambda: UniversalPrior(config, frame_of(split.train.atlas)))
        return PriorTask(recipe, split, network, frame, renderer_for(device))
    if isinstance(recipe, CompletionRecipe):
        completion = _completion(recipe, weights, device)
        completion.transformer.is_checkpointed = recipe.gradient_checkpointing
        semantic = _semantic(recipe, weights)
        predictor = None
        if start is not None:
            predictor = DensePredictor(dense_config(recipe.size))
            load_network(start, "conditioning", predictor, recipe.size, recipe.texels)
            predictor.to(device).requires_grad_(False)
        return CompletionTask(recipe, split, completion, semantic, predictor, frame)
    refiner = seeded(recipe.seed, lambda: RefinementNetwork(refinement_config(recipe.size)))
    _read_sapiens(refiner.encoder, recipe.size, weights)
    first, told = (None, None) if start is None else _finished(recipe, start, weights, device)
    return RefinementTask(recipe, split, refiner, first, told, frame, renderer_for(device))


def renderer_for(device: torch.device) -> Renderer:
    """gsplat on CUDA, compiled tiles on a processor. Raises: Missing."""
    if device.type == "cuda":
        from backend.gaussians.gsplat_renderer import GsplatRenderer

        return GsplatRenderer()
    from backend.gaussians.numba_renderer import NumbaRenderer

    return NumbaRenderer()


def seeded(seed: int, make: Callable[[], Network]) -> Network:
    """A network whose random weights follow from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _predictor(size: Size, seed: int, weights: Path | None) -> DensePredictor:
    network = seeded(seed, lambda: DensePredictor(dense_config(size)))
    _read_sapiens(network.encoder, size, weights)
    return network


def _read_sapiens(encoder: nn.Module, size: Size, weights: Path | None) -> None:
    if size == "full":
        assert isinstance(encoder, SapiensEncoder)
        encoder.read(_inside(weights, SAPIENS, "Sapiens2"))


def _completion(recipe: CompletionRecipe, weights: Path | None, device: torch.device) -> Completion:
    if weights is None:
        raise Missing(
            "the completion needs an autoencoder: train fica-codec and give its result as --weights"
        )
    codec = Codec(codec_config(recipe.size))
    load_network(weights, "codec", codec, recipe.size, recipe.texels)
    config = dit_config(recipe.size, recipe.texels)
    if config.latent_channels != codec.config.channels:
        raise BadInput(f"latents have {codec.config.channels} channels, the transformer takes another number")
    transformer = seeded(recipe.seed, lambda: CompletionDiT(config))
    return Completion(codec.to(device).requires_grad_(False), transformer)


def _semantic(recipe: CompletionRecipe, weights: Path | None) -> nn.Module | None:
    if not recipe.evidence.semantic:
        return None
    network = seeded(recipe.seed + 1, lambda: build_semantic(semantic_config(recipe.size)))
    if isinstance(network, ClipEncoder):
        network.read(_inside(weights, CLIP, "CLIP ViT-L/14"))
    return network


def _finished(
    recipe: RefinementRecipe, start: Path, weights: Path | None, device: torch.device
) -> tuple[Completion, nn.Module | None]:
    """The completion to be refined, frozen."""
    size, texels = recipe.size, recipe.texels
    codec, transformer = Codec(codec_config(size)), CompletionDiT(dit_config(size, texels))
    load_network(start, "codec", codec, size, texels)
    load_network(start, "completion", transformer, size, texels)
    semantic = None
    if recipe.evidence.semantic:
        semantic = build_semantic(semantic_config(size))
        if isinstance(semantic, ClipEncoder):
            semantic.read(_inside(weights, CLIP, "CLIP ViT-L/14"))
        else:
            load_network(start, "semantic", semantic, size, texels)
        semantic.to(device).eval().requires_grad_(False)
    return Completion(codec, transformer).to(device).eval().requires_grad_(False), semantic


def _inside(weights: Path | None, name: str, what: str) -> Path:
    if weights is None or not (weights / name).is_dir():
        raise Missing(
            f"this recipe needs {what}: give a folder with '{name}' in it as --weights, or take tiny"
        )
    return weights / name
