"""The autoencoder on held-out people's maps: how much it keeps, against the mean head."""

from __future__ import annotations

from pathlib import Path

import torch

from backend.fica.codec import Codec
from backend.fica.maps import HeadMaps, signed, unsigned
from backend.fica.recipes import CodecRecipe
from backend.fica.sizes import codec_config
from backend.fica.store import load_network
from backend.fica.training.held_out import Means, Tally, mean_maps
from backend.fica.training.people import People


@torch.no_grad()
def measure_codec(result: Path, people: list[People], recipe: CodecRecipe, train: People) -> list[Means]:
    """Mean L1 of texture (display sRGB) and distance of geometry, coded and decoded.

    Raises: Missing, BadWeights.
    """
    codec = Codec(codec_config(recipe.size))
    load_network(result, "codec", codec, recipe.size, recipe.texels)
    codec.eval()
    average, frame, tally = mean_maps(train), train.frame, Tally()
    count = frame.inside.sum()
    for split, one in enumerate(people):
        for row in one.persons():
            truth = one.maps(row)
            coded = HeadMaps(
                unsigned(codec.decode(codec.encode(signed(truth.texture)))).clamp(0, 1),
                frame.metres(codec.decode(codec.encode(frame.coded(truth.geometry)))),
            )
            for name, maps in (("mean head", average), ("coded", coded)):
                texture = ((maps.texture - truth.texture).abs() * frame.inside).sum() / (3 * count)
                off = (maps.geometry - truth.geometry).norm(dim=1, keepdim=True) * frame.inside
                found = {"texture_l1": float(texture), "geometry_mm": 1000 * float(off.sum() / count)}
                tally.add(name, (split, row), found)
    return tally.means()
