"""What a set consists of, and the light it draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_set import recipe

from backend.errors import BadInput, Missing
from backend.shading import harmonics, latlong
from backend.shading.environment import Environment, write_hdr
from backend.shading.studio import direction
from synthdata.light.panoramas import survey
from synthdata.light.plan import LightPlan, described, plan_light, procedural
from synthdata.light.sky import clear_sky
from synthdata.light.studio import lamp
from synthdata.run.camera import photographed, plan_camera, skin_level
from synthdata.run.people import draw_expression
from synthdata.run.plan import plan_shards, plan_units


def test_every_instance_is_in_one_shard_and_every_identity_in_one_split() -> None:
    for count in (1, 7, 22, 200):
        shards = plan_shards(recipe(count))
        found = [k for plan in shards for unit in plan.units for k in range(unit.first, unit.end)]
        assert sorted(found) == list(range(count))
        units = [unit for plan in shards for unit in plan.units]
        assert len({unit.identity for unit in units}) == len(units)
        assert all(unit.split == plan.split for plan in shards for unit in plan.units)
        names = [plan.name(kind) for plan in shards for kind in ("instances", "heads")]
        assert len(set(names)) == len(names)


def test_a_unit_does_not_depend_on_how_many_there_are_and_splits_are_eight_one_one() -> None:
    few, many = plan_units(recipe(40)), plan_units(recipe(400))
    assert many[: len(few)] == few
    splits = [unit.split for unit in many]
    for start in range(0, len(splits), 10):
        block = splits[start : start + 10]
        assert (block.count("train"), block.count("val"), block.count("test")) == (8, 1, 1)


def test_a_sky_is_blue_above_brightest_at_the_sun_and_its_sun_gives_the_share_asked_for() -> None:
    sun = direction(40.0, 35.0)
    sky = clear_sky(sun, 3.0, 0.7, np.full(3, 0.2))
    at = latlong.directions(len(sky))
    assert np.isfinite(sky).all()
    assert (sky >= 0).all()
    brightest = at.reshape(-1, 3)[sky.sum(-1).argmax()]
    assert np.degrees(np.arccos(brightest @ sun)) < 3.0
    away = at[..., 1] > 0.8
    blue = sky[away & (at @ sun < 0.9)].mean(0)
    assert blue[2] > 1.2 * blue[0]
    level = latlong.solid_angles(len(sky)) * np.maximum(at[..., 1], 0)
    disc = at @ sun > np.cos(np.radians(2.5))
    with_sun = (sky.mean(-1) * level).sum()
    without = (clear_sky(sun, 3.0, 0.0, np.full(3, 0.2)).mean(-1) * level).sum()
    assert 1 - without / with_sun == pytest.approx(0.7, abs=0.02)
    assert disc.any()


def test_a_lamp_lights_a_card_that_faces_it_with_one() -> None:
    light = lamp(-50.0, 20.0, 12.0, np.array([1.2, 1.0, 0.8]))
    facing = np.maximum(latlong.directions(128) @ direction(-50.0, 20.0), 0) * latlong.solid_angles(128)
    np.testing.assert_allclose((light * facing[..., None]).sum((0, 1)) / np.pi, (1.2, 1.0, 0.8), rtol=1e-4)


def test_metadata_tell_where_the_key_light_is() -> None:
    plan = LightPlan("studio", -1, 1, 0.0, (1.0, 1.0, 1.0))
    image = lamp(65.0, 25.0, 3.0, np.ones(3))
    meta = described(plan, "lamp", harmonics.project(image, 2), 1.0)
    assert meta.key_azimuth_degrees == pytest.approx(65, abs=1)
    assert meta.key_elevation_degrees == pytest.approx(25, abs=1)
    assert meta.key_share == pytest.approx(1, abs=0.02)
    even = described(plan, "even", harmonics.project(np.ones((32, 64, 3), np.float32), 2), 1.0)
    assert even.key_share < 1e-3


def test_procedural_light_is_the_same_for_the_same_seed_and_shines() -> None:
    rng = np.random.default_rng(3)
    plans = [plan_light(rng, 0) for _ in range(24)]
    assert {plan.kind for plan in plans} == {"studio", "sky"}
    for plan in plans[:6]:
        light = procedural(plan).radiance
        assert (light >= 0).all()
        assert light.max() > 0
        np.testing.assert_array_equal(light, procedural(plan).radiance)


def test_folders_of_panoramas_that_are_empty_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="there is no folder"):
        survey(tmp_path / "nowhere")
    with pytest.raises(Missing, match=r"holds no \.hdr"):
        survey(tmp_path)
    (tmp_path / "broken.hdr").write_bytes(b"#?RADIANCE\nnothing")
    with pytest.raises(BadInput, match="no panorama in"):
        survey(tmp_path)
    write_hdr(tmp_path / "black.hdr", np.zeros((8, 16, 3), np.float32))
    write_hdr(tmp_path / "good.hdr", np.ones((8, 16, 3), np.float32))
    cv2.imwrite(str(tmp_path / "square.hdr"), np.ones((8, 8, 3), np.float32))
    (tmp_path / "LICENCE.txt").write_text("CC0 1.0\n")
    found = survey(tmp_path)
    assert [path.name for path in found.paths] == ["good.hdr"]
    assert found.licences[0].licence == "CC0 1.0"
    assert len(found.skipped) == 3


def test_expressions_and_cameras_stay_in_their_ranges() -> None:
    names = (
        "jawOpen",
        "mouthSmileLeft",
        "mouthSmileRight",
        "eyeLookOutLeft",
        "eyeLookInRight",
        "eyeLookUpLeft",
    )
    rng = np.random.default_rng(0)
    for _ in range(60):
        weights = draw_expression(rng, names)
        assert set(weights) <= set(names)
        assert all(0 < w <= 1 for w in weights.values())
        shot = plan_camera(rng, np.zeros(3), 64)
        assert abs(shot.yaw_degrees) <= 80
        pixel, depth = shot.camera.project(np.zeros(3))
        assert depth > 0.3
        assert (np.abs(pixel - 32) < 8).all()
    picture = photographed(np.full((64, 64, 3), 0.18, np.float32), shot, rng)
    assert picture.mean() == pytest.approx(118, abs=2)


def test_dark_skin_is_exposed_darker_than_light_skin_but_not_by_its_whole_difference() -> None:
    plan = plan_camera(np.random.default_rng(1), np.zeros(3), 64)
    light, dark = (skin_level(plan, (a, a, a)) for a in (0.36, 0.04))
    assert light == pytest.approx(plan.bright_skin)
    assert light / dark == pytest.approx(np.sqrt(0.35 / 0.04), rel=1e-3)


def test_a_turned_panorama_is_described_as_turned() -> None:
    plan = LightPlan("panorama", 0, 1, 90.0, (1.0, 1.0, 1.0))
    ahead = Environment("lamp", lamp(0.0, 0.0, 5.0, np.ones(3)))
    turned = harmonics.about_y(2, plan.turn_degrees) @ harmonics.project(ahead.radiance, 2)
    assert described(plan, "lamp", turned, 1.0).key_azimuth_degrees == pytest.approx(90, abs=1)
