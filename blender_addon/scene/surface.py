"""The maps on the skin, one per step, as far as the avatar folder holds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..bundle import png_size
from .building import Gone, Head
from .maps import PREFETCH_LARGEST, Storage, load_map, map_file, prefetch, skin_material
from .material import SKIN_MAPS, VISIBILITY, set_relief, show_map


def surface_steps(
    directory: Path, head: Head, uuid: str, storage: Storage, *, proxies: bool
) -> Iterator[str]:
    """Bring the skin's maps up to date, the albedo first.

    Decoding is a step of its own: it is the dearest part, and cannot be split.
    Raises: BundleError, OSError; Gone when the skin was taken out of the file meanwhile.
    """
    for key in (*SKIN_MAPS, VISIBILITY):
        found = map_file(directory, key, proxies=proxies)
        if found is None:
            continue
        path, quality = found
        image, changed = load_map(uuid, head.name, path, key, quality, storage)
        if not changed:
            continue
        if key != VISIBILITY and max(png_size(path)) <= PREFETCH_LARGEST:
            prefetch(image)
        material = skin_material(uuid)
        if material is None:
            raise Gone(uuid)
        show_map(material, key, image)
        set_relief(material, head.manifest)
        yield f"{key} map"
