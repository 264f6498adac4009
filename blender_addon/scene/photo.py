"""The scene as the photograph saw it, and what is left between both."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..bundle import PHOTO_NAME as PHOTO_NAME
from ..bundle import CameraRecord, Manifest, Mesh, map_path, read_manifest, read_mesh
from .camera import build_camera, place_camera, resized
from .head_mesh import HEAD_PART
from .identity import AvatarObjects, find, first, tag
from .light import estimated_world
from .relight import photo_light
from .render import configure_cycles, render_to_file
from .scene import set_output

LONGEST = 768  # pixels of the difference picture
WORST = 0.3  # mean difference of display values at which the colours end
_HEAT = np.array([[0.05, 0.06, 0.12], [0.16, 0.30, 0.55], [0.95, 0.65, 0.20], [1.0, 0.97, 0.85]], np.float32)


class NoPhoto(LookupError):
    """Head or photograph cannot be found; the text is one line for the user."""


@dataclass(frozen=True)
class Difference:
    """How far the rendered head is from the photograph."""

    image: Any  # the picture, a data-block
    mean_srgb: float  # mean absolute difference of display values in [0, 1] where the photo saw skin


def match_photo(scene: Any, uuid: str, directory: Path) -> bool:
    """Camera, background, light, view transform and size of the photograph; whether its picture was there.

    Older avatar folders hold no ``photo.jpg``: all but the background is set then.
    Raises: BundleError; NoPhoto when the head is not in the file.
    """
    head, manifest = _head(uuid), read_manifest(directory)
    camera = first("objects", uuid, "camera")
    if camera is None:
        camera = build_camera(f"{head.collection.name} camera", manifest.camera)
        for block in (camera, camera.data):
            tag(block, uuid, "camera")
        head.collection.objects.link(camera)
    place_camera(camera, manifest.camera)
    camera.matrix_world = head.root.matrix_world @ camera.matrix_world
    scene.camera = camera
    estimated_world(uuid, head.collection.name, np.array(manifest.light.radiance_sh))
    photo_light(scene, uuid)
    set_output(scene, manifest.camera.width_px, manifest.camera.height_px)
    photo = _photo(uuid, head.collection.name, directory)
    if photo is not None:
        _set_background(camera.data, photo)
    return photo is not None


def difference_view(uuid: str, directory: Path, *, samples: int = 16) -> Difference:
    """Render the head as the photograph saw it and show what differs. Blocks for seconds.

    The artist's scene stays as it is: the render has a scene of its own.
    Raises: BundleError; NoPhoto when head or photo are missing; RuntimeError when the render fails.
    """
    with tempfile.TemporaryDirectory(prefix="likeness-") as folder:
        target = Path(folder) / "render.png"
        scene = difference_scene(uuid, directory, samples=samples)
        try:
            render_to_file(scene, target, transparent=True)
        finally:
            drop_difference_scene(scene)
        return difference_of(uuid, directory, target)


def difference_scene(uuid: str, directory: Path, *, samples: int = 16) -> Any:
    """A scene that holds the head alone, in the photograph's camera and light. Raises as above."""
    head, manifest = _head(uuid), read_manifest(directory)
    _require_photo(directory)
    record = _small(manifest)
    scene = bpy.data.scenes.new("Likeness difference")
    try:
        scene.collection.children.link(head.collection)
        scene.camera = camera = build_camera("Likeness difference", record)
        camera.matrix_world = head.root.matrix_world @ camera.matrix_world
        scene.collection.objects.link(camera)
        scene.world = estimated_world(uuid, head.collection.name, np.array(manifest.light.radiance_sh))
        set_output(scene, record.width_px, record.height_px)
        configure_cycles(scene, samples)
    except BaseException:
        drop_difference_scene(scene)
        raise
    return scene


def drop_difference_scene(scene: Any) -> None:
    """Remove what ``difference_scene`` made; the head stays."""
    camera = scene.camera
    bpy.data.scenes.remove(scene)
    if camera is not None:
        data = camera.data
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)


def difference_of(uuid: str, directory: Path, rendered: Path) -> Difference:
    """The difference of the picture ``rendered`` of ``difference_scene`` (with alpha) from the photograph.

    Dark blue is like the photo, white is off by 0.3 or more in display values. What the photo did not show
    as skin (hair, clothes, the far side) is dimmed and does not count; beside the head lies the photograph.
    """
    head, manifest = _head(uuid), read_manifest(directory)
    picture = _pixels(rendered)
    height, width = picture.shape[:2]
    photo = _pixels(_require_photo(directory), (width, height))[..., :3]
    inside = picture[..., 3:]
    off = np.abs(picture[..., :3] - photo).mean(axis=-1)
    visibility = _pixels(map_path(directory, "visibility"))[..., 0]
    seen = seen_pixels(read_mesh(directory), visibility, resized(manifest.camera, width, height))
    counted = seen & (inside[..., 0] > 0.5)
    mean = float(off[counted].mean()) if counted.any() else 0.0
    level = np.clip(off / WORST, 0.0, 1.0)
    heat = np.stack([np.interp(level, np.linspace(0, 1, len(_HEAT)), _HEAT[:, c]) for c in range(3)], -1)
    dimmed = 0.25 * photo.mean(axis=-1, keepdims=True) + 0.03
    shown = np.ones((height, width, 4), np.float32)
    share = inside * np.where(seen, 1.0, 0.15)[..., None]
    shown[..., :3] = share * heat + (1.0 - share) * dimmed
    return Difference(_show(uuid, f"{head.collection.name} difference", shown), mean)


def seen_pixels(mesh: Mesh, visibility: NDArray[np.float32], camera: CameraRecord) -> NDArray[np.bool_]:
    """Where ``camera`` sees skin that the photograph showed, to within a hundredth of the picture's side.

    ``visibility`` is the map, ``(H, W)`` in [0, 1], top row first.
    """
    own = mesh.quad_part == mesh.part_names.index(HEAD_PART)
    quads, charts = mesh.quads[own], mesh.quad_uvs[own]
    vertex, uv = quads[quads >= 0], mesh.uvs[charts[quads >= 0]]
    rows = np.clip(((1.0 - uv[:, 1]) * visibility.shape[0]).astype(int), 0, visibility.shape[0] - 1)
    columns = np.clip((uv[:, 0] * visibility.shape[1]).astype(int), 0, visibility.shape[1] - 1)
    vertex = np.unique(vertex[visibility[rows, columns] > 0.5])
    pose = np.array(camera.world_to_camera)
    points = mesh.expressed()[vertex].astype(np.float64) @ pose[:, :3].T + pose[:, 3]
    pixels = points[:, :2] / points[:, 2:] * camera.focal_px + camera.principal_px
    cell = max(2, max(camera.width_px, camera.height_px) // 96)
    grid = np.zeros((-(-camera.height_px // cell), -(-camera.width_px // cell)), bool)
    at = (pixels // cell).astype(int)
    inside = ((at >= 0) & (at < [grid.shape[1], grid.shape[0]])).all(axis=1)
    grid[at[inside, 1], at[inside, 0]] = True
    fine: NDArray[np.bool_] = np.repeat(np.repeat(grid, cell, axis=0), cell, axis=1)
    return fine[: camera.height_px, : camera.width_px]


def _head(uuid: str) -> AvatarObjects:
    head = find(uuid)
    if head is None:
        raise NoPhoto("the head is no longer in this file; import it again")
    return head


def _require_photo(directory: Path) -> Path:
    path = directory / PHOTO_NAME
    if not path.is_file():
        raise NoPhoto(f"'{directory}' holds no {PHOTO_NAME}; reconstruct the photo again")
    return path


def _photo(uuid: str, name: str, directory: Path) -> Any | None:
    """The photograph as a packed picture; None when the folder has none."""
    path = directory / PHOTO_NAME
    image = first("images", uuid, "photo")
    if image is not None or not path.is_file():
        return image
    data = path.read_bytes()
    image = bpy.data.images.new(f"{name} photo", 1, 1)
    image.source = "FILE"
    image.colorspace_settings.name = "sRGB"
    image.filepath_raw = f"//{PHOTO_NAME}"
    image.pack(data=data, data_len=len(data))
    image.buffers_free()
    tag(image, uuid, "photo")
    return image


def _set_background(camera: Any, photo: Any) -> None:
    """The photograph behind the head in the camera's view, filling the frame."""
    own = next((b for b in camera.background_images if b.image == photo), None)
    background = own or camera.background_images.new()
    background.image = photo
    background.frame_method = "STRETCH"  # both have the same aspect ratio; no border from rounding
    background.display_depth = "BACK"
    background.alpha = 1.0
    background.show_background_image = True
    camera.show_background_images = True


def _small(manifest: Manifest) -> CameraRecord:
    own = manifest.camera
    scale = min(1.0, LONGEST / max(own.width_px, own.height_px))
    return resized(own, max(1, round(own.width_px * scale)), max(1, round(own.height_px * scale)))


def _pixels(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.float32]:
    """Display values ``(h, w, 4)`` of a picture file, top row first."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        image.colorspace_settings.name = "Non-Color"
        if size is not None and tuple(image.size) != size:
            image.scale(*size)
        width, height = image.size
        if width == 0:
            raise RuntimeError(f"'{path}' is not a picture that Blender can read")
        values = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(values)
    finally:
        bpy.data.images.remove(image)
    return values.reshape(height, width, 4)[::-1]


def _show(uuid: str, name: str, picture: NDArray[np.float32]) -> Any:
    """``picture`` of display values as the avatar's difference picture."""
    height, width = picture.shape[:2]
    image = first("images", uuid, "difference")
    if image is not None and tuple(image.size) != (width, height):
        bpy.data.images.remove(image)
        image = None
    if image is None:
        image = bpy.data.images.new(name, width, height, alpha=False)
        tag(image, uuid, "difference")
    image.pixels.foreach_set(np.ascontiguousarray(picture[::-1]).ravel())
    image.update()
    image.pack()
    return image
