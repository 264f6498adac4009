"""Blender's part, in a process of its own: ``python -m backend.export.blend_worker REQUEST.json``.

The only module of the backend that imports bpy and ``blender_addon.scene``. With ``-`` in place of a
file it answers one request per line of standard input until that closes, so that Blender starts once.
Answers are JSON lines on standard output: ``{"progress": 0.5}``, then ``{"done": …}`` or
``{"error": kind, "message": line}``. Blender's own chatter goes to standard error.

Requests: ``{"command": "export", "avatar", "blend", "glb", "hdri"?}``; ``{"command": "render", "avatar",
"output", "view", "size", "samples", "hdri"?, "denoise"?, "transparent"?, "seed"?}``; and
``{"command": "render_shots", "avatar", "samples", "subdivision", "seed"?, "shots": [{"camera", "output",
"hdri", "rotation_degrees", "strength", "head_turn", "window"?}]}``, which assembles the head once, with at
most ``subdivision`` levels. ``camera`` is a CameraRecord; rotation and strength are the HDRI's; ``head_turn``
is a 3×3 rotation from head space to that of the light; only pixels in ``window`` (left, top, right, bottom;
the last two exclusive) are drawn.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import bpy  # on the main thread, else the process crashes when it ends
import msgspec
import numpy as np
from mathutils import Matrix

from backend.errors import BadInput
from backend.export.gltf_images import encode_colour, encode_skin
from backend.export.views import parse_view
from blender_addon.bundle import Avatar, BundleError, CameraRecord, read_bundle
from blender_addon.scene.camera import build_camera, orbit, place_camera, resized
from blender_addon.scene.eyes import eye_chart, eye_colours
from blender_addon.scene.gltf import GltfImages, build_gltf_head, export_glb
from blender_addon.scene.light import world_from_hdri
from blender_addon.scene.render import configure_cycles, render_to_file
from blender_addon.scene.scene import EYES, assemble_scene, head_sphere, set_output
from blender_addon.scene.space import HEAD_TO_SCENE

Report = Callable[[float], None]

EYE_SIZE = 512  # texels of an eye's picture in the .glb
DEFAULT_HDRI = Path("studiolights", "world", "courtyard.exr")  # CC0, part of Blender


def export(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Write the avatar as .blend and .glb."""
    avatar = read_bundle(Path(request["avatar"]))
    hdri = Path(request["hdri"]) if request.get("hdri") else _shipped_hdri()
    scene = _empty_scene()
    assemble_scene(avatar, scene, hdri)
    configure_cycles(scene, 128)
    report(0.3)
    # Written as a copy: the open file must not point at a folder that is about to be renamed.
    bpy.ops.wm.save_as_mainfile(
        filepath=str(request["blend"]), compress=True, copy=True, relative_remap=False
    )
    report(0.5)
    scene = _empty_scene()
    build_gltf_head(avatar, _gltf_images(avatar), scene.collection)
    export_glb(Path(request["glb"]))
    return {"blend": request["blend"], "glb": request["glb"]}


def render(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Render one view of the avatar to a PNG."""
    avatar = read_bundle(Path(request["avatar"]))
    scene = _empty_scene()
    objects = assemble_scene(avatar, scene)
    camera = view_camera(avatar, str(request["view"]), int(request["size"]))
    if request.get("hdri"):
        scene.world = _hdri_world(str(request["hdri"]))
    scene.camera = build_camera("View", camera)
    objects.collection.objects.link(scene.camera)
    set_output(scene, camera.width_px, camera.height_px)
    configure_cycles(
        scene,
        int(request["samples"]),
        denoise=bool(request.get("denoise", True)),
        seed=int(request.get("seed", 0)),
    )
    report(0.2)
    render_to_file(scene, Path(request["output"]), transparent=bool(request.get("transparent", False)))
    return {"output": request["output"]}


def render_shots(request: dict[str, Any], report: Report) -> dict[str, Any]:
    """Render one avatar from several cameras in several lights, each to a PNG.

    Cycles keeps the head between the shots: preparing it costs more than drawing a small picture.
    """
    avatar = read_bundle(Path(request["avatar"]))
    scene = _empty_scene()
    objects = assemble_scene(avatar, scene)
    for part in objects.parts.values():
        for modifier in part.modifiers:
            if modifier.type == "SUBSURF":
                modifier.render_levels = min(modifier.render_levels, int(request["subdivision"]))
    configure_cycles(scene, int(request["samples"]), seed=int(request.get("seed", 0)))
    scene.render.use_persistent_data = True
    shots = request["shots"]
    worlds = {shot["hdri"]: _hdri_world(str(shot["hdri"])) for shot in shots}
    for done, shot in enumerate(shots):
        camera = msgspec.convert(shot["camera"], CameraRecord)
        place_camera(scene.camera, camera)
        set_output(scene, camera.width_px, camera.height_px)
        _set_window(scene, camera, shot.get("window"))
        scene.world = worlds[shot["hdri"]]
        _set_light(scene.world.node_tree, shot)
        render_to_file(scene, Path(shot["output"]))
        report((done + 1) / len(shots))
    return {"outputs": [shot["output"] for shot in shots]}


def _hdri_world(path: str) -> Any:
    try:
        return world_from_hdri("HDRI", path, pack=False)
    except RuntimeError as error:
        raise BadInput(f"'{path}' is not a readable HDRI; give an .hdr or .exr") from error


def _set_window(scene: Any, camera: CameraRecord, window: list[int] | None) -> None:
    """Draw the pixels in ``window`` alone; the picture keeps its size."""
    settings = scene.render
    settings.use_border = window is not None
    settings.use_crop_to_border = False
    if window is not None:
        left, top, right, bottom = window
        settings.border_min_x, settings.border_max_x = left / camera.width_px, right / camera.width_px
        # Blender's border counts from the bottom.
        settings.border_min_y = 1 - bottom / camera.height_px
        settings.border_max_y = 1 - top / camera.height_px


def _set_light(tree: Any, shot: dict[str, Any]) -> None:
    """Turn and scale a world's HDRI as ``shot`` says."""
    nodes = {node.bl_idname: node for node in tree.nodes}
    rotation = Matrix.Rotation(np.radians(float(shot["rotation_degrees"])), 3, "Z")
    turn = HEAD_TO_SCENE @ np.array(shot["head_turn"]) @ HEAD_TO_SCENE.T
    lookup = rotation @ Matrix(turn.tolist())
    nodes["ShaderNodeMapping"].inputs["Rotation"].default_value = lookup.to_euler("XYZ")
    nodes["ShaderNodeBackground"].inputs["Strength"].default_value = float(shot["strength"])


def _gltf_images(avatar: Avatar) -> GltfImages:
    skin = encode_skin(avatar)
    eyes = {}
    for part, centre in zip(EYES, avatar.mesh.eye_centres_head, strict=True):
        if part in avatar.mesh.part_names:
            chart = eye_chart(avatar.mesh, part, centre)
            eyes[part] = encode_colour(eye_colours(chart, avatar.manifest.eyes.iris_srgb, EYE_SIZE))
    return GltfImages(
        albedo=skin.albedo,
        normal=skin.normal,
        metallic_roughness=skin.metallic_roughness,
        specular=skin.specular,
        eyes=eyes,
    )


def view_camera(avatar: Avatar, view: str, size: int) -> CameraRecord:
    """The camera of ``view`` (see ``backend.export.views``), longer side ``size`` pixels."""
    own = avatar.manifest.camera
    direction = parse_view(view)
    if direction is None:
        scale = size / max(own.width_px, own.height_px)
        return resized(own, max(1, round(own.width_px * scale)), max(1, round(own.height_px * scale)))
    centre, radius = head_sphere(avatar)
    return orbit(centre, radius, *direction, size)


def _empty_scene() -> Any:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def _shipped_hdri() -> Path | None:
    path = Path(bpy.utils.system_resource("DATAFILES")) / DEFAULT_HDRI
    return path if path.is_file() else None


COMMANDS: dict[str, Callable[[dict[str, Any], Report], dict[str, Any]]] = {
    "export": export,
    "render": render,
    "render_shots": render_shots,
}


def answer(request: dict[str, Any], channel: TextIO) -> bool:
    """Carry out one request and write its answers to ``channel``; whether it went well."""

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        say({"done": COMMANDS[request["command"]](request, lambda fraction: say({"progress": fraction}))})
        return True
    except (BundleError, BadInput) as error:
        say({"error": "bad input", "message": str(error)})
    except MemoryError:
        say({"error": "memory", "message": "out of memory in Blender; use a smaller --size or --maps"})
    except Exception as error:
        traceback.print_exc()
        if _is_disk_full(error):
            say({"error": "disk full", "message": "the disk is full; free some space and run again"})
        else:
            say({"error": "failed", "message": f"{type(error).__name__}: {error}"})
    return False


def _is_disk_full(error: Exception) -> bool:
    # Blender's operators raise a RuntimeError that only quotes the system's message.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or os.strerror(errno.ENOSPC) in str(error)


def _requests(source: str) -> Iterator[dict[str, Any]]:
    if source != "-":
        yield json.loads(Path(source).read_text(encoding="utf-8"))
        return
    for line in sys.stdin:
        yield json.loads(line)


def main(source: str) -> int:
    """Answer every request of ``source`` (a file, or ``-`` for standard input); 1 when one failed."""
    # Blender prints to standard output from C: keep that channel for answers, send the rest to stderr.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        good = [answer(request, channel) for request in _requests(source)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
