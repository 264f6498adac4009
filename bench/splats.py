"""Splats: import against Blender's own PLY reader, and how close the pictures are to a 3DGS rasteriser.

    likeness bench --only splats          the import, 100,000 and 1,000,000 splats
    python bench/splats.py pictures [--splats FILE.ply] [--size 192] [--samples 64] [--out FOLDER]

Needs Blender's module (extra `blend`); `pictures` takes any splats, by default the tests' striped ball.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from splat_reference import Camera, ball, look_at, psnr, render, to_srgb  # noqa: E402

from backend.bench import sheet as process  # noqa: E402
from blender_addon.scene.splats import add_splats, prepare_cycles  # noqa: E402
from blender_addon.splats import Splats, read_ply, write_ply  # noqa: E402

EEVEE = "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0) else "BLENDER_EEVEE"
THEIRS = "Blender's PLY reader"
SIDES = ((1.0, -1.0, 0.5), (-1.0, -0.6, 0.2), (-0.5, 1.1, 0.3), (0.9, 0.8, -0.4), (0.1, -0.8, 1.1))


def emptied() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)


def measure_import(setting: process.Setting, sheet: process.Sheet) -> None:
    """Everything once a round, one after the other, so that other work on the machine hits all alike."""
    counts = (2_000,) if setting.quick else (100_000, 1_000_000)
    sheet.workload(f"{', '.join(map(str, counts))} splats of degree 3, {bpy.app.version_string}")
    for count in counts:
        path = setting.folder / f"{count}.ply"
        write_ply(path, ball(count, 3))
        for number in range(setting.repeat + 1):
            for name, seconds in _import_round(path).items():
                if number:  # the first round warms disk and memory
                    beside = () if name == THEIRS else (f"{count}: {THEIRS}",)
                    sheet.value(f"{count}: {name}", 1e3 * seconds, "ms", *beside)


def _import_round(path: Path) -> dict[str, float]:
    def build() -> None:
        add_splats(read_ply(path), bpy.context.scene.collection, "splats")

    emptied()
    seconds = {THEIRS: process.timed(lambda: bpy.ops.wm.ply_import(filepath=str(path)))}
    emptied()
    seconds["read"] = process.timed(lambda: read_ply(path))
    seconds["first import into a file"] = process.timed(build)
    seconds["geometry nodes of it"] = process.timed(bpy.context.evaluated_depsgraph_get)
    bpy.data.objects.remove(bpy.context.scene.objects[0])
    seconds["import once nodes are there"] = process.timed(build)
    return seconds


def picture(camera: Camera, engine: str, samples: int, path: Path) -> tuple[np.ndarray, float]:
    """Linear premultiplied RGBA sampled at pixel centres, and the seconds it took."""
    scene = bpy.context.scene
    eye = scene.camera
    if eye is None:
        eye = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
        scene.collection.objects.link(eye)
        scene.camera = eye
    matrix = np.eye(4)
    matrix[:3, :3] = (camera.axes * np.array([[1], [-1], [-1]])).T
    matrix[:3, 3] = camera.eye
    eye.matrix_world = Matrix(matrix.tolist())
    eye.data.sensor_width, eye.data.lens = 36.0, camera.focal_px * 36.0 / camera.size
    eye.data.clip_start = 0.001
    scene.render.resolution_x = scene.render.resolution_y = camera.size
    scene.render.film_transparent = True
    scene.render.engine = engine
    scene.cycles.device, scene.cycles.samples = "CPU", samples
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BOX", 0.01
    scene.eevee.taa_render_samples, scene.render.filter_size = samples, 0.01
    prepare_cycles(scene)
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth, settings.color_mode = "OPEN_EXR", "32", "RGBA"
    scene.render.filepath = str(path)
    start = time.perf_counter()
    bpy.ops.render.render(write_still=True)
    took = time.perf_counter() - start
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    result = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return result, took


def save(rgba: np.ndarray, path: Path, display: bool = False) -> None:
    """Over grey as an 8-bit PNG."""
    from PIL import Image

    shown = rgba[..., :3] + (1 - rgba[..., 3:]) * (0.5 if display else 0.21)
    shown = shown if display else to_srgb(shown)
    Image.fromarray((np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)).save(path)


def bench_pictures(splats: Splats, axes: str, size: int, samples: int, engines: list[str], out: Path) -> None:
    emptied()
    thing = add_splats(splats, bpy.context.scene.collection, "splats", axes)
    bpy.context.view_layer.update()
    world = splats.transformed(np.array(thing.matrix_world))
    middle = np.median(world.positions, axis=0)
    radius = float(np.quantile(np.linalg.norm(world.positions - middle, axis=1), 0.98))
    out.mkdir(parents=True, exist_ok=True)
    for number, side in enumerate(SIDES):
        towards = np.array(side) / np.linalg.norm(side)
        camera = look_at(middle + 4.0 * radius * towards, middle, 1.6 * size, size)
        exact = render(world, camera)
        original = render(world, camera, projected=True, display=True)
        save(exact, out / f"{number}-reference.png")
        save(original, out / f"{number}-original.png", display=True)
        shown = to_srgb(exact[..., :3])
        print(f"side {number}: linear, along rays / original: {psnr(shown, original[..., :3]):.1f} dB")
        for engine in engines:
            got, took = picture(camera, engine, samples, out / "render.exr")
            save(got, out / f"{number}-{engine.lower()}.png")
            print(
                f"side {number}: {engine:18s} {samples} samples {took:6.1f} s, against the reference "
                f"{psnr(to_srgb(got[..., :3]), shown):.1f} dB, against the original "
                f"{psnr(to_srgb(got[..., :3]), original[..., :3]):.1f} dB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("pictures")
    drawing.add_argument("--splats", type=Path)
    drawing.add_argument("--axes", choices=("HEAD", "COLMAP", "BLENDER"), default="HEAD")
    drawing.add_argument("--size", type=int, default=192)
    drawing.add_argument("--samples", type=int, default=64)
    drawing.add_argument("--engines", nargs="+", default=["CYCLES", EEVEE])
    drawing.add_argument("--out", type=Path, default=Path("out/splats"))
    given = parser.parse_args()
    splats = ball(2000, 3) if given.splats is None else read_ply(given.splats)
    bench_pictures(splats, given.axes, given.size, given.samples, given.engines, given.out)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):  # as `likeness bench` starts it
        sys.exit(process.main(measure_import))
    main()
