"""A small network that learns from a streamed set, and a head that is relit while it does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from backend.head.registry import load_head
from backend.shading import latlong, transferred
from backend.shading.environment import Environment
from backend.training.loader import Reading, heads, instances, open_set
from backend.training.schema import Recipe
from backend.uvspace.chart import chart_maps
from backend.uvspace.normals import vertex_normals
from synthdata.run.plan import plan_shards
from synthdata.run.sources import Job, Sources
from synthdata.run.store import keep_unit, open_store
from synthdata.run.unit import make_unit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in three lights each, by the fast path."""
    pytest.importorskip("embreex")
    folder = tmp_path_factory.mktemp("set")
    recipe = Recipe(
        preset="smoke",
        count=6,
        seed=1,
        instances_per_person=3,
        persons_per_shard=2,
        texels=64,
        portrait_px=96,
        panoramas=(),
        head_sha256=load_head("open").weights_sha256 or "",
        versions={},
    )
    sources = Sources(Job(msgspec.json.encode(recipe)))
    plans = plan_shards(recipe)
    with open_store(folder, recipe, (), (), plans, False) as (store, _):
        for unit in (unit for plan in plans for unit in plan.units):
            keep_unit(folder, unit, make_unit(unit, recipe, sources))
        store.seal_what_is_whole()
    return folder


def test_a_network_learns_even_light_from_streamed_instances(made: Path) -> None:
    """From partial and shaded chart, in units of the light, to the evenly lit one: the loss falls."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(7, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 3, 3, padding=1)
    )
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    data = open_set(made)
    split = data.manifest.shards[0].split
    losses = []
    for epoch in range(120):
        for one in instances(data, Reading(split, shuffle=4, seed=epoch, threads=2)):
            lit = np.concatenate([one.t_inc, one.t_env], -1) / one.meta.exposure
            seen = np.concatenate([lit, one.visibility[..., None]], -1).astype(np.float32)
            wanted = torch.as_tensor(one.t_hom.transpose(2, 0, 1))[None]
            loss = (net(torch.as_tensor(seen.transpose(2, 0, 1))[None]) - wanted).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert len(losses) >= 360
    assert np.mean(losses[-60:]) < 0.67 * np.mean(losses[:6])


def test_a_streamed_head_is_relit_as_the_set_was(made: Path) -> None:
    """In white light from everywhere the head of the shard shows its instance's t_hom."""
    data, head = open_set(made), load_head("open")
    split = data.manifest.shards[0].split
    posed = next(iter(heads(data, Reading(split))))
    one = next(i for i in instances(data, Reading(split)) if i.meta.person == posed.meta.person)
    light = transferred.head_light(
        posed.transfer,
        posed.vertices_head,
        vertex_normals(posed.vertices_head, head.triangles),
        np.array(posed.meta.person.mean_albedo_linear),
    )
    chart = chart_maps(head, posed.vertices_head, 64)
    texels = transferred.chart_surface(chart, head.triangles, posed.materials)
    white = transferred.white_light(posed.transfer.degree)
    even = transferred.shade(texels, light, white, None).numpy()
    np.testing.assert_allclose(even, one.t_hom[chart.inside], atol=0.02)
    sun = np.where(latlong.directions(32)[..., 2:] > 0.9, 20.0, 0.1).astype(np.float32)
    sky = transferred.sky_light(Environment("sun", np.repeat(sun, 3, 2)), posed.transfer.degree)
    front = transferred.shade(texels, light, sky, None).numpy()
    behind = transferred.shade(texels, light, sky, None, 180.0).numpy()
    face = chart.normal_head[chart.inside][:, 2] > 0.9
    assert front[face].mean() > 3 * behind[face].mean()
