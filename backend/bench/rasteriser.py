"""Ids, weights and depth of a ball of 50k triangles in 1024²: ours and others'."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from backend.artifacts import F64
from backend.bench.scenes import Scene, ball
from backend.bench.sheet import Setting, Sheet, in_turns, main, timed, try_out
from backend.uvspace.buffers import Rasteriser
from backend.uvspace.rasterise import NumbaRasteriser, NvdiffrastRasteriser, PlainRasteriser

OURS, TWIN = "numba", "plain twin (numpy)"
Draw = Callable[[], object]


def measure(setting: Setting, sheet: Sheet) -> None:
    """Everything once a round; the plain twin once in all, it takes three thousand times as long."""
    size, scene = (128, ball(24, 24, 128)) if setting.quick else (1024, ball(159, 158, 1024))
    pixels, depth = scene.camera.project(scene.vertices)
    vertices = np.concatenate([pixels, depth[:, None]], 1)

    def drawn_by(make: Callable[[], Rasteriser]) -> Callable[[], Draw]:
        def made() -> Draw:
            rasteriser = make()
            return lambda: rasteriser.rasterise(vertices, scene.triangles, size, size)

        return made

    covered = NumbaRasteriser().rasterise(vertices, scene.triangles, size, size).covered.mean()
    sheet.workload(
        f"{len(scene.triangles)} triangles into {size}×{size}, {covered:.0%} covered, "
        f"ids, weights and depth in memory"
    )
    works = try_out(
        sheet,
        {
            OURS: drawn_by(NumbaRasteriser),
            "embree, rays and tree ready": lambda: embree(scene),
            "OpenGL (moderngl)": lambda: opengl(vertices, scene.triangles, size),
            "nvdiffrast": drawn_by(NvdiffrastRasteriser),
        },
    )
    in_turns(sheet, works, setting.repeat * (1 if setting.quick else 10), OURS, also=(TWIN,))
    sheet.value(TWIN, 1e3 * timed(drawn_by(PlainRasteriser)()), "ms")


def embree(scene: Scene) -> Draw:
    """First hits through every pixel's centre; the tree is built before. Raises: ImportError."""
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    camera = scene.camera
    centre = np.array(camera.principal_px)
    y, x = np.mgrid[: camera.height_px, : camera.width_px] + 0.5
    along = np.concatenate(
        [(np.stack([x, y], -1).reshape(-1, 2) - centre) / camera.focal_px, np.ones((x.size, 1))], 1
    )
    directions = along @ camera.world_to_camera[:, :3]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = np.broadcast_to(camera.centre_head, directions.shape)
    tree = RayMeshIntersector(trimesh.Trimesh(scene.vertices, scene.triangles, process=False))
    return lambda: tree.intersects_first(origins, directions)


def opengl(vertices_px: F64, triangles: np.ndarray[tuple[int, int], np.dtype[np.int32]], size: int) -> Draw:
    """Ids and weights through OpenGL, read back. Raises: ImportError, or what the driver says."""
    import moderngl

    settings: dict[str, Any] = {"backend": "egl"}  # its own types take every setting for a mapping
    context = moderngl.create_standalone_context(**settings)
    program = context.program(
        vertex_shader="""#version 330
            in vec4 clip; in vec3 weight; out vec3 w;
            void main() { gl_Position = clip; w = weight; }""",
        fragment_shader="""#version 330
            in vec3 w; out vec4 colour;
            void main() { colour = vec4(w, float(gl_PrimitiveID)); }""",
    )
    z = vertices_px[:, 2]
    near, far = z.min() * 0.9, z.max() * 1.1
    clip = np.stack(
        [
            (vertices_px[:, 0] / size * 2 - 1) * z,
            (vertices_px[:, 1] / size * 2 - 1) * z,
            (far + near) / (far - near) * z - 2 * far * near / (far - near),
            z,
        ],
        -1,
    )[triangles.ravel()]
    weights = np.tile(np.eye(3), (len(triangles), 1))
    buffer = context.buffer(np.concatenate([clip, weights], 1).astype("f4").tobytes())
    array = context.vertex_array(program, [(buffer, "4f 3f", "clip", "weight")])
    colour = context.texture((size, size), 4, dtype="f4")
    target = context.framebuffer([colour], context.depth_renderbuffer((size, size)))
    context.enable(moderngl.DEPTH_TEST)

    def draw() -> object:
        target.use()
        target.clear(0, 0, 0, -1)
        array.render()
        return target.read(components=4, dtype="f4")

    return draw


if __name__ == "__main__":
    sys.exit(main(measure))
