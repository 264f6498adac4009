"""Blender's meshes hold the bundle's geometry: positions, charts, shape keys, drivers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from synthetic_avatar import make_head, make_reconstruction

from backend.export.bundle_writer import write_bundle
from blender_addon.bundle import read_bundle
from blender_addon.correctives import Correctives

pytestmark = pytest.mark.blend


@pytest.fixture
def objects(bpy, avatar):
    from blender_addon.scene.scene import build_avatar

    return build_avatar(avatar, bpy.context.scene.collection)


def _positions(data):
    values = np.empty(len(data) * 3, np.float32)
    data.foreach_get("co", values)
    return values.reshape(-1, 3)


def _turned(points):
    """Head space to Blender, written out: x right stays, up becomes z, forward becomes −y."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


def _own_vertices(avatar, part):
    quads = avatar.mesh.quads[avatar.mesh.quad_part == avatar.mesh.part_names.index(part)]
    return np.unique(quads[quads >= 0])


def test_positions_and_faces(objects, avatar):
    assert set(objects.parts) == set(avatar.mesh.part_names)
    for part, obj in objects.parts.items():
        own = _own_vertices(avatar, part)
        np.testing.assert_allclose(
            _positions(obj.data.vertices), _turned(avatar.mesh.vertices_neutral_head[own]), atol=1e-8
        )
        quads = avatar.mesh.quads[avatar.mesh.quad_part == avatar.mesh.part_names.index(part)]
        made = [[int(own[v]) for v in polygon.vertices] for polygon in obj.data.polygons]
        assert made == [[int(v) for v in q if v >= 0] for q in quads]
        assert all(polygon.use_smooth for polygon in obj.data.polygons)
        assert obj.parent.type == "ARMATURE"
        assert obj.parent.parent == objects.root


def test_every_corner_has_its_chart_point(objects, avatar):
    mesh = avatar.mesh
    for part, obj in objects.parts.items():
        values = np.empty(len(obj.data.loops) * 2, np.float32)
        obj.data.uv_layers.active.uv.foreach_get("vector", values)
        rows = mesh.quad_uvs[mesh.quad_part == mesh.part_names.index(part)]
        np.testing.assert_array_equal(values.reshape(-1, 2), mesh.uvs[rows[rows >= 0]])


def test_shape_keys_hold_the_expressions(objects, avatar):
    mesh = avatar.mesh
    skin = objects.parts["skin"].data.shape_keys.key_blocks
    assert tuple(skin.keys())[: len(mesh.expression_names) + 1] == ("Basis", *mesh.expression_names)
    for part, obj in objects.parts.items():
        if obj.data.shape_keys is None:
            continue
        own = _own_vertices(avatar, part)
        keys = obj.data.shape_keys.key_blocks
        basis = _positions(keys["Basis"].points)
        for e, name in enumerate(mesh.expression_names):
            if name not in keys:
                continue
            dense = np.zeros_like(mesh.vertices_neutral_head)
            rows, offset = mesh.expressions.rows(e)
            dense[rows] = offset
            np.testing.assert_allclose(
                _positions(keys[name].points) - basis,
                _turned(dense[own]),
                atol=2e-8,
                err_msg=f"{part} {name}",
            )


def test_parts_that_an_expression_leaves_alone_have_no_key(objects):
    def keys(part):
        own = objects.parts[part].data.shape_keys
        return tuple(own.key_blocks.keys()) if own else ()

    assert keys("eye_left") == ("Basis", "eyeLookInLeft")  # no key for the bone: it turns the eye itself
    assert keys("eye_right") == ()
    assert "jawOpen" in keys("teeth")


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """The egg, whose teeth and front are moved where jaw, smile and gaze meet."""
    head = make_head()
    front = (head.mean_vertices[:, 2:] > 0.05).astype(np.float64)
    shapes = {
        (0, 1): front * [0, 0.004, 0],
        (0, 1, 2): front * [0.002, 0, 0],
        (0, -2): front * [0, 0, 0.008],
    }
    head = dataclasses.replace(head, correctives=Correctives.of(shapes, 1e-6))
    folder = write_bundle(make_reconstruction(head), tmp_path_factory.mktemp("corrected") / "portrait")
    return head, read_bundle(folder)


def test_drivers_of_correctives_show_what_the_head_shows(bpy, corrected):
    from blender_addon.operators.head import expression_keys
    from blender_addon.scene.scene import build_avatar

    head, avatar = corrected
    objects = build_avatar(avatar, bpy.context.scene.collection)
    keys = objects.parts["skin"].data.shape_keys.key_blocks
    names = [key.name for key in expression_keys(objects.collection["likeness_uuid"])]
    assert names == list(head.expression_names)  # the artist sees the expressions alone
    for obj in objects.parts.values():
        for modifier in obj.modifiers:
            modifier.show_viewport = False
    for weights in ((0.0, 0.0, 0.0), (0.5, 1.0, 0.0), (0.7, 0.4, 0.6), (1.0, 1.0, 1.0)):
        for name, weight in zip(head.expression_names, weights, strict=True):
            keys[name].value = weight
        graph = bpy.context.evaluated_depsgraph_get()
        graph.update()
        shown = head.shape(np.zeros(0), np.array(weights))
        for part in ("skin", "teeth"):
            evaluated = objects.parts[part].evaluated_get(graph).to_mesh()
            np.testing.assert_allclose(
                _positions(evaluated.vertices), _turned(shown[_own_vertices(avatar, part)]), atol=2e-6
            )


def test_the_jaw_bone_brings_correctives_along(bpy, corrected):
    from blender_addon.scene.scene import build_avatar

    _, avatar = corrected
    objects = build_avatar(avatar, bpy.context.scene.collection)
    keys = objects.parts["skin"].data.shape_keys
    keys.key_blocks["jawOpen"].value = 0.25
    keys.key_blocks["mouthSmileLeft"].value = 0.5
    bone = keys.key_blocks["bone jawOpen"]
    bone.driver_remove("value")  # as the bone would set it
    for value, expected in ((0.0, 0.125), (0.5, 0.375), (1.0, 0.5)):
        bone.value = value
        graph = bpy.context.evaluated_depsgraph_get()
        graph.update()
        shown = objects.parts["skin"].evaluated_get(graph).data.shape_keys.key_blocks
        assert shown["corrective jawOpen_mouthSmileLeft"].value == pytest.approx(expected)


def test_weights_are_found_again_from_corrected_vertices(bpy, corrected):
    from blender_addon.scene.reshape import remember_shape, solve_weights
    from blender_addon.scene.scene import build_avatar

    head, avatar = corrected
    objects = build_avatar(avatar, bpy.context.scene.collection)
    before = remember_shape(objects.collection["likeness_uuid"], avatar.directory)
    for weights in ((0.3, 0.8, 0.0), (1.0, 0.5, 0.6)):
        shown = head.shape(np.zeros(0), np.array(weights))
        found = solve_weights(before, head.shape(np.zeros(0)), shown)
        np.testing.assert_allclose(list(found.values()), weights, atol=2e-3)


def test_gltf_has_no_correctives(bpy, corrected):
    """Viewers would show them as sliders and drive none of them."""
    from blender_addon.scene import head_mesh

    _, avatar = corrected
    faces = head_mesh.part_faces(avatar.mesh, "skin")
    assert head_mesh.part_motion(avatar.mesh, faces).moving == ("jawOpen", "mouthSmileLeft")


def test_the_photographed_face_is_what_shows(bpy, objects, avatar):
    expressed = avatar.mesh.expressed()
    graph = bpy.context.evaluated_depsgraph_get()
    for part, obj in objects.parts.items():
        for modifier in obj.modifiers:
            modifier.show_viewport = False
        graph.update()
        evaluated = obj.evaluated_get(graph).to_mesh()
        np.testing.assert_allclose(
            _positions(evaluated.vertices), _turned(expressed[_own_vertices(avatar, part)]), atol=1e-6
        )


def test_other_parts_follow_the_skin(bpy, objects):
    skin, teeth = objects.parts["skin"], objects.parts["teeth"]
    for value in (0.0, 0.8):
        skin.data.shape_keys.key_blocks["jawOpen"].value = value
        skin.data.shape_keys.update_tag()
        bpy.context.view_layer.update()
        graph = bpy.context.evaluated_depsgraph_get()
        driven = teeth.evaluated_get(graph).data.shape_keys.key_blocks["jawOpen"].value
        assert driven == pytest.approx(value)


def test_the_triangulation_is_the_bundles(bpy, avatar):
    from blender_addon.scene.head_mesh import build_part, part_faces

    mesh = avatar.mesh
    obj = build_part(mesh, part_faces(mesh, "skin", triangulated=True), "skin")
    own = _own_vertices(avatar, "skin")
    made = [[int(own[v]) for v in polygon.vertices] for polygon in obj.data.polygons]
    wanted = mesh.triangles[mesh.quad_part[mesh.triangle_quad] == 0]
    assert made == wanted.tolist()


def test_provenance(objects, avatar):
    for owner in (objects.root, objects.collection):
        assert owner["likeness_photo_sha256"] == avatar.manifest.photo.sha256
        assert owner["likeness_engine"] == "embedded"
        assert "GPL" in owner["likeness_weights"]
    assert objects.collection.name == "portrait"
