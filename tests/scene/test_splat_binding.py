"""Splats bound to a head in Blender: they follow what deforms the mesh; faulty files change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from splat_reference import matrices
from synthetic_avatar import make_reconstruction

from backend.export.bundle_writer import write_bundle
from blender_addon.bundle import read_bundle
from blender_addon.splat_binding import SplatBinding, spans_of, write_binding
from blender_addon.splats import Splats, SplatsError, write_ply

pytestmark = pytest.mark.blend


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The synthetic avatar with 400 splats on all of its parts, a tenth of them hair."""
    directory = write_bundle(make_reconstruction(), tmp_path_factory.mktemp("splats") / "portrait")
    mesh = read_bundle(directory).mesh
    random = np.random.default_rng(3)
    triangle = random.choice(len(mesh.triangles), 400)
    part = mesh.quad_part[mesh.triangle_quad[triangle]]
    hair = (part == 0) & (random.random(400) < 0.1)
    tie = SplatBinding(
        corners=mesh.triangles[triangle],
        barycentric=random.dirichlet([1, 1, 1], 400).astype(np.float32),
        offset=random.normal(0, 0.004, (400, 3)).astype(np.float32),
        rotation=unit(random.normal(size=(400, 4))).astype(np.float32),
        part=np.where(hair, 255, part).astype(np.uint8),
        albedo_srgb=random.integers(0, 255, (400, 3)).astype(np.uint8),
        normal=unit(random.normal(size=(400, 3))).astype(np.float32),
        rest=spans_of(mesh.expressed(), mesh.triangles[triangle]).astype(np.float32),
    )
    loose = Splats(
        np.zeros((400, 3), np.float32),
        np.full((400, 3), -6.0, np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (400, 1)),
        np.full(400, 2.0, np.float32),
        random.normal(0, 0.3, (400, 4, 3)).astype(np.float32),
    )
    write_ply(directory / "splats.ply", tie.placed(loose, mesh.expressed()))
    write_binding(directory, tie)
    return directory


@pytest.fixture
def head(bpy, folder):
    """The avatar in the scene with its splats: mesh of the file, objects, uuid, the splats' object."""
    from blender_addon.scene.identity import UUID_KEY
    from blender_addon.scene.scene import assemble_scene
    from blender_addon.scene.splat_binding import add_bound_splats

    avatar = read_bundle(folder)
    objects = assemble_scene(avatar, bpy.context.scene)
    uuid = objects.collection[UUID_KEY]
    return avatar.mesh, objects, uuid, add_bound_splats(folder, avatar.mesh, objects, uuid, "portrait")


def drawn(bpy, thing) -> dict[str, np.ndarray]:
    """Attributes of the points that Blender draws."""
    thing.hide_viewport = False
    bpy.context.view_layer.update()
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    if not hasattr(evaluated, "evaluated_geometry"):
        pytest.skip("this Blender does not show what geometry nodes make")
    geometry = evaluated.evaluated_geometry()
    cloud = geometry.pointcloud
    found = {}
    for name, field, width in (
        ("position", "vector", 3),
        ("splat_rotation", "color", 4),
        ("splat_normal", "vector", 3),
        ("splat_shape", "color", 4),
    ):
        values = np.empty(len(cloud.points) * width, np.float32)
        cloud.attributes[name].data.foreach_get(field, values)
        found[name] = values.reshape(-1, width)
    return found


def deformed(bpy, mesh, objects) -> np.ndarray:
    """The mesh's vertices as Blender shows them, head space, without the limit surface."""
    from blender_addon.scene.head_mesh import part_faces

    for obj in objects.parts.values():
        for modifier in obj.modifiers:
            if modifier.type == "SUBSURF":
                modifier.levels = 0
    graph = bpy.context.evaluated_depsgraph_get()
    out = mesh.vertices_neutral_head.astype(np.float64).copy()
    root = np.array(objects.root.matrix_world.inverted())
    for name, obj in objects.parts.items():
        shown = obj.evaluated_get(graph)
        data = shown.to_mesh()
        positions = np.empty(3 * len(data.vertices), np.float32)
        data.vertices.foreach_get("co", positions)
        world = root @ np.array(shown.matrix_world)
        scene = positions.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
        out[part_faces(mesh, name).vertex] = scene[:, [0, 2, 1]] * [1, 1, -1]
        shown.to_mesh_clear()
    return out


def expected(mesh, folder, vertices) -> tuple[Splats, np.ndarray]:
    from blender_addon.splat_binding import frames_of, read_bound_splats

    splats, tie = read_bound_splats(folder, len(mesh.vertices_neutral_head))
    normals = np.einsum("nij,nj->ni", frames_of(vertices, tie.corners), tie.normal)
    return tie.placed(splats, vertices), normals


def check(bpy, mesh, objects, thing, folder) -> None:
    vertices = deformed(bpy, mesh, objects)
    wanted, normals = expected(mesh, folder, vertices)
    got = drawn(bpy, thing)
    assert np.abs(got["position"] - wanted.positions).max() < 2e-6
    turned = matrices(got["splat_rotation"][:, [3, 0, 1, 2]])
    assert np.abs(turned - matrices(wanted.rotations)).max() < 2e-3
    assert np.abs(got["splat_normal"] - normals).max() < 2e-3
    np.testing.assert_allclose(got["splat_shape"][:, :3], np.exp(wanted.log_scales), rtol=2e-3)


def test_splats_follow_shape_keys(bpy, head, folder) -> None:
    mesh, objects, _, thing = head
    check(bpy, mesh, objects, thing, folder)
    before = drawn(bpy, thing)["position"]
    keys = objects.parts["skin"].data.shape_keys.key_blocks
    moving = next(key for key in keys[1:] if key.name in mesh.expression_names and not key.mute)
    moving.value = 1.0 - moving.value
    bpy.context.view_layer.update()
    check(bpy, mesh, objects, thing, folder)
    assert np.abs(drawn(bpy, thing)["position"] - before).max() > 1e-4


def test_splats_follow_the_rig_and_the_root(bpy, head, folder) -> None:
    from blender_addon.scene.identity import first

    mesh, objects, uuid, thing = head
    rig = first("objects", uuid, "rig")
    before = drawn(bpy, thing)["position"]
    rig.pose.bones["head"].rotation_mode = "XYZ"
    rig.pose.bones["head"].rotation_euler = (0.2, 0.1, -0.3)
    objects.root.location.x += 0.5
    bpy.context.view_layer.update()
    check(bpy, mesh, objects, thing, folder)
    assert np.abs(drawn(bpy, thing)["position"] - before).max() > 0.01


def test_mesh_and_splats_take_turns(bpy, head) -> None:
    from blender_addon.scene.splat_binding import show_splats

    _, objects, uuid, thing = head
    assert thing.hide_viewport
    assert not objects.parts["skin"].hide_viewport
    assert show_splats(objects, uuid, True)
    assert not thing.hide_render
    assert all(part.hide_render for part in objects.parts.values())
    moved = drawn(bpy, thing)["position"]
    assert np.abs(moved).max() > 0.05  # hidden parts are still followed
    show_splats(objects, uuid, False)
    assert thing.hide_viewport
    assert not objects.parts["skin"].hide_render


def test_adding_again_replaces_and_faults_change_nothing(bpy, head, folder, tmp_path) -> None:
    from blender_addon.scene.splat_binding import add_bound_splats

    mesh, objects, uuid, _ = head
    add_bound_splats(folder, mesh, objects, uuid, "portrait")
    assert sum(o.get("likeness_role") == "splats" for o in bpy.data.objects) == 1
    count = len(bpy.data.objects)
    with pytest.raises(SplatsError, match="--splats"):
        add_bound_splats(tmp_path, mesh, objects, uuid, "portrait")
    smaller = replace(mesh, vertices_neutral_head=mesh.vertices_neutral_head[:3])
    with pytest.raises(SplatsError, match="another mesh"):
        add_bound_splats(folder, smaller, objects, uuid, "portrait")
    assert len(bpy.data.objects) == count


def test_the_scene_and_the_import_bring_the_splats(bpy, folder, tmp_path) -> None:
    import shutil
    import uuid as uuids

    import msgspec

    from blender_addon.bundle import BundleError, SplatsRecord, write_manifest
    from blender_addon.scene.identity import find, first
    from blender_addon.scene.importing import ImportOptions, import_steps
    from blender_addon.scene.splat_binding import show_splats

    copy = tmp_path / "portrait"
    shutil.copytree(folder, copy)
    record = SplatsRecord(count=400, sh_degree=1, sha256="1", binding_sha256="2")
    write_manifest(copy, msgspec.structs.replace(read_bundle(copy).manifest, splats=record))
    own = str(uuids.uuid4())
    assert "splats" in list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert first("objects", own, "splats").hide_viewport
    show_splats(find(own), own, True)
    again = list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert "splats" not in again
    write_manifest(
        copy,
        msgspec.structs.replace(
            read_bundle(copy).manifest, splats=msgspec.structs.replace(record, sha256="3")
        ),
    )
    assert "splats" in list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=own))
    assert not first("objects", own, "splats").hide_viewport  # the artist's choice is kept
    (copy / "splats.npz").write_bytes(b"")
    with pytest.raises(BundleError, match="damaged"):
        list(import_steps(copy, ImportOptions(mark_asset=False), collection_uuid=str(uuids.uuid4())))


def test_relightable_splats_answer_to_light(bpy, head, tmp_path) -> None:
    """Black without a light once relightable, and bright as captured before."""
    from blender_addon.scene.splat_binding import set_relightable, show_splats

    _, objects, uuid, _ = head
    show_splats(objects, uuid, True)
    scene = bpy.context.scene
    scene.world = None
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 2, "CPU"
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = 24
    scene.render.image_settings.file_format = "PNG"

    def brightness(name: str) -> float:
        scene.render.filepath = str(tmp_path / name)
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        return float(np.array(image.pixels[:]).reshape(-1, 4)[:, :3].max())

    assert brightness("captured.png") > 0.2
    assert set_relightable(uuid, True)
    assert brightness("dark.png") < 0.01
