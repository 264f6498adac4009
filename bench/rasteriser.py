"""Rasterisers side by side: 50k triangles into 1024², and unwrapping at 1K.

    python bench/rasteriser.py [--repeats N]

Prints the median warm time of each implementation and its ratio to the numba one, so that two machines'
figures can be compared. Implementations whose library is absent are named and left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "uvspace"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cast_photos import fit_of
from chart_meshes import front_camera, sphere

from backend.artifacts import FaceBox, Observation, Photo, Run
from backend.errors import Missing
from backend.uvspace.buffers import Rasteriser
from backend.uvspace.chart import chart_maps
from backend.uvspace.kernels import threads
from backend.uvspace.rasterise import NumbaRasteriser, NvdiffrastRasteriser, PlainRasteriser
from backend.uvspace.unwrap import unwrap

SIZE = 1024


def milliseconds(work: Callable[[], object], repeats: int, warm: bool = True) -> float:
    """Median wall time of ``work``, after one call to warm it."""
    if warm:
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def moderngl_draw(pixels: np.ndarray, triangles: np.ndarray) -> Callable[[], object]:
    """Ids and weights through OpenGL, read back; raises ImportError or moderngl's error when absent."""
    import moderngl

    context = moderngl.create_standalone_context(backend="egl")
    program = context.program(
        vertex_shader="""#version 330
            in vec4 clip; in vec3 weight; out vec3 w;
            void main() { gl_Position = clip; w = weight; }""",
        fragment_shader="""#version 330
            in vec3 w; out vec4 colour;
            void main() { colour = vec4(w, float(gl_PrimitiveID)); }""",
    )
    z = pixels[:, 2]
    near, far = z.min() * 0.9, z.max() * 1.1
    clip = np.stack(
        [
            (pixels[:, 0] / SIZE * 2 - 1) * z,
            (pixels[:, 1] / SIZE * 2 - 1) * z,
            (far + near) / (far - near) * z - 2 * far * near / (far - near),
            z,
        ],
        -1,
    )[triangles.ravel()]
    weights = np.tile(np.eye(3), (len(triangles), 1))
    buffer = context.buffer(np.concatenate([clip, weights], 1).astype("f4").tobytes())
    array = context.vertex_array(program, [(buffer, "4f 3f", "clip", "weight")])
    colour = context.texture((SIZE, SIZE), 4, dtype="f4")
    target = context.framebuffer([colour], context.depth_renderbuffer((SIZE, SIZE)))
    context.enable(moderngl.DEPTH_TEST)

    def draw() -> object:
        target.use()
        target.clear(0, 0, 0, -1)
        array.render()
        return target.read(components=4, dtype="f4")

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats

    # A ball of 50k triangles that fills as much of the frame as a head in a portrait crop: 45 %.
    ball = sphere(159, 158)
    camera = front_camera(SIZE, 1.18 * SIZE / 0.2 * 0.6 * 0.63, 0.6)
    pixels, depth = camera.project(ball.mean_vertices)
    vertices = np.concatenate([pixels, depth[:, None]], 1)

    def with_rasteriser(rasteriser: Rasteriser) -> Callable[[], object]:
        return lambda: rasteriser.rasterise(vertices, ball.triangles, SIZE, SIZE)

    fast = NumbaRasteriser()
    covered = fast.rasterise(vertices, ball.triangles, SIZE, SIZE).covered.mean()
    print(f"{len(ball.triangles)} triangles, {SIZE}x{SIZE}, {covered:.0%} covered, {threads()} threads")
    base = milliseconds(with_rasteriser(fast), repeats)
    rows = [("numba", base), ("plain", milliseconds(with_rasteriser(PlainRasteriser()), 1, warm=False))]
    try:
        rows.append(("nvdiffrast", milliseconds(with_rasteriser(NvdiffrastRasteriser()), repeats)))
    except Missing as reason:
        print(f"nvdiffrast left out: {reason}")
    try:
        rows.append(("moderngl", milliseconds(moderngl_draw(vertices, ball.triangles), repeats)))
    except Exception as reason:  # whatever this machine's OpenGL raises
        print(f"moderngl left out: {reason}")
    for name, took in rows:
        print(f"{name:12s} {took:10.2f} ms   {took / base:8.2f} x numba")

    # Unwrap: a 1536² photo of that ball, 1K chart.
    camera = front_camera(1536, 1536 * 2.2, 0.6)
    everywhere = np.ones((1536, 1536), np.float32)
    observation = Observation(
        photo=Photo("bench", "", np.full((1536, 1536, 3), 0.5, np.float32), None, (1536, 1536)),
        faces=(FaceBox(0, 0, 1536, 1536, 1.0),),
        face_index=0,
        landmarks_px=np.zeros((478, 2), np.float32),
        landmarks_depth=np.zeros(478, np.float32),
        landmarks_visible=np.zeros(478, np.float32),
        skin_mask=everywhere,
        person_mask=everywhere,
        focal_px=camera.focal_px,
        focal_source="exif",
    )
    fit = fit_of(ball, camera)
    print(f"chart maps   {milliseconds(lambda: chart_maps(ball, ball.mean_vertices, 1024), 5):10.2f} ms   1K")
    print(f"unwrap       {milliseconds(lambda: unwrap(observation, fit, 1024, Run()), 5):10.2f} ms   1K")


if __name__ == "__main__":
    main()
