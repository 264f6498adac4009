"""Splats in Blender: exact round trips, and pictures against a rasteriser of our own and closed forms."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from splat_reference import ball, look_at, psnr, render, to_linear, to_srgb

from blender_addon.splats import Splats, SplatsError, read_ply, write_ply

pytestmark = pytest.mark.blend

FIELDS = ("positions", "log_scales", "rotations", "opacity_logits", "sh")


@pytest.fixture
def operators(bpy):
    """The two operators and the file handler, registered for one test."""
    from blender_addon.operators import splats

    for cls in splats.CLASSES:
        bpy.utils.register_class(cls)
    yield bpy.ops.likeness
    for cls in reversed(splats.CLASSES):
        bpy.utils.unregister_class(cls)


def counts(bpy) -> tuple[int, ...]:
    data = bpy.data
    return len(data.objects), len(data.meshes), len(data.materials), len(data.pointclouds)


def single(scales, rotation=(1.0, 0.0, 0.0, 0.0), opacity=0.9, srgb=(0.9, 0.5, 0.2)) -> Splats:
    """One splat at the origin, the same colour from everywhere."""
    return Splats(
        positions=np.zeros((1, 3), np.float32),
        log_scales=np.log([scales]).astype(np.float32),
        rotations=np.array([rotation], np.float32),
        opacity_logits=np.array([math.log(opacity / (1 - opacity))], np.float32),
        sh=((np.array([[srgb]]) - 0.5) / 0.28209479177387814).astype(np.float32),
    )


def place_camera(bpy, camera) -> None:
    from mathutils import Matrix

    scene = bpy.context.scene
    eye = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    scene.collection.objects.link(eye)
    scene.camera = eye
    matrix = np.eye(4)
    matrix[:3, :3] = (camera.axes * np.array([[1], [-1], [-1]])).T
    matrix[:3, 3] = camera.eye
    eye.matrix_world = Matrix(matrix.tolist())
    eye.data.sensor_width, eye.data.lens = 36.0, camera.focal_px * 36.0 / camera.size
    scene.render.resolution_x = scene.render.resolution_y = camera.size


def shoot(bpy, path, engine: str, samples: int) -> np.ndarray:
    """Linear premultiplied RGBA, top row first, sampled at the pixels' centres."""
    from blender_addon.scene.splats import prepare_cycles

    scene = bpy.context.scene
    scene.render.film_transparent = True
    if engine == "CYCLES":
        scene.render.engine = "CYCLES"
        cycles = scene.cycles
        cycles.device, cycles.samples, cycles.use_denoising = "CPU", samples, False
        cycles.use_adaptive_sampling = False
        cycles.min_transparent_bounces = 64  # less noise: the test has no time for many samples
        cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
        prepare_cycles(scene)
    else:
        scene.render.engine = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0) else "BLENDER_EEVEE"
        scene.eevee.taa_render_samples = samples
        scene.render.filter_size = 0.01
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    picture = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return picture


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_blender_gives_back_every_bit(bpy, degree):
    from blender_addon.scene.splats import add_splats, extract_splats

    splats = ball(200, degree)
    thing = add_splats(splats, bpy.context.scene.collection, "ball")
    back = extract_splats(thing)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(splats, name), err_msg=name)


def test_points_carry_what_the_material_reads(bpy):
    """Activation in geometry nodes against numpy, and one point per splat that can be seen."""
    from blender_addon.scene.splat_nodes import ROTATION, SHAPE
    from blender_addon.scene.splats import add_splats

    splats = ball(300, 3)
    splats.opacity_logits[:10] = -8.0  # below 1/255
    thing = add_splats(splats, bpy.context.scene.collection, "ball")
    graph = bpy.context.evaluated_depsgraph_get()
    seen = np.arange(300) >= 10
    cloud = next(i.object.data for i in graph.object_instances if i.object.type == "POINTCLOUD")
    shape, rotation = (np.empty(4 * 290, np.float32) for _ in range(2))
    cloud.attributes[SHAPE].data.foreach_get("color", shape)
    cloud.attributes[ROTATION].data.foreach_get("color", rotation)
    shape, rotation = shape.reshape(-1, 4), rotation.reshape(-1, 4)
    np.testing.assert_allclose(shape[:, :3], splats.scales()[seen], rtol=1e-5)
    np.testing.assert_allclose(shape[:, 3], splats.opacities()[seen], rtol=1e-5)
    np.testing.assert_allclose(rotation[:, [3, 0, 1, 2]], splats.quaternions()[seen], atol=1e-6)
    radius = np.empty(290, np.float32)
    cloud.attributes["radius"].data.foreach_get("value", radius)
    reach = np.sqrt(2 * np.log(255 * splats.opacities()[seen]))
    np.testing.assert_allclose(radius, reach * splats.scales()[seen].max(axis=1), rtol=1e-4)
    assert thing.material_slots[0].material.surface_render_method == "DITHERED"


@pytest.mark.parametrize(
    ("axes", "up"), [("HEAD", (0, 1, 0)), ("COLMAP", (0, -1, 0)), ("BLENDER", (0, 0, 1))]
)
def test_axes_of_the_file(bpy, axes, up):
    from blender_addon.scene.space import to_scene
    from blender_addon.scene.splats import add_splats

    thing = add_splats(ball(10, 0), bpy.context.scene.collection, "ball", axes)
    bpy.context.view_layer.update()
    matrix = np.array(thing.matrix_world)[:3, :3]
    np.testing.assert_allclose(matrix @ up, (0, 0, 1), atol=1e-6)
    if axes == "HEAD":
        np.testing.assert_allclose(matrix @ (0.1, 0.2, 0.3), to_scene(np.array([0.1, 0.2, 0.3])), atol=1e-6)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_operators_round_trip_a_file(bpy, operators, tmp_path):
    source, target = tmp_path / "in.ply", tmp_path / "out.ply"
    write_ply(source, ball(100, 2))
    assert operators.import_splats(filepath=str(source)) == {"FINISHED"}
    thing = bpy.context.active_object
    assert thing.name == "in"
    assert bpy.context.scene.cycles.transparent_max_bounces >= 128
    assert operators.export_splats(filepath=str(target)) == {"FINISHED"}
    assert target.read_bytes() == source.read_bytes()
    thing.location = (1.0, 2.0, 3.0)
    thing.scale = (2.0, 2.0, 2.0)
    bpy.context.view_layer.update()
    assert operators.export_splats(filepath=str(target), apply_transform=True, axes="HEAD") == {"FINISHED"}
    moved, first = read_ply(target), read_ply(source)
    np.testing.assert_allclose(moved.positions, 2 * first.positions + [1, 3, -2], atol=1e-5)
    np.testing.assert_allclose(moved.log_scales, first.log_scales + math.log(2), atol=1e-5)
    np.testing.assert_allclose(moved.sh, first.sh, atol=1e-5)
    thing.scale = (1.0, 2.0, 1.0)
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="not mirrored or stretched"):
        operators.export_splats(filepath=str(target), apply_transform=True)


def test_faulty_files_leave_nothing_behind(bpy, operators, tmp_path):
    before = counts(bpy)
    path = tmp_path / "faulty.ply"
    path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(RuntimeError, match="not Gaussian splats"):
        operators.import_splats(filepath=str(path))
    assert counts(bpy) == before
    if bpy.app.version < (5, 3):
        write_ply(path, ball(10, 0))
        with pytest.raises(RuntimeError, match="no splats of its own"):
            operators.import_splats(filepath=str(path), native=True)
        assert counts(bpy) == before


def test_a_failure_while_building_leaves_nothing_behind(bpy, monkeypatch):
    from blender_addon.scene import splats as module

    def broken():
        raise RuntimeError("no nodes today")

    before = counts(bpy)
    monkeypatch.setattr(module, "splat_modifier_group", broken)
    with pytest.raises(RuntimeError, match="no nodes today"):
        module.add_splats(ball(10, 0), bpy.context.scene.collection, "ball")
    assert counts(bpy) == before


def test_other_objects_are_refused(bpy):
    from blender_addon.scene.splats import add_splats, extract_splats

    plain = bpy.data.objects.new("plain", bpy.data.meshes.new("plain"))
    with pytest.raises(SplatsError, match="Select an object"):
        extract_splats(plain)
    thing = add_splats(ball(10, 0), bpy.context.scene.collection, "ball")
    thing.data.attributes.remove(thing.data.attributes["splat_raw_shape"])
    with pytest.raises(SplatsError, match="lost its attribute"):
        extract_splats(thing)


@pytest.mark.slow
def test_one_splat_is_its_closed_form_in_cycles(bpy, tmp_path):
    """A long, tilted Gaussian, far away, is a 2D Gaussian of the projected covariance, in linear light."""
    from blender_addon.scene.splats import add_splats

    splats = single((0.3, 0.08, 0.15), rotation=(0.9, 0.1, -0.3, 0.4))
    add_splats(splats, bpy.context.scene.collection, "one", "BLENDER")
    camera = look_at((0.0, -200.0, 0.0), (0.0, 0.0, 0.0), 200.0 * 64 / 2.0, 64)  # 1/32 per pixel
    place_camera(bpy, camera)
    picture = shoot(bpy, tmp_path / "one.exr", "CYCLES", 1)
    from mathutils import Quaternion

    axes = np.array(Quaternion((0.9, 0.1, -0.3, 0.4)).normalized().to_matrix()) * [0.3, 0.08, 0.15]
    flat = (axes @ axes.T)[np.ix_([0, 2], [0, 2])]  # seen along +Y: x right, z up
    at = (np.arange(64) - 31.5) / 32
    x, z = np.meshgrid(at, -at)
    around = np.stack([x, z], -1)
    alpha = 0.9 * np.exp(-0.5 * np.einsum("...i,ij,...j->...", around, np.linalg.inv(flat), around))
    alpha[alpha < 1 / 255] = 0.0
    assert np.abs(picture[..., 3] - alpha).max() < 0.01
    middle = picture[32, 32, :3] / picture[32, 32, 3]
    np.testing.assert_allclose(middle, to_linear(np.array([0.9, 0.5, 0.2])), rtol=0.01)


SIDES = [(2.5, -2.5, 1.5), (-3.0, 0.5, 0.8), (0.5, 3.2, -1.5)]


@pytest.mark.slow
@pytest.mark.parametrize("side", range(len(SIDES)))
def test_cycles_against_the_rasteriser(bpy, tmp_path, side):
    """View-dependent colour to degree 3 from several sides, the object turned, moved and scaled.

    What differs is order alone: Cycles meets splats by the front of their bounding spheres.
    """
    from mathutils import Matrix, Quaternion

    from blender_addon.scene.splats import add_splats

    splats = ball(400, 3)
    thing = add_splats(splats, bpy.context.scene.collection, "ball", "BLENDER")
    matrix = Matrix.LocRotScale(
        (0.2, -0.1, 0.15), Quaternion((0.8, 0.3, -0.4, 0.33)).normalized(), (0.8,) * 3
    )
    thing.matrix_world = matrix
    camera = look_at(SIDES[side], (0.1, 0.0, 0.1), 75.0, 64)
    place_camera(bpy, camera)
    expected = render(splats.transformed(np.array(matrix)), camera)
    picture = shoot(bpy, tmp_path / "ball.exr", "CYCLES", 16)
    assert psnr(to_srgb(picture[..., :3]), to_srgb(expected[..., :3])) > 29.0
    assert psnr(picture[..., 3], expected[..., 3]) > 29.0


@pytest.mark.slow
def test_eevee_against_the_rasteriser(bpy, tmp_path):
    """EEVEE's cards lie at the splats' own depth; what differs is the noise of few samples."""
    from blender_addon.scene.splats import add_splats

    splats = ball(200, 3)
    add_splats(splats, bpy.context.scene.collection, "ball", "BLENDER")
    camera = look_at(SIDES[0], (0.0, 0.0, 0.0), 75.0, 64)
    place_camera(bpy, camera)
    expected = render(splats, camera)
    picture = shoot(bpy, tmp_path / "ball.exr", "EEVEE", 8)
    assert psnr(picture, expected) > 22.0
    inside = expected[..., 3] > 0.9
    difference = picture[inside] - expected[inside]
    assert np.abs(difference.mean(axis=0)).max() < 0.02  # no bias in colour or coverage


def test_modifiers_take_their_inputs_in_every_blender() -> None:
    """Before Blender 5.2 they are custom properties, since then properties of their own."""
    import bpy

    from blender_addon.scene.nodes import add_node_modifier

    group = bpy.data.node_groups.new("any", "GeometryNodeTree")
    group.interface.new_socket("Amount", in_out="INPUT", socket_type="NodeSocketFloat")
    group.interface.new_socket("Out", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    identifier = next(item.identifier for item in group.interface.items_tree if item.name == "Amount")
    thing = bpy.data.objects.new("any", bpy.data.meshes.new("any"))
    modifier = add_node_modifier(thing, "any", group, {"Amount": 2.5})
    newer = hasattr(modifier, "properties")
    held = getattr(modifier.properties.inputs, identifier).value if newer else modifier[identifier]
    assert held == 2.5

    socket = SimpleNamespace(value=None)
    inputs = SimpleNamespace(**{identifier: socket})
    of_5_2 = SimpleNamespace(properties=SimpleNamespace(inputs=inputs), node_group=None)
    stand_in = SimpleNamespace(modifiers=SimpleNamespace(new=lambda name, kind: of_5_2))
    add_node_modifier(stand_in, "any", group, {"Amount": 4.0})
    assert (socket.value, of_5_2.node_group) == (4.0, group)
