"""How the engines are set up, and pictures by Cycles on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy


def configure_cycles(scene: Any, samples: int, *, denoise: bool = True, seed: int = 0) -> None:
    """Cycles on the CPU with ``samples`` per pixel."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = True
    cycles.adaptive_threshold = 0.01
    cycles.use_denoising = denoise
    try:
        cycles.denoiser = "OPENIMAGEDENOISE"
    except TypeError:  # a distribution's Blender may be built without any denoiser
        cycles.use_denoising = False
    cycles.seed = seed
    cycles.max_bounces = 8
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.transparent_max_bounces = 16
    scene.render.use_persistent_data = False


def configure_eevee(scene: Any) -> None:
    """Traced occlusion and bounce light in EEVEE: without it mouth and eye corners glow."""
    eevee = scene.eevee
    wanted = {
        "use_raytracing": True,
        "use_fast_gi": True,  # from Blender 4.3 on
        "fast_gi_method": "GLOBAL_ILLUMINATION",
        "fast_gi_distance": 0.0,  # no limit
        "use_shadows": True,
    }
    for name, value in wanted.items():
        if hasattr(eevee, name):
            setattr(eevee, name, value)


def render_to_file(scene: Any, path: Path, *, transparent: bool = False) -> None:
    """Render ``scene`` with its active camera to the PNG ``path``. Raises: RuntimeError."""
    scene.render.film_transparent = transparent
    settings = scene.render.image_settings
    settings.file_format = "PNG"
    settings.color_mode = "RGBA" if transparent else "RGB"
    settings.color_depth = "8"
    scene.render.use_file_extension = False
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
