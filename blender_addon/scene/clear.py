"""Clear materials: the cornea and the tear line, each right in Cycles, in EEVEE and in glTF."""

from __future__ import annotations

from typing import Any

import bpy

from .nodes import COLUMN, add, empty_tree, math, new_material, set_inputs

CORNEA_IOR = 1.376
TEAR_IOR = 1.336
FILM_ROUGHNESS = 0.02
PREVIEW_ALPHA = 0.06  # in the solid viewport, which knows no refraction
IS_CLEAR = ("cornea", "tear", "fluid")  # words in the names of clear parts


def is_clear(part: str) -> bool:
    """Whether ``part`` is a clear shell or film."""
    return any(word in part for word in IS_CLEAR)


def build_cornea(name: str) -> Any:
    """A shell that bends what is seen through it and lets light pass.

    Cycles refracts the camera's rays, but light reaches the iris straight: refracted light would have to be
    found by chance (caustics). EEVEE, where refraction is a screen-space guess, only reflects.
    """
    material, tree, fresnel, gloss = _film(name, CORNEA_IOR)
    bend = add(tree, "ShaderNodeBsdfRefraction", (-COLUMN, -300.0))
    set_inputs(bend, {"IOR": CORNEA_IOR, "Roughness": 0.0})
    glass = _mix(tree, (0.0, -200.0), fresnel, bend.outputs[0], gloss)
    rays = add(tree, "ShaderNodeLightPath", (-COLUMN, 500.0))
    straight = math(
        tree, "MAXIMUM", (0.0, 300.0), rays.outputs["Is Shadow Ray"], rays.outputs["Is Diffuse Ray"]
    )
    clear = add(tree, "ShaderNodeBsdfTransparent", (0.0, 100.0))
    traced = _mix(tree, (COLUMN, 100.0), straight, glass, clear.outputs[0])
    _output(tree, "CYCLES", (2 * COLUMN, 100.0), traced)
    _output(tree, "EEVEE", (2 * COLUMN, -200.0), _mirror(tree, fresnel, gloss))
    return material


def build_tear_line(name: str) -> Any:
    """A wet film: it reflects, and what lies below shows unbent."""
    material, tree, fresnel, gloss = _film(name, TEAR_IOR)
    _output(tree, "ALL", (2 * COLUMN, -200.0), _mirror(tree, fresnel, gloss))
    return material


def build_clear_for_gltf(part: str) -> Any:
    """The same for glTF: KHR_materials_transmission, as mere transparency would fade the reflections too."""
    material, _, principled = new_material(part)
    ior = CORNEA_IOR if "cornea" in part else TEAR_IOR
    set_inputs(
        principled,
        {"Base Color": (1.0, 1.0, 1.0), "Roughness": FILM_ROUGHNESS, "IOR": ior, "Transmission Weight": 1.0},
    )
    return material


def _film(name: str, ior: float) -> tuple[Any, Any, Any, Any]:
    """A material for a clear surface, its tree, and the sockets of Fresnel's share and of the reflection."""
    material = bpy.data.materials.new(name)
    tree = empty_tree(material)
    # Forward shading: dithered transparency would turn so faint a reflection into grain.
    material.surface_render_method = "BLENDED"
    material.use_transparent_shadow = True
    material.diffuse_color = (1.0, 1.0, 1.0, PREVIEW_ALPHA)
    material.roughness = FILM_ROUGHNESS
    fresnel = add(tree, "ShaderNodeFresnel", (-COLUMN, 100.0))
    set_inputs(fresnel, {"IOR": ior})
    gloss = add(tree, "ShaderNodeBsdfGlossy", (-COLUMN, -100.0))
    set_inputs(gloss, {"Color": (1.0, 1.0, 1.0), "Roughness": FILM_ROUGHNESS})
    return material, tree, fresnel.outputs[0], gloss.outputs[0]


def _mirror(tree: Any, fresnel: Any, gloss: Any) -> Any:
    clear = add(tree, "ShaderNodeBsdfTransparent", (0.0, -500.0))
    return _mix(tree, (COLUMN, -400.0), fresnel, clear.outputs[0], gloss)


def _mix(tree: Any, location: tuple[float, float], share: Any, first: Any, second: Any) -> Any:
    node = add(tree, "ShaderNodeMixShader", location)
    for socket, source in zip(node.inputs, (share, first, second), strict=True):
        tree.links.new(source, socket)
    return node.outputs[0]


def _output(tree: Any, engine: str, location: tuple[float, float], shader: Any) -> None:
    node = add(tree, "ShaderNodeOutputMaterial", location, f"Output {engine}" if engine != "ALL" else "")
    node.target = engine
    tree.links.new(shader, node.inputs["Surface"])
