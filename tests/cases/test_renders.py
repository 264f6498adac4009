"""Small cases rendered by Cycles: read back whole, and held against what Blender itself says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_material import small_material, sphere
from PIL import Image

bpy = pytest.importorskip("bpy", reason="needs the bpy module (extra `blend`)")

from backend.evaluation.cases import read_case  # noqa: E402
from backend.export.bundle_writer import camera_record  # noqa: E402
from backend.head.open_head import load_open_head  # noqa: E402
from blender_addon.scene.nodes import new_material  # noqa: E402
from blender_addon.scene.render import configure_cycles  # noqa: E402
from blender_addon.scene.space import to_head  # noqa: E402
from synthdata.cases import scene as studio_room  # noqa: E402
from synthdata.cases.case_set import plan_case, plan_heads  # noqa: E402
from synthdata.cases.made_up import Quality, make_head_case  # noqa: E402
from synthdata.cases.scene import (  # noqa: E402
    Light,
    add_solids,
    brightest_azimuth_degrees,
    environment_of,
    light_up,
    occluder_mask,
    open_studio,
    place_subject,
    take_picture,
)
from synthdata.cases.truth_views import view_buffers  # noqa: E402
from synthdata.headmodel.preview import look_at  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.blend]
SIZE = 144
WORLDS = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A case with glasses, its plan and the shares that were told."""
    folder = tmp_path_factory.mktemp("cases") / "case"
    head = replace(plan_heads(1)[0], hair="cropped", has_glasses=True)
    plan = plan_case(head, "turned")
    told: list[float] = []
    make_head_case(
        plan,
        small_material(),
        load_open_head(),
        (WORLDS / "night.exr",),
        Quality(SIZE, 4),
        folder,
        told.append,
    )
    return folder, plan, told


def test_a_case_lacks_nothing(made):
    folder, plan, told = made
    case = read_case(folder)
    assert case.missing == ()
    assert set(case.record.parts) >= {"camera", "mesh", "relit pictures", "map albedo", "view left45"}
    assert case.id == plan.id
    assert case.record.group == "turned"
    assert len(case.relit()) == 3
    assert told == sorted(told)
    assert not list(folder.parent.glob(".*"))
    for picture, _ in case.relit():
        assert picture.hdri != case.record.light.name
        assert (folder / "truth" / "relit" / picture.hdri).is_file()


def test_photo_is_a_picture_and_the_glasses_are_seen(made):
    folder, _, _ = made
    case = read_case(folder)
    photo = np.asarray(Image.open(case.photo)).astype(float)
    buffers = case.view("photo").buffers
    skin = (buffers["skin_mask"] > 0) & (buffers["face_mask"] > 0)
    assert 60 < photo[skin].mean() < 230
    assert photo[skin].std() > 10
    frame = (buffers["occluder_mask"] > 0) & (buffers["face_mask"] > 0)
    assert 20 < frame.sum() < 0.2 * skin.sum()
    assert photo[frame].mean() < 0.9 * photo[skin].mean()  # frames are thinner than a pixel


def test_the_head_is_seen_from_elsewhere_in_the_photos_light(made):
    """Cut out, at the photo's exposure, from as far away; moved in the last one."""
    folder, plan, _ = made
    case = read_case(folder)
    photo = np.asarray(Image.open(case.photo)).astype(float)
    buffers = case.view("photo").buffers
    expected = np.median(photo[(buffers["skin_mask"] > 0) & (buffers["face_mask"] > 0)])
    listed = {picture.turn_degrees: picture for picture, _ in case.novel()}
    assert sorted(listed) == [-45, -30, 0, 30, 45]
    assert listed[0].expression == plan.novel_expression
    for picture, place in case.novel():
        rgba = np.asarray(Image.open(place / picture.file)).astype(float)
        face = np.asarray(Image.open(place / picture.face_file)) > 127
        assert 0.1 < (rgba[..., 3] > 127).mean() < 0.9
        assert (rgba[..., 3][face] > 127).mean() > 0.98
        if picture.turn_degrees == 0:  # the other sides may be lit otherwise
            assert abs(np.median(rgba[..., :3][face]) - expected) < 15
        at = case.landmarks["points478_head"][4]  # the tip of the nose
        assert picture.camera.width_px == round(SIZE / 2)
        pose = np.array(picture.camera.world_to_camera)
        assert (pose @ [*at, 1])[2] == pytest.approx(plan.distance_m, abs=0.15)
    assert read_case(folder).lost == ()


def test_what_a_case_has_is_not_made_again(made):
    folder, plan, _ = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    make_head_case(plan, small_material(), load_open_head(), (), Quality(SIZE, 4), folder, lambda share: None)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_landmarks_lie_where_the_mesh_is_seen(made):
    """Each landmark's pixel in the position buffer is within a pixel of the landmark itself, if visible."""
    folder, _, _ = made
    case = read_case(folder)
    view, marks = case.view("photo"), case.landmarks
    px, points = marks["landmarks_px"], marks["points478_head"]
    known = np.isfinite(px).all(1)
    column, row = px[known].astype(int).T
    position = view.buffers["position_head"][row, column].astype(np.float64)
    gap = np.linalg.norm(position - points[known], axis=1)
    pixel_m = 0.35 / SIZE
    assert (
        np.nan_to_num(gap, nan=1.0) < 2 * pixel_m
    ).mean() > 0.6  # the rest is hidden by nose and cheek in a turned head
    np.testing.assert_array_equal(marks["points68_head"].shape, (68, 3))


def test_cycles_sees_positions_where_the_buffers_say():
    """The skin glows with its own position: Blender's camera and geometry against ours, to the pixel."""
    head = load_open_head()
    subject = replace(
        sphere(np.full((16, 16, 3), 0.5, np.float32)),
        vertices_head=head.mean_vertices,
        triangles=head.triangles,
        is_skin=head.triangle_part == 0,
        uvs=head.uvs,
        triangle_uvs=head.triangle_uvs,
        face=head.regions["face"],
    )
    camera = look_at((0.01, 0.0, 0.03), 25.0, 4.0, 0.8, 0.34, SIZE)
    studio = open_studio()
    place_subject(studio, subject, 0.0)
    material, tree, principled = new_material("positions")
    geometry, glow = tree.nodes.new("ShaderNodeNewGeometry"), tree.nodes.new("ShaderNodeEmission")
    shift = tree.nodes.new("ShaderNodeVectorMath")
    shift.inputs[1].default_value = (1.0, 1.0, 1.0)  # light is not negative
    output = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial")
    tree.nodes.remove(principled)
    tree.links.new(geometry.outputs["Position"], shift.inputs[0])
    tree.links.new(shift.outputs[0], glow.inputs["Color"])
    tree.links.new(glow.outputs[0], output.inputs["Surface"])
    studio.skin.data.materials[0] = material
    studio_room._aim(studio, camera_record(camera))
    configure_cycles(studio.scene, 1, denoise=False)
    studio.scene.cycles.use_adaptive_sampling = False
    studio.scene.cycles.pixel_filter_type, studio.scene.cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    seen = studio_room._render(studio)[..., :3]
    buffers = view_buffers(subject, camera, np.zeros((SIZE, SIZE), np.uint8))
    ours, theirs = buffers["skin_mask"] > 0, seen.sum(-1) > 0
    assert (ours & ~theirs).sum() < 0.002 * ours.sum()
    gap = np.linalg.norm(to_head(seen - 1) - buffers["position_head"], axis=-1)[ours & theirs]
    assert np.median(gap) < 1e-5
    assert np.quantile(gap, 0.98) < 0.35 / SIZE / 2


def test_albedo_is_what_flat_white_light_shows():
    """A matt ball without subsurface under even white light of radiance 1 has its albedo's colour."""
    rng = np.random.default_rng(2)
    albedo = (0.05 + 0.8 * rng.random((4, 8, 3))).astype(np.float32).repeat(16, 0).repeat(8, 1)
    ball = sphere(albedo)
    studio = open_studio()
    place_subject(studio, ball, 0.0)
    world = bpy.data.worlds.new("white")
    world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    studio.scene.world = world
    camera = look_at((0.0, 0.0, 0.0), 30.0, 10.0, 1.0, 0.25, 64)
    seen = take_picture(studio, camera_record(camera), 32, 0)
    buffers = view_buffers(ball, camera, np.zeros((64, 64), np.uint8))
    inside = buffers["skin_mask"] > 0
    gap = np.abs(seen - buffers["albedo_linear"])[inside]
    assert np.median(gap) < 0.01
    assert np.quantile(gap, 0.8) < 0.03  # the rest are edges between blocks


def test_light_is_put_where_it_was_wanted():
    """A ball is brightest on the side to which the brightest part of the panorama was turned."""
    ball = sphere(np.full((16, 16, 3), 0.6, np.float32))
    camera = look_at((0.0, 0.0, 0.0), 0.0, 0.0, 1.0, 0.25, 48)
    path = WORLDS / "sunset.exr"
    azimuth = brightest_azimuth_degrees(environment_of(path))
    means = []
    for wanted in (90.0, -90.0):
        studio = open_studio()
        place_subject(studio, ball, 0.0)
        light_up(studio, Light(path, azimuth - wanted, is_seen=False))
        seen = take_picture(studio, camera_record(camera), 8, 0)
        means.append((seen[12:36, 10:22].mean(), seen[12:36, 26:38].mean()))  # subject's right, left
    assert means[0][1] > 1.5 * means[0][0]
    assert means[1][0] > 1.5 * means[1][1]


def test_an_occluder_is_masked_where_it_is():
    ball = sphere(np.full((16, 16, 3), 0.6, np.float32))
    studio = open_studio()
    place_subject(studio, ball, 0.0)
    bar = np.array([[-0.05, -0.02, 0.15], [0.05, -0.02, 0.15], [0.05, 0.02, 0.15], [-0.05, 0.02, 0.15]])
    add_solids(
        studio, "bar", [(bar.astype(np.float32), np.array([[0, 1, 2, 3]], np.int32))], (0.1, 0.1, 0.1), {}
    )
    camera = look_at((0.0, 0.0, 0.0), 0.0, 0.0, 1.0, 0.25, 100)
    mask = occluder_mask(studio, camera_record(camera)) > 0
    corners = camera.project(bar)[0]
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    inner = (x > x0 + 1) & (x < x1 - 1) & (y > y0 + 1) & (y < y1 - 1)
    outer = (x > x0 - 1) & (x < x1 + 1) & (y > y0 - 1) & (y < y1 + 1)
    assert mask[inner].all()
    assert not mask[~outer].any()


def test_same_seed_same_truth(made, tmp_path: Path):
    folder, plan, _ = made
    again = tmp_path / "again"
    quality = Quality(SIZE, 1)
    night = (WORLDS / "night.exr",)
    make_head_case(plan, small_material(), load_open_head(), night, quality, again, lambda share: None)
    for name in ("mesh.npz", "landmarks.npz", "views/left45/buffers.npz", "maps/albedo.png"):
        assert (folder / "truth" / name).read_bytes() == (again / "truth" / name).read_bytes(), name


def test_a_failed_case_leaves_nothing(tmp_path: Path):
    def stop(share: float) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_head_case(
            plan_case(plan_heads(2)[1], "front"),
            small_material(),
            load_open_head(),
            (WORLDS / "night.exr",),
            Quality(96, 1),
            tmp_path / "case",
            stop,
        )
    assert not list(tmp_path.iterdir())
