"""The eyes: where pupil and iris lie in an eyeball's chart, and their procedural material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh
from .head_mesh import UV_LAYER, part_faces
from .nodes import COLUMN, add, math, new_material, set_inputs

IRIS_OVER_EYEBALL = 5.9 / 12.0  # radii; anatomical means, millimetres
PUPIL_OVER_IRIS = 0.36
LIMBUS_WIDTH = 0.09  # of the iris radius: how softly the iris ends
SCLERA_LINEAR = (0.53, 0.47, 0.435)
VEIN_LINEAR = (0.46, 0.26, 0.22)
CORNEA = {"Roughness": 0.16, "IOR": 1.376, "Coat Weight": 1.0, "Coat Roughness": 0.015, "Coat IOR": 1.376}


@dataclass(frozen=True)
class EyeChart:
    """The pupil's place in an eyeball's UV chart and the iris' radius there."""

    pupil_uv: tuple[float, float]
    iris_radius_uv: float


def eye_chart(mesh: Mesh, part: str, centre_head: NDArray[np.floating[Any]]) -> EyeChart:
    """Read the chart of the eyeball ``part``, whose centre is at ``centre_head`` ``(3,)`` metres.

    Charts differ from head to head, so pupil and iris are found on the neutral geometry: the pupil
    looks along +Z, the iris ends where anatomy says on a sphere of this radius.
    """
    faces = part_faces(mesh, part)
    points = mesh.vertices_neutral_head[faces.vertex][faces.corners] - np.asarray(centre_head, np.float64)
    distance = np.linalg.norm(points, axis=1)
    from_axis = np.hypot(points[:, 0], points[:, 1])
    # Outer surface only: some heads have a second shell within.
    front = (points[:, 2] > 0.4 * distance) & (distance > 0.9 * np.median(distance))
    if front.sum() < 3:
        raise ValueError(f"part '{part}' has no front around its eye centre")
    uv = faces.corner_uvs.astype(np.float64)
    # The chart is nearly linear around the pupil: u and v as affine functions of x and y.
    near = front & (from_axis <= np.quantile(from_axis[front], 0.35))
    if near.sum() < 3:
        near = front
    affine = np.linalg.lstsq(
        np.c_[points[near, 0], points[near, 1], np.ones(int(near.sum()))], uv[near], rcond=None
    )[0]
    pupil = affine[2]
    iris_m = IRIS_OVER_EYEBALL * float(np.median(distance[front]))
    radius_uv = np.linalg.norm(uv - pupil, axis=1)
    order = np.argsort(from_axis[front])
    radius = np.interp(iris_m, from_axis[front][order], radius_uv[front][order])
    return EyeChart((float(pupil[0]), float(pupil[1])), float(radius))


def srgb_to_linear(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """Decode one sRGB colour in [0, 1]."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return r, g, b


def build_eye(name: str, chart: EyeChart, iris_srgb: tuple[float, float, float]) -> Any:
    """Sclera, iris with fibres and limbal ring, pupil, under a clear wet coat."""
    material, tree, principled = new_material(name)
    set_inputs(principled, {**CORNEA, "Subsurface Weight": 0.15, "Subsurface Scale": 0.002})
    radius, turned = _polar(tree, chart)

    iris = add(tree, "ShaderNodeRGB", (-4 * COLUMN, 300.0), "Iris colour")
    iris.outputs[0].default_value = (*srgb_to_linear(iris_srgb), 1.0)
    fibres = add(tree, "ShaderNodeTexNoise", (-4 * COLUMN, 0.0), "Iris fibres")
    set_inputs(fibres, {"Scale": 9.0, "Detail": 3.0, "Roughness": 0.6})
    tree.links.new(turned, fibres.inputs["Vector"])
    # Brightness over the radius: dark rim of the pupil, bright collarette, dark limbal ring.
    profile = add(tree, "ShaderNodeValToRGB", (-3 * COLUMN, 0.0), "Iris profile")
    _ramp(profile, [(r, (v, v, v)) for r, v in IRIS_PROFILE])
    tree.links.new(radius, profile.inputs["Fac"])
    grain = math(tree, "MULTIPLY_ADD", (-3 * COLUMN, 260.0), fibres.outputs["Fac"], 1.1, 0.45)
    value = math(tree, "MULTIPLY", (-2 * COLUMN, 200.0), profile.outputs["Color"], grain)
    coloured = add(tree, "ShaderNodeVectorMath", (-1.5 * COLUMN, 300.0))
    coloured.operation = "SCALE"
    tree.links.new(iris.outputs[0], coloured.inputs[0])
    tree.links.new(value, coloured.inputs["Scale"])

    sclera = add(tree, "ShaderNodeValToRGB", (-3 * COLUMN, -300.0), "Sclera")
    _ramp(sclera, [(0.35, SCLERA_LINEAR), (1.0, VEIN_LINEAR)])
    away = math(tree, "DIVIDE", (-4 * COLUMN, -300.0), radius, 3.5)
    tree.links.new(away, sclera.inputs["Fac"])

    limbus = add(tree, "ShaderNodeMapRange", (-2 * COLUMN, -150.0), "Limbus")
    limbus.interpolation_type = "SMOOTHSTEP"
    set_inputs(limbus, {"From Min": 1.0 - LIMBUS_WIDTH, "From Max": 1.0 + LIMBUS_WIDTH})
    tree.links.new(radius, limbus.inputs["Value"])
    mix = add(tree, "ShaderNodeMix", (-1 * COLUMN, 100.0))
    mix.data_type = "RGBA"
    tree.links.new(limbus.outputs["Result"], mix.inputs["Factor"])
    factor_a, factor_b = (s for s in mix.inputs if s.type == "RGBA")
    tree.links.new(coloured.outputs["Vector"], factor_a)
    tree.links.new(sclera.outputs["Color"], factor_b)
    mixed = next(s for s in mix.outputs if s.type == "RGBA")
    tree.links.new(mixed, principled.inputs["Base Color"])
    return material


# Iris brightness by radius (1 is the limbus); the pupil is black within PUPIL_OVER_IRIS.
IRIS_PROFILE = (
    (0.0, 0.0),
    (PUPIL_OVER_IRIS - 0.02, 0.0),
    (PUPIL_OVER_IRIS + 0.03, 0.75),
    (0.52, 1.15),
    (0.80, 0.95),
    (0.97, 0.40),
)


def eye_colours(chart: EyeChart, iris_srgb: tuple[float, float, float], size: int) -> NDArray[np.float64]:
    """The same eye as linear colours ``(size, size, 3)``, top row first, for formats without nodes."""
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre, 1.0 - centre)
    du, dv = u - chart.pupil_uv[0], v - chart.pupil_uv[1]
    radius = np.hypot(du, dv) / chart.iris_radius_uv
    angle = np.arctan2(dv, du)
    # Fibres as a fixed sum of waves: exporters need no randomness, and it must repeat at the seam.
    waves = sum(np.sin(k * angle + 1.7 * k + 2.0 * radius) for k in (7, 13, 23, 31, 47)) / 5.0
    at, bright = (np.array(column) for column in zip(*IRIS_PROFILE, strict=True))
    value = np.interp(radius, at, bright) * (1.0 + 0.25 * waves)
    iris = value[..., None] * np.array(srgb_to_linear(iris_srgb))
    far = np.clip((radius / 3.5 - 0.35) / 0.65, 0.0, 1.0)[..., None]
    sclera = (1.0 - far) * np.array(SCLERA_LINEAR) + far * np.array(VEIN_LINEAR)
    t = np.clip((radius - 1.0 + LIMBUS_WIDTH) / (2 * LIMBUS_WIDTH), 0.0, 1.0)
    blend = (t * t * (3.0 - 2.0 * t))[..., None]
    mixed: NDArray[np.float64] = np.clip((1.0 - blend) * iris + blend * sclera, 0.0, 1.0)
    return mixed


def _polar(tree: Any, chart: EyeChart) -> tuple[Any, Any]:
    """Sockets: radius in iris radii, and a vector that changes with the angle but hardly outwards."""
    uv = add(tree, "ShaderNodeUVMap", (-8 * COLUMN, 0.0))
    uv.uv_map = UV_LAYER
    centred = add(tree, "ShaderNodeVectorMath", (-7 * COLUMN, 0.0), "From the pupil")
    centred.operation = "SUBTRACT"
    centred.inputs[1].default_value = (*chart.pupil_uv, 0.0)
    tree.links.new(uv.outputs["UV"], centred.inputs[0])
    length = add(tree, "ShaderNodeVectorMath", (-6 * COLUMN, -150.0))
    length.operation = "LENGTH"
    tree.links.new(centred.outputs["Vector"], length.inputs[0])
    radius = math(tree, "DIVIDE", (-5 * COLUMN, -150.0), length.outputs["Value"], chart.iris_radius_uv)
    direction = add(tree, "ShaderNodeVectorMath", (-6 * COLUMN, 150.0))
    direction.operation = "NORMALIZE"
    tree.links.new(centred.outputs["Vector"], direction.inputs[0])
    lift = add(tree, "ShaderNodeCombineXYZ", (-5 * COLUMN, 0.0))
    tree.links.new(math(tree, "MULTIPLY", (-5.5 * COLUMN, -300.0), radius, 0.25), lift.inputs["Z"])
    turned = add(tree, "ShaderNodeVectorMath", (-4.5 * COLUMN, 150.0))
    turned.operation = "ADD"
    tree.links.new(direction.outputs["Vector"], turned.inputs[0])
    tree.links.new(lift.outputs["Vector"], turned.inputs[1])
    return radius, turned.outputs["Vector"]


def _ramp(node: Any, stops: list[tuple[float, tuple[float, float, float]]]) -> None:
    elements = node.color_ramp.elements
    while len(elements) > 1:
        elements.remove(elements[-1])
    elements[0].position, elements[0].color = stops[0][0], (*stops[0][1], 1.0)
    for position, colour in stops[1:]:
        elements.new(position).color = (*colour, 1.0)
