"""Multi-view sets: the rig, the eyes, and moments whose parts agree with one another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic_set import light, person

from backend.errors import BadInput
from backend.head.gaze import gaze_degrees
from backend.head.registry import load_head
from backend.training import pictures
from backend.training.contact_sheet import contact_sheet
from backend.training.inspection import look
from backend.training.loader import Moment, Reading, decode_moment, moments, open_set
from backend.training.schema import MomentMeta, Recipe, kinds_of
from backend.training.shards import records
from backend.training.verify import verify
from synthdata.cycles.telling import skin_and_looks
from synthdata.run.plan import Unit, plan_shards, plan_units, split_of
from synthdata.run.sources import Job, Sources
from synthdata.run.store import keep_unit, open_store
from synthdata.views.dome import ASIDE_MOST_DEG, DISTANCE_M, HIGHEST_DEG, LOWEST_DEG, dome_cameras
from synthdata.views.rendered import make_rendered_moments
from synthdata.views.unit import make_moments

CENTRE = np.array([0.01, 0.02, 0.05])
RECIPE = Recipe(
    preset="fica",
    count=2,
    seed=3,
    instances_per_person=2,
    persons_per_shard=2,
    texels=64,
    portrait_px=96,
    cameras=3,
    panoramas=(),
    head_sha256="",
    versions={},
)


def test_the_dome_covers_its_area_evenly_and_every_camera_looks_at_the_head() -> None:
    cameras = dome_cameras(161, CENTRE, 512)
    assert (cameras[0].yaw_degrees, cameras[0].pitch_degrees) == (0.0, 0.0)
    for one in cameras:
        pixel, depth = one.camera.project(CENTRE[None])
        np.testing.assert_allclose(pixel[0], (256, 256), atol=1e-6)
        assert depth[0] == pytest.approx(DISTANCE_M)
        towards = (one.camera.centre_head - CENTRE) / DISTANCE_M
        assert np.degrees(np.arctan2(towards[0], towards[2])) == pytest.approx(one.yaw_degrees, abs=1e-6)
        assert np.degrees(np.arcsin(towards[1])) == pytest.approx(one.pitch_degrees, abs=1e-6)
    yaw = np.array([one.yaw_degrees for one in cameras[1:]])
    height = np.sin(np.radians([one.pitch_degrees for one in cameras[1:]]))
    low, high = np.sin(np.radians([LOWEST_DEG, HIGHEST_DEG]))
    # Equal area on the sphere is equal area in turn and height: each of 4 × 4 cells has its share.
    cells, *_ = np.histogram2d(
        yaw, height, [np.linspace(-ASIDE_MOST_DEG, ASIDE_MOST_DEG, 5), np.linspace(low, high, 5)]
    )
    assert cells.sum() == 160
    assert cells.min() >= 7
    assert cells.max() <= 13


def test_gaze_is_the_angle_that_the_eyes_turned_by() -> None:
    """The eyes of the mean head turned by hand about their centres."""
    head = load_head("open")
    posed = head.mean_vertices.astype(np.float64)
    for index, name in enumerate(("eye_left", "eye_right")):
        rows = np.unique(head.triangles[head.triangle_part == head.part_names.index(name)])
        aside, up = np.radians([(12.0, 7.0), (-9.0, -4.0)][index])
        about_x = np.array([[1, 0, 0], [0, np.cos(up), np.sin(up)], [0, -np.sin(up), np.cos(up)]])
        about_y = np.array([[np.cos(aside), 0, np.sin(aside)], [0, 1, 0], [-np.sin(aside), 0, np.cos(aside)]])
        centre = head.eye_centres[index]
        posed[rows] = (posed[rows] - centre) @ (about_y @ about_x).T + centre
    left, right = gaze_degrees(head, head.mean_vertices, posed.astype(np.float32))
    np.testing.assert_allclose([left, right], [(12, 7), (-9, -4)], atol=0.01)


def test_the_heads_gaze_shapes_turn_both_eyes_to_the_side_that_their_names_say() -> None:
    head = load_head("open")
    weights = np.array([n in ("eyeLookOutLeft", "eyeLookInRight") for n in head.expression_names], float)
    neutral, posed = head.shape(np.zeros(1)), head.shape(np.zeros(1), 0.5 * weights)
    for aside, up in gaze_degrees(head, neutral, posed):
        assert 10 < aside < 25
        assert abs(up) < 3


def test_positions_come_back_within_their_step() -> None:
    metres = np.random.default_rng(0).uniform(-0.29, 0.29, (8, 8, 3)).astype(np.float32)
    back = pictures.read_positions(pictures.position_png(metres))
    np.testing.assert_allclose(back, metres, atol=0.5 * 0.6 / 65535 + 1e-7)
    with pytest.raises(BadInput, match="16 bits"):
        pictures.read_positions(pictures.label_png(np.zeros((4, 4), np.uint8)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """One person, neutral and in an expression, before three cameras."""
    pytest.importorskip("embreex")
    folder = tmp_path_factory.mktemp("dome")
    recipe = msgspec.structs.replace(RECIPE, head_sha256=load_head("open").weights_sha256 or "")
    sources = Sources(Job(msgspec.json.encode(recipe)))
    (unit,) = plan_units(recipe)
    with open_store(folder, recipe, (), (), plan_shards(recipe), False) as (store, _):
        keep_unit(folder, unit, make_moments(unit, recipe, sources))
        store.seal_what_is_whole()
    return folder, recipe


def _moments(folder: Path) -> list[Moment]:
    data = open_set(folder)
    return list(moments(data, Reading(data.manifest.shards[0].split)))


@pytest.mark.slow
def test_a_set_of_moments_is_verified_read_and_drawn(made: tuple[Path, Recipe]) -> None:
    folder, recipe = made
    assert kinds_of(recipe) == ("moments",)
    verdict = verify(folder)
    assert verdict.problems == ()
    assert verdict.records == {"moments": 2}
    neutral, posed = _moments(folder)
    assert neutral.meta.person.expression == {}
    np.testing.assert_allclose(neutral.meta.gaze_degrees, 0, atol=1e-3)
    assert posed.meta.person.expression
    assert posed.meta.exposure == neutral.meta.exposure
    assert posed.meta.person.identity_coefficients == neutral.meta.person.identity_coefficients
    assert [v.camera.focal_px for v in posed.views] == [v.camera.focal_px for v in neutral.views]
    found = look(folder, 2)
    page = contact_sheet(found.shown, found.histograms, found.title)
    assert page.size[0] > 1000
    assert "2 moments, 1 identities, 3 cameras" in found.title


@pytest.mark.slow
def test_geometry_camera_mask_and_picture_of_a_moment_agree(made: tuple[Path, Recipe]) -> None:
    """Positions of the chart, through a camera, fall on the mask; shaded texels are as bright as pixels."""
    folder, _ = made
    for moment in _moments(folder):
        front = moment.views[0]
        points = moment.position_head[moment.inside].astype(np.float64)
        pixel, depth = front.camera.project(points)
        column, row = np.floor(pixel).astype(int).T
        within = (column >= 0) & (column < 96) & (row >= 0) & (row < 96)
        label = front.parts[row[within], column[within]]
        assert (label > 0).mean() > 0.9  # but those on the outline
        nearest = np.full((96, 96), np.inf)
        np.minimum.at(nearest, (row[within], column[within]), depth[within])
        seen = within.copy()
        seen[within] = depth[within] < nearest[row[within], column[within]] + 0.004
        seen &= points[:, 2] > 0.09  # the middle of the face, which looks at the camera
        skin = seen.copy()
        skin[within] &= label == 1
        texture = moment.shaded_linear[moment.inside][skin]
        shown = (front.image_srgb[row[skin], column[skin]] / 255.0) ** 2.2
        assert skin.sum() > 50
        assert np.corrcoef(texture.mean(1), shown.mean(1))[0, 1] > 0.7
        assert shown.mean() == pytest.approx(texture.mean(), rel=0.2)


@pytest.mark.slow
def test_moments_do_not_depend_on_how_many_are_made(made: tuple[Path, Recipe]) -> None:
    """Expression and pictures of moment 0 are the same bytes when it is made alone."""
    folder, recipe = made
    one = msgspec.structs.replace(recipe, count=1)
    (unit,) = plan_units(one)
    alone = make_moments(unit, one, Sources(Job(msgspec.json.encode(one))))["moments"]
    together = (folder / "shards" / open_set(folder).manifest.shards[0].name).read_bytes()
    assert together.startswith(alone)


@pytest.mark.slow
@pytest.mark.blend
def test_a_person_before_the_dome_by_cycles_has_hair_and_agrees_with_its_chart(tmp_path: Path) -> None:
    """A person with hair, neutral and in an expression, before two cameras; one process with Blender."""
    pytest.importorskip("bpy")
    with_hair = next(k for k in range(20) if (h := skin_and_looks(k, 3)[1].hair) and h.style == "tail")
    recipe = msgspec.structs.replace(
        RECIPE,
        head_sha256=load_head("open").weights_sha256 or "",
        cameras=2,
        cycles_every=1,
        cycles_instances=2,
        cycles_samples=4,
    )
    first = 2 * with_hair
    unit = Unit(with_hair, split_of(with_hair, 3), first, first + 2, "cycles")
    made = make_rendered_moments(unit, recipe, Sources(Job(msgspec.json.encode(recipe))))["moments"]
    (tmp_path / "one.tar").write_bytes(made + bytes(1024))
    neutral, posed = (decode_moment(record) for record in records(tmp_path / "one.tar"))
    assert neutral.meta.renderer == "cycles"
    assert neutral.meta.dress is not None
    assert neutral.meta.dress.hair == "tail"
    assert neutral.meta.dress.glasses == ""
    parts = neutral.meta.parts
    assert parts[-2:] == ("hair", "cloth")
    for moment in (neutral, posed):
        front = moment.views[0]
        shares = [float((front.parts == 1 + parts.index(name)).mean()) for name in ("skin", "hair", "cloth")]
        assert min(shares) > 0.01, shares
        points = moment.position_head[moment.inside].astype(np.float64)
        pixel, _ = front.camera.project(points)
        column, row = np.clip(np.floor(pixel), 0, 95).astype(int).T
        facing = points[:, 2] > 0.10
        assert (front.parts[row[facing], column[facing]] == 1 + parts.index("skin")).mean() > 0.6
        shown = ((front.image_srgb[row[facing], column[facing]] / 255.0) ** 2.2).mean()
        assert shown == pytest.approx(moment.shaded_linear[moment.inside][facing].mean(), rel=0.35)
    assert not np.array_equal(neutral.views[0].image_srgb, posed.views[0].image_srgb)


def test_a_moment_that_lacks_a_view_is_told() -> None:
    meta = MomentMeta(
        schema=2,
        index=0,
        person=person(0),
        gaze_degrees=((0.0, 0.0), (0.0, 0.0)),
        views=(),
        light=light(),
        exposure=1.0,
        parts=("skin",),
    )
    with pytest.raises(BadInput, match=r"lacks inside\.png"):
        decode_moment(("0", {"meta.msgpack": msgspec.msgpack.encode(meta)}))
