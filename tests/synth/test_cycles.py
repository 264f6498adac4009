"""Rendered instances: what is drawn before Blender, what is packed after it, and one person all the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.spatial import cKDTree
from synthetic_set import recipe

from backend.artifacts import Camera
from backend.errors import BadInput
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.training import pictures
from backend.training.loader import Reading, instances, open_set
from backend.training.schema import LABELS, OPTIONAL_MEMBERS
from backend.training.verify import verify
from synthdata.cycles.clothes import GARMENTS, OutfitPlan, outfit
from synthdata.cycles.cover import KINDS
from synthdata.cycles.dress import draw_dress, draw_looks
from synthdata.cycles.eyewear import build_glasses
from synthdata.cycles.face_hair import FacePlan, grow_beard, grow_brows
from synthdata.cycles.folds import Fold, folded
from synthdata.cycles.geometry import geometry_members
from synthdata.cycles.ground import Ground, skin_ground
from synthdata.cycles.hair import HairPlan, grow_hair
from synthdata.cycles.hairstyles import STYLES
from synthdata.cycles.hands import hand_pieces
from synthdata.cycles.headwear import HatPlan, hat
from synthdata.cycles.job import RenderJob
from synthdata.cycles.lens import behind, exposed, plan_lens
from synthdata.cycles.shadows import with_shadows
from synthdata.cycles.surface_nets import surface_nets
from synthdata.cycles.unit import make_rendered
from synthdata.headmodel.preview import look_at
from synthdata.run.inputs import Asked, gather
from synthdata.run.plan import PRESETS, plan_units
from synthdata.run.sources import Sources
from synthdata.skin.parameters import sample_parameters


@pytest.fixture(scope="module")
def head() -> ParametricHead:
    return load_head("open")


@pytest.fixture(scope="module")
def skin(head: ParametricHead) -> Ground:
    return skin_ground(head, head.mean_vertices)


def _under(ground: Ground, places: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """How deep ``places`` lie in the head, metres; 0 outside."""
    gap, near = ground.tree.query(places)
    depth = ((places - ground.points[near]) * ground.normals[near]).sum(-1)
    return np.where(gap < 0.02, np.maximum(-depth, 0), 0)


_LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("long with fringe", "afro")]


@pytest.mark.parametrize("style", ["buzz", "side part", "tail", *_LONG])
def test_hair_grows_on_the_scalp_outside_the_head_and_the_same_each_time(
    head: ParametricHead, skin: Ground, style: str
) -> None:
    plan = HairPlan(style, 7, 0.6, 0.0, 0.0, 1.0)
    grown = grow_hair(plan, head, head.mean_vertices, skin)
    strands = grown[0].points
    assert len(strands) == STYLES[style].strands
    assert np.isfinite(strands).all()
    rows = np.unique(head.triangles[head.triangle_part == 0])
    scalp = head.regions["scalp"][rows]
    _, near = skin.tree.query(strands[::50, 0])
    assert (scalp[near] > 0.2).mean() > 0.98
    assert np.quantile(_under(skin, strands[::20, 2:].reshape(-1, 3)), 0.99) < 0.003
    again = grow_hair(plan, head, head.mean_vertices, skin)
    assert strands.tobytes() == again[0].points.tobytes()


@pytest.mark.slow
def test_a_fringe_covers_the_forehead_and_other_hair_keeps_out_of_the_face(
    head: ParametricHead, skin: Ground
) -> None:
    points = head.mediapipe.positions(head.mean_vertices, head.triangles)
    forehead, chin = points[9, 1] + 0.012, points[152, 1]

    def before_the_face(style: str) -> float:
        strands = grow_hair(HairPlan(style, 3, 0.1, 0.0, 0.0, 1.0), head, head.mean_vertices, skin)[0].points
        x, y, z = strands.reshape(-1, 3).T
        return float(((np.abs(x) < 0.035) & (z > 0.08) & (y < forehead) & (y > chin)).mean())

    assert before_the_face("bob with fringe") > 0.002
    assert before_the_face("bob") < 0.0005


def test_receding_hair_leaves_the_temples_and_a_bald_top_the_crown(
    head: ParametricHead, skin: Ground
) -> None:
    full = grow_hair(HairPlan("crop", 5, 0.0, 0.0, 0.0, 1.0), head, head.mean_vertices, skin)[0].points[:, 0]
    bald = grow_hair(HairPlan("crop", 5, 0.0, 0.0, 1.0, 1.0), head, head.mean_vertices, skin)[0].points[:, 0]
    high = full[:, 1].max() - 0.02
    assert (bald[:, 1] > high).mean() < 0.2 * (full[:, 1] > high).mean()


def test_brows_lie_between_eye_and_forehead_and_lean_outwards(head: ParametricHead) -> None:
    brows = grow_brows(FacePlan(0.6, "", 1.0, 4), head, head.mean_vertices).points
    points = head.mediapipe.positions(head.mean_vertices, head.triangles)
    assert (brows[:, 0, 1] > points[[159, 386], 1].max()).all()
    assert (brows[:, 0, 1] < points[10, 1]).all()
    out = (brows[:, -1, 0] - brows[:, 0, 0]) * np.sign(brows[:, 0, 0])
    assert (out > 0).mean() > 0.8


def test_beards_grow_where_they_are_named(head: ParametricHead, skin: Ground) -> None:
    lip = head.mediapipe.positions(head.mean_vertices, head.triangles)[13, 1]
    moustache = grow_beard(FacePlan(0.5, "moustache", 1.0, 4), head, head.mean_vertices, skin)
    full = grow_beard(FacePlan(0.5, "full", 1.0, 4), head, head.mean_vertices, skin)
    assert moustache is not None
    assert full is not None
    assert (moustache.points[:, 0, 1] > lip).all()
    assert (full.points[:, 0, 1] < lip).mean() > 0.5
    assert grow_beard(FacePlan(0.5, "", 1.0, 4), head, head.mean_vertices, skin) is None


@pytest.mark.parametrize("garment", GARMENTS)
def test_clothes_cover_the_shoulders_and_do_not_cut_the_skin(
    head: ParametricHead, skin: Ground, garment: str
) -> None:
    pieces = outfit(OutfitPlan(garment, False, 1.0, 3), skin)  # type: ignore[arg-type]
    places = np.concatenate([piece.vertices for piece in pieces]).astype(np.float64)
    assert np.quantile(_under(skin, places), 0.99) < 0.003
    assert np.abs(places[:, 0]).max() > 0.19
    assert places[:, 1].min() < -0.45
    for piece in pieces:
        assert piece.quads.max() < len(piece.vertices)


def test_a_fold_raises_its_line_and_leaves_the_rest() -> None:
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    height = np.linspace(0, -0.3, 200)[:, None] + 0 * turn
    tube = np.stack([0.1 * np.sin(turn) + 0 * height, height, 0.1 * np.cos(turn) + 0 * height], -1)
    line = np.stack([np.zeros(40), np.linspace(-0.05, -0.25, 40), np.full(40, 0.1)], 1)
    out = np.linalg.norm(folded(tube, [Fold(line, 0.008, 0.004)])[..., [0, 2]], axis=-1) - 0.1
    middle = np.abs(tube[..., 1] + 0.15) < 0.02
    on, beside = middle & (np.abs(turn) < 0.01), middle & (np.abs(np.sin(turn / 2)) > 0.4)
    assert out[on].min() > 0.0015
    assert np.abs(out[beside]).max() < 1e-9
    assert out.min() < -0.0003  # hollows on either side


def test_surface_nets_find_a_ball_closed_and_facing_outwards() -> None:
    step, radius = 0.1, 0.83
    axis = -1.2 + step * np.arange(25)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    vertices, quads = surface_nets(np.sqrt(x**2 + y**2 + z**2) - radius, np.full(3, -1.2), step)
    assert np.abs(np.linalg.norm(vertices, axis=1) - radius).max() < 0.15 * step
    edges = np.sort(np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)]), 1)
    _, times = np.unique(edges, axis=0, return_counts=True)
    assert (times == 2).all()
    a, b, c, d = (vertices[quads[:, k]] for k in range(4))
    assert (np.cross(c - a, d - b) * (a + b + c + d)).sum(1).min() > 0


def test_a_hand_lies_on_its_cheek_with_nails_on_five_fingers(head: ParametricHead, skin: Ground) -> None:
    right = hand_pieces(head, head.mean_vertices, -1.0, 5)
    flesh = next(piece.vertices for piece in right if piece.stuff == "hand").astype(np.float64)
    nails = [piece.vertices for piece in right if piece.stuff == "nail"]
    cheek = head.mediapipe.positions(head.mean_vertices, head.triangles)[[280, 50]]
    cheek = cheek[np.argmin(cheek[:, 0])]
    gap, _ = skin.tree.query(flesh)
    assert gap.min() < 0.004
    assert np.quantile(_under(skin, flesh), 0.99) < 0.006
    assert np.linalg.norm(flesh - cheek, axis=1).min() < 0.03
    assert len(nails) == 5
    for nail in nails:
        near, _ = cKDTree(flesh).query(nail)
        assert near.max() < 0.006


def test_hats_sit_over_the_skull_and_above_the_eyes(head: ParametricHead, skin: Ground) -> None:
    eyes = head.eye_centres[:, 1].mean()
    top = head.mean_vertices[:, 1].max()
    for kind in ("cap", "brim"):
        places = np.concatenate([p.vertices for p in hat(HatPlan(kind, 2), head, head.mean_vertices)])
        assert places[:, 1].max() > top
        front = places[(places[:, 2] > 0.09) & (np.abs(places[:, 0]) < 0.02)]
        assert len(front)
        assert front[:, 1].min() > eyes
    assert hat(HatPlan("", 2), head, head.mean_vertices) == ()


def test_lenses_lie_before_the_eyes_and_within_the_frame(head: ParametricHead) -> None:
    rng = np.random.default_rng(1)
    plan = None
    while plan is None:
        parameters = sample_parameters(int(rng.integers(1000)))
        plan = draw_dress(rng, parameters, draw_looks(rng, parameters)).glasses
    glasses = build_glasses(plan, head, head.mean_vertices)
    assert len(glasses.lenses) == 2
    for (lens, _), eye in zip(glasses.lenses, head.eye_centres, strict=True):
        assert abs(lens[:, 0].mean() - eye[0]) < 0.008
        assert abs(lens[:, 1].mean() - eye[1]) < 0.010
        assert lens[:, 2].min() > eye[2] + 0.012
    frame = np.concatenate([vertices for vertices, _ in glasses.frame])
    assert np.abs(frame[:, 0]).max() > 0.065  # it reaches the ears


def test_dress_follows_from_its_numbers_and_goes_through_the_job() -> None:
    def drawn(seed: int) -> tuple[object, object]:
        rng = np.random.default_rng(seed)
        parameters = sample_parameters(seed)
        looks = draw_looks(rng, parameters)
        return looks, draw_dress(rng, parameters, looks)

    assert drawn(5) == drawn(5)
    kinds = [drawn(seed) for seed in range(60)]
    assert any(d.glasses is not None for _, d in kinds)  # type: ignore[attr-defined]
    assert any(d.hat.kind for _, d in kinds)  # type: ignore[attr-defined]
    assert len({l.hair.style for l, _ in kinds if l.hair is not None}) > 8  # type: ignore[attr-defined]  # noqa: E741
    looks, _ = kinds[0]
    job = RenderJob(
        head="open",
        looks=looks,  # type: ignore[arg-type]
        iris_srgb=(0.3, 0.2, 0.1),
        subsurface=0.5,
        mouth_open=False,
        texels=8,
        samples=1,
        shots=(),
    )
    assert msgspec.json.decode(msgspec.json.encode(job), type=RenderJob) == job


def _camera(size: int = 96) -> Camera:
    return look_at((0.0, 0.0, 0.03), 20.0, 0.0, 1.0, 0.34, size)


def test_labels_and_geometry_say_what_a_pixel_shows(head: ParametricHead) -> None:
    camera = _camera()
    covers = np.zeros((96, 96, len(KINDS)), np.float32)
    coverage = np.zeros((96, 96), np.float32)
    covers[10:90, 20:80, KINDS.index("skin")] = coverage[10:90, 20:80] = 1
    covers[40:50, 30:70, KINDS.index("lens")] = 1  # one looks through it at skin
    covers[10:20, 20:80] = 0
    covers[10:20, 20:80, KINDS.index("hat")] = 1
    members = geometry_members(head, head.mean_vertices, camera, covers, coverage)
    assert set(members) == set(OPTIONAL_MEMBERS["instances"])
    labels = pictures.read_labels(members["labels.png"])
    assert labels[5, 5] == 0
    assert LABELS[labels[60, 50] - 1] == "skin"
    assert LABELS[labels[45, 50] - 1] == "lens"
    assert LABELS[labels[15, 50] - 1] == "hat"
    depth = pictures.read_wide(members["depth.png"]) * 1e-4
    face_id = pictures.read_wide(members["face_id.png"]).astype(int) - 1
    row, column = 50, 48
    corners = head.mean_vertices[head.triangles[face_id[row, column]]]
    pixels, z = camera.project(corners)
    assert abs(depth[row, column] - z.mean()) < 0.01
    assert np.abs(pixels.mean(0) - (column + 0.5, row + 0.5)).max() < 4
    points = pictures.read_array(members["landmarks.npy"])
    known = points[np.isfinite(points[:, 0])]
    assert np.allclose(camera.project(known[:, 2:5])[0], known[:, :2], atol=0.01)
    assert not known[
        (known[:, 1] > 40.5) & (known[:, 1] < 49.5) & (known[:, 0] > 31) & (known[:, 0] < 69), 5
    ].any()
    assert known[:, 5].any()


def test_backgrounds_blur_with_the_opening_and_keep_their_light() -> None:
    rng = np.random.default_rng(2)
    camera = _camera(64)
    lens = replace(plan_lens(rng, camera, np.array([0.0, 0.03, 0.09]), True), wall_linear=None, focus_m=1.0)
    sky = rng.random((256, 512, 3)).astype(np.float32)
    sharp, soft = (behind(replace(lens, f_number=n), camera, sky, 0.0) for n in (22.0, 1.4))
    assert soft.std() < 0.7 * sharp.std()
    assert abs(soft.mean() - 0.5) < 0.03
    wall = behind(replace(lens, wall_linear=(0.5, 0.5, 0.5)), camera, np.ones_like(sky), 0.0)
    assert wall.mean() == pytest.approx(0.5, rel=0.25)  # a card in even light of radiance 1


def test_shadows_in_the_picture_come_onto_the_chart_and_not_under_what_throws_them() -> None:
    size = 128
    rng = np.random.default_rng(4)
    lit = (0.3 + 0.1 * rng.random((size, size, 3))).astype(np.float32)
    shade = np.ones((size, size), np.float32)
    shade[40:60] = 0.4  # a hat's shadow below its edge at row 40
    confidence = np.zeros((size, size), np.float32)
    confidence[40:100] = 1
    whole = with_shadows(lit, lit * shade[..., None], confidence, np.ones((size, size), bool))
    got = whole.mean((1, 2)) / lit.mean((1, 2))
    np.testing.assert_allclose(got[44:56], 0.4, atol=0.03)
    np.testing.assert_allclose(got[66:96], 1.0, atol=0.03)
    np.testing.assert_allclose(got[:12], 1.0, atol=0.03)  # under the hat
    assert (np.diff(got[10:44]) < 0.01).all()


def test_a_shaken_picture_keeps_its_light_and_moves_along_the_way() -> None:
    rng = np.random.default_rng(2)
    camera = _camera(64)
    lens = plan_lens(rng, camera, np.array([0.0, 0.03, 0.09]), True)
    lens = replace(lens, white_balance=(1.0, 1.0, 1.0), vignetting=0.0, shake_px=(6.0, 0.0))
    dot = np.zeros((65, 65, 3), np.float32)
    dot[32, 32] = 1
    out = exposed(dot, lens, 2.0)[..., 0]
    assert out.sum() == pytest.approx(2.0, rel=1e-3)
    assert out.max(0)[30:35].min() > 0.1
    assert out.max(1)[[30, 34]].max() < 1e-6


def test_every_so_many_persons_are_rendered_and_hold_their_own_number_of_instances() -> None:
    mixed = msgspec.structs.replace(
        recipe(count=22), instances_per_person=4, cycles_every=3, cycles_instances=2, cycles_samples=8
    )
    units = plan_units(mixed)
    assert [unit.renderer for unit in units[:6]] == ["transfer", "transfer", "cycles"] * 2
    assert [unit.count for unit in units[:3]] == [4, 4, 2]
    assert [index for unit in units for index in range(unit.first, unit.end)] == list(range(22))


def test_a_path_that_cannot_be_taken_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--path 'raster' is not offered"):
        gather(Asked("smoke", 2, renderer="raster"), PRESETS["smoke"], tmp_path)


@pytest.mark.slow
@pytest.mark.blend
def test_a_rendered_person_is_whole_and_its_picture_agrees_with_its_chart(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from backend.cli import app

    sizes = replace(PRESETS["smoke"], portrait_px=192, texels=128)
    PRESETS["tiny"] = sizes
    try:
        arguments = [
            "synth",
            "run",
            "--preset",
            "tiny",
            "--path",
            "cycles",
            "--count",
            "1",
            "--per-person",
            "1",
        ]
        done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "one")])
        assert done.exit_code == 0, done.output
    finally:
        del PRESETS["tiny"]
    assert verify(tmp_path / "one").problems == ()
    data = open_set(tmp_path / "one")
    (one,) = [i for s in ("train", "val", "test") for i in instances(data, Reading(split=s))]
    assert one.view is not None
    assert one.meta.renderer == "cycles"
    seen = one.visibility > 0.9
    assert seen.any()
    inside = one.t_hom.sum(-1) > 0
    assert (one.t_env[inside].sum(-1) > 0).all()
    # The portrait and the bake are two renders of the same skin in the same light.
    ratio = one.t_inc[seen].sum(-1) / np.maximum(one.t_env[seen].sum(-1), 1e-3)
    assert 0.8 < np.median(ratio) < 1.25


@pytest.mark.slow
@pytest.mark.blend
def test_a_rendered_person_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    sizes = replace(PRESETS["smoke"], portrait_px=80, texels=64, cycles_every=1, cycles_instances=1)
    inputs = gather(Asked("smoke", 1, 2, renderer="cycles"), sizes, tmp_path)
    small = msgspec.structs.replace(inputs.recipe, cycles_samples=3)
    (unit,) = plan_units(small)
    first, again = (make_rendered(unit, small, Sources(inputs.job)) for _ in range(2))
    assert first == again
