"""Rendered portraits with exact truth, for the tests: ``python -m synthdata.fixtures -o tests/data``.

A made-up person (random identity of the open head, procedural skin) under an HDRI that ships with
Blender (CC0), rendered by Cycles. The truth is stored in picture space, by pixel and by Face Mesh
number, so that it stays true when the open head is rebuilt with another topology.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from backend.artifacts import F32, Camera, Materials
from backend.colour import linear_to_srgb, luminance
from backend.export.bundle_writer import camera_record
from backend.export.map_files import MIDLEVEL, displacement_scale, encode_maps, write_maps
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.shading.environment import Environment
from backend.uvspace.chart import chart_maps
from blender_addon import bundle
from blender_addon.scene.camera import build_camera
from blender_addon.scene.light import world_from_hdri
from blender_addon.scene.render import configure_cycles
from blender_addon.scene.scene import assemble_scene, set_output
from blender_addon.scene.space import to_head
from synthdata.headmodel.preview import look_at
from synthdata.painted_skin import paint_skin

SIZE = 640  # pixels of the portrait
TRUTH_SIZE = 320  # pixels of the truth; every second pixel corner of the portrait
CHART = 1024  # texels of the painted skin
HEIGHT_M = 0.33  # of the scene in the frame
DISTANCE_M = 0.95
TARGET_HEAD = (0.0, 0.0, 0.03)
BACKDROP_LINEAR = (0.20, 0.235, 0.27)
IDENTITY_SPREAD = 0.8  # of the head's own; its rarest shapes let the inner mouth show through the skin
BRIGHT_SKIN_LINEAR = 0.55  # luminance that the brightest twentieth of the skin is exposed to


@dataclass(frozen=True)
class Portrait:
    """What tells one portrait from another."""

    name: str
    seed: int
    yaw_degrees: float  # of the camera towards the subject's left
    pitch_degrees: float
    hdri: str  # file name in Blender's studiolights/world
    turn_degrees: float  # Mapping rotation of the HDRI about the vertical
    tone: float  # first albedo coefficient, standard deviations
    expression: dict[str, float]
    iris_srgb: tuple[float, float, float]
    has_exif: bool  # whether the file tells its focal length


PORTRAITS = (
    Portrait(
        name="portrait_front",
        seed=11,
        yaw_degrees=0.0,
        pitch_degrees=2.0,
        hdri="courtyard.exr",
        turn_degrees=72.0,
        tone=-0.4,
        expression={"mouthSmileLeft": 0.30, "mouthSmileRight": 0.34, "cheekSquintLeft": 0.15},
        iris_srgb=(0.33, 0.45, 0.52),
        has_exif=True,
    ),
    Portrait(
        name="portrait_turned",
        seed=23,
        yaw_degrees=30.0,
        pitch_degrees=4.0,
        hdri="sunset.exr",
        turn_degrees=78.0,
        tone=0.8,
        expression={"mouthPressLeft": 0.1, "browInnerUp": 0.2},
        iris_srgb=(0.36, 0.24, 0.15),
        has_exif=False,
    ),
)


@dataclass(frozen=True)
class Person:
    """A made-up person on the open head."""

    head: ParametricHead
    neutral: F32  # (V, 3) metres
    expressed: F32  # (V, 3) metres
    expression: F32  # (K_exp,)
    materials: Materials
    bare: F32  # (CHART, CHART) 1 on skin, 0 under hair


def make_person(portrait: Portrait, head: ParametricHead) -> Person:
    """The person of ``portrait``: everything random comes from its seed."""
    rng = np.random.default_rng(portrait.seed)
    identity = (IDENTITY_SPREAD * rng.normal(size=len(head.identity_basis))).astype(np.float32)
    colour = 0.5 * rng.normal(size=len(head.albedo_basis))
    colour[0] = portrait.tone
    expression = np.array([portrait.expression.get(n, 0.0) for n in head.expression_names], np.float32)
    neutral = head.shape(identity)
    chart = chart_maps(head, neutral, CHART)
    materials, bare = paint_skin(head, chart, head.albedo(colour), portrait.seed)
    return Person(head, neutral, head.shape(identity, expression), expression, materials, bare)


def portrait_camera(portrait: Portrait) -> Camera:
    """The camera in front of the head, turned as ``portrait`` says."""
    return look_at(TARGET_HEAD, portrait.yaw_degrees, portrait.pitch_degrees, DISTANCE_M, HEIGHT_M, SIZE)


def write_avatar_folder(person: Person, portrait: Portrait, camera: Camera, folder: Path) -> None:
    """Write the person as a bundle, from which the scene builders make Blender data."""
    head = person.head
    zero = (0.0, 0.0, 0.0)
    write_maps(encode_maps(person.materials, person.bare), folder)
    centres = np.asarray(
        [
            head.eye_centres[side]
            + (person.neutral - head.mean_vertices)[np.unique(head.quads[head.quad_part == part])].mean(0)
            for side, part in enumerate(map(head.part_names.index, ("eye_left", "eye_right")))
        ],
        np.float32,
    )
    mesh = bundle.Mesh(
        vertices_neutral_head=person.neutral,
        expressions=bundle.SparseOffsets.from_dense(head.expression_basis),
        expression_weights=person.expression,
        eye_centres_head=centres,
        **{
            name: getattr(head, name)
            for name in [
                "quads",
                "quad_uvs",
                "quad_part",
                "part_names",
                "uvs",
                "triangles",
                "triangle_uvs",
                "triangle_quad",
                "expression_names",
            ]
        },
    )
    bundle.write_mesh(folder, mesh)
    left, right = (tuple(float(x) for x in c) for c in centres)
    manifest = bundle.Manifest(
        schema=bundle.SCHEMA,
        created_by="synthdata.fixtures",
        engine="none",
        head=head.name,
        stages=(),
        peak_rss_mb=None,
        fit=bundle.FitErrors(landmark_error_px=None, landmark_error_iod=None, photometric_psnr_db=None),
        camera=camera_record(camera),
        light=bundle.Light(radiance_sh=(zero,) * 9),
        photo=bundle.PhotoRecord(name=portrait.name, sha256="", size=(SIZE, SIZE), face_box=(0, 0, 0, 0)),
        displacement_scale_m=displacement_scale(person.materials.displacement_m),
        displacement_midlevel=MIDLEVEL,
        texels_per_pixel=1.0,
        weights=(),
        seed=portrait.seed,
        warnings=(),
        eyes=bundle.Eyes(iris_srgb=portrait.iris_srgb, centres=(left, right)),  # type: ignore[arg-type]
        expression={},
    )
    bundle.write_manifest(folder, manifest)


def build_scene(portrait: Portrait, folder: Path, camera: Camera) -> tuple[Any, Environment]:
    """The avatar in ``folder`` under the portrait's HDRI; the light in head space comes with it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    objects = assemble_scene(bundle.read_bundle(folder), scene)
    for name, part in objects.parts.items():
        part.modifiers.clear()  # the mesh itself is the truth, not its subdivision
        # The mouths are closed, and in rare identities these would show through the chin.
        part.hide_render = name in ("gums", "tongue", "teeth")
    path = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / portrait.hdri
    scene.world = world_from_hdri("HDRI", str(path), portrait.turn_degrees, pack=False)
    scene.camera = build_camera("Portrait", camera_record(camera))
    scene.collection.objects.link(scene.camera)
    set_output(scene, SIZE, SIZE)
    light = pixels_of(bpy.data.images.load(str(path), check_existing=True))[..., :3]
    # A Mapping node turns the looked-up direction, so the surroundings turn the other way.
    return scene, Environment(portrait.hdri, light).rotated(-portrait.turn_degrees)


def pixels_of(image: Any) -> F32:
    """Pixels ``(H, W, 4)`` of a Blender image, top row first."""
    width, height = image.size
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    return np.ascontiguousarray(flat.reshape(height, width, 4)[::-1])


def render_beauty(scene: Any, samples: int, folder: Path) -> F32:
    """Linear premultiplied RGBA ``(SIZE, SIZE, 4)``."""
    configure_cycles(scene, samples)
    scene.render.film_transparent = True
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    scene.render.filepath = str(folder / "beauty.exr")
    bpy.ops.render.render(write_still=True)
    return read_exr(folder / "beauty.exr")


def read_exr(path: Path) -> F32:
    """Linear premultiplied pixels ``(H, W, 4)`` of an OpenEXR file, top row first."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Linear Rec.709"
    image.alpha_mode = "PREMUL"
    return pixels_of(image)


def render_truth(scene: Any, folder: Path) -> dict[str, F32]:
    """Position, normal, albedo and skin ``(TRUTH_SIZE, TRUTH_SIZE, 4)`` at the very pixel centres."""
    configure_cycles(scene, 1, denoise=False)
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    scene.render.resolution_x = scene.render.resolution_y = TRUTH_SIZE
    bare = bpy.data.images.load(str(bundle.map_path(folder, "visibility")))
    bare.colorspace_settings.name = "Non-Color"
    layer = scene.view_layers[0]
    layer.use_pass_position = layer.use_pass_normal = True
    for name in ("albedo", "skin"):
        layer.aovs.add().name = name
    for material in bpy.data.materials:
        if material.use_nodes:
            _add_truth_outputs(material.node_tree, bare)
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers = tree.nodes.new("CompositorNodeRLayers")
    writer = tree.nodes.new("CompositorNodeOutputFile")
    writer.base_path = str(folder)
    writer.format.file_format, writer.format.color_mode, writer.format.color_depth = "OPEN_EXR", "RGBA", "32"
    writer.file_slots.clear()
    for name in ("Position", "Normal", "albedo", "skin"):
        writer.file_slots.new(name)
        tree.links.new(layers.outputs[name], writer.inputs[name])
    bpy.ops.render.render(write_still=False)
    return {
        name.lower(): read_exr(next(folder.glob(f"{name}*.exr")))
        for name in ("Position", "Normal", "albedo", "skin")
    }


def _add_truth_outputs(tree: Any, bare: Any) -> None:
    """Give a material the outputs ``albedo`` (base colour) and ``skin`` (``bare`` on the skin, else 0)."""
    textures = {
        node.label or node.name: node for node in tree.nodes if node.bl_idname == "ShaderNodeTexImage"
    }
    albedo, skin = tree.nodes.new("ShaderNodeOutputAOV"), tree.nodes.new("ShaderNodeOutputAOV")
    albedo.aov_name, skin.aov_name = "albedo", "skin"
    if "albedo" not in textures:
        return
    tree.links.new(textures["albedo"].outputs["Color"], albedo.inputs["Color"])
    mask = tree.nodes.new("ShaderNodeTexImage")
    mask.image = bare
    tree.links.new(textures["albedo"].inputs["Vector"].links[0].from_socket, mask.inputs["Vector"])
    tree.links.new(mask.outputs["Color"], skin.inputs["Color"])


def make(portrait: Portrait, head: ParametricHead, out: Path, samples: int) -> None:
    """Render ``portrait`` into ``out/NAME.jpg`` and ``out/NAME_truth.npz``."""
    from PIL import Image

    person, camera = make_person(portrait, head), portrait_camera(portrait)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_avatar_folder(person, portrait, camera, folder)
        scene, light = build_scene(portrait, folder, camera)
        beauty = render_beauty(scene, samples, folder)
        passes = render_truth(scene, folder)
    skin = passes["skin"][..., 0] > 0.5
    seen = beauty.reshape(TRUTH_SIZE, 2, TRUTH_SIZE, 2, 4).mean((1, 3))
    exposure = BRIGHT_SKIN_LINEAR / float(np.quantile(luminance(seen[skin][:, :3]), 0.95))
    linear = exposure * beauty[..., :3] + (1 - beauty[..., 3:]) * np.array(BACKDROP_LINEAR, np.float32)
    picture = Image.fromarray(np.rint(255 * np.clip(linear_to_srgb(linear), 0, 1)).astype(np.uint8))
    exif = Image.Exif()
    if portrait.has_exif:
        exif.get_ifd(0x8769)[0xA405] = round(focal_35mm(camera))  # FocalLengthIn35mmFilm
    picture.save(out / f"{portrait.name}.jpg", quality=94, subsampling=0, exif=exif)
    light_sh = exposure * light.radiance_sh
    path = out / f"{portrait.name}_truth.npz"
    _write_truth(path, person, camera, passes, skin, light_sh, portrait.iris_srgb)


def focal_35mm(camera: Camera) -> float:
    """The focal length on 24 mm × 36 mm film with the same diagonal field of view."""
    return float(camera.focal_px * np.hypot(24.0, 36.0) / np.hypot(camera.width_px, camera.height_px))


def _write_truth(
    path: Path,
    person: Person,
    camera: Camera,
    passes: dict[str, F32],
    skin: NDArray[np.bool_],
    radiance_sh: NDArray[np.float64],
    iris_srgb: tuple[float, float, float],
) -> None:
    hit = np.abs(passes["normal"][..., :3]).sum(-1) > 0
    depth = camera.to_camera(to_head(passes["position"]))[..., 2]
    points = person.head.mediapipe.positions(person.expressed, person.head.triangles)
    half = np.float16
    np.savez_compressed(
        path,
        # Half floats near 1 m step by half a millimetre; about the target they step by less than 0.06 mm.
        depth_offset_m=np.float64(DISTANCE_M),
        depth_from_offset_m=np.where(hit, depth - DISTANCE_M, np.nan).astype(half),
        normal_head=np.where(hit[..., None], to_head(passes["normal"]), 0).astype(half),
        albedo_linear=np.where(skin[..., None], passes["albedo"][..., :3], 0).astype(half),
        skin=skin,
        focal_px=np.float64(camera.focal_px),
        principal_px=np.array(camera.principal_px),
        size_px=np.array([camera.width_px, camera.height_px]),
        world_to_camera=camera.world_to_camera,
        radiance_sh=radiance_sh,
        iris_srgb=np.array(iris_srgb),
        points_head=points.astype(np.float32),
        points_trust=person.head.mediapipe.trust.astype(np.float32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--samples", type=int, default=64, help="Cycles samples per pixel")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    head = load_head("open")
    for portrait in PORTRAITS:
        make(portrait, head, arguments.out, arguments.samples)


if __name__ == "__main__":
    main()
