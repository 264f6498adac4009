"""A synthetic avatar with splats on its mesh, and what Blender makes of them; for the tests of scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from splat_reference import matrices
from synthetic_avatar import make_reconstruction

from backend.export.bundle_writer import write_bundle
from blender_addon.bundle import read_bundle
from blender_addon.splat_binding import SplatBinding, spans_of, write_binding
from blender_addon.splats import Splats, write_ply


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_bound_avatar(parent: Path) -> Path:
    """The synthetic avatar with 400 splats on all of its parts, a tenth of them hair."""
    directory = write_bundle(make_reconstruction(), parent / "portrait")
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
        ("splat_sh_r0", "color", 4),
        ("splat_sh_g0", "color", 4),
        ("splat_sh_b0", "color", 4),
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
