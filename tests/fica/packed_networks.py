"""Random tiny networks as the trainers leave them, and packed; a reconstruction that they may look at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from synthetic_avatar import make_camera, make_reconstruction
from torch import nn

from backend.artifacts import Reconstruction
from backend.fica.atlas import build_atlas
from backend.fica.codec import TINY_CODEC, Codec
from backend.fica.dense import DensePredictor
from backend.fica.dit import CompletionDiT
from backend.fica.maps import frame_of
from backend.fica.networks import Trainings
from backend.fica.prior import UniversalPrior
from backend.fica.refinement import RefinementNetwork
from backend.fica.semantic import build_semantic
from backend.fica.sizes import dense_config, dit_config, prior_config, refinement_config, semantic_config
from backend.fica.store import Part, save_network
from backend.head.base import ParametricHead
from backend.training.recipe import read_recipe, written


def write_trainings(parent: Path, head: ParametricHead) -> Trainings:
    """Four finished trainings; the prior answers, for its last layers are filled."""
    torch.manual_seed(3)
    prior = UniversalPrior(prior_config("tiny", 128), frame_of(build_atlas(head, 128)))
    for branch in (prior.geometry_branch, prior.colour_branch):
        nn.init.normal_(branch.last.weight, std=1.0)
    parts: dict[str, dict[Part, nn.Module]] = {
        "conditioning": {"conditioning": DensePredictor(dense_config("tiny"))},
        "completion": {
            "completion": CompletionDiT(dit_config("tiny", 64)),
            "codec": Codec(TINY_CODEC),
            "semantic": build_semantic(semantic_config("tiny")),
        },
        "refinement": {"refinement": RefinementNetwork(refinement_config("tiny"))},
        "prior": {"prior": prior},
    }
    for name, networks in parts.items():
        out = parent / name
        (out / "result").mkdir(parents=True)
        recipe = read_recipe(f"fica-{name}", "tiny")
        (out / "recipe.yaml").write_text(written(recipe))
        session = {"task": f"fica-{name}", "set": "5e" * 32, "head": "open", "start": None}
        (out / "training.json").write_text(json.dumps(session))
        (out / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n')
        for part, network in networks.items():
            save_network(out / "result", part, network, "tiny", recipe.model_dump()["texels"])
    return Trainings(*(parent / name for name in ("completion", "refinement", "prior", "conditioning")))


def portrayed(head: ParametricHead) -> Reconstruction:
    """A made-up reconstruction of ``head``, smiling; the picture is noise."""
    made = make_reconstruction(head, camera=make_camera(160, 160))
    picture = made.observation.photo.rgb_srgb
    picture[:] = np.random.default_rng(0).random(picture.shape)
    return made
