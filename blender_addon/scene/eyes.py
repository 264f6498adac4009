"""The eyes: where pupil and iris lie in an eyeball's chart, and their procedural material."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Mesh
from .head_mesh import UV_LAYER, part_faces
from .nodes import COLUMN, add, math, new_material, set_inputs

IRIS_RADIUS_M = 0.00585  # half the mean visible diameter, which hardly differs between adults
PUPIL_OVER_IRIS = 0.36
LIMBUS_WIDTH = 0.11  # of the iris radius: how softly the iris ends
SCLERA_LINEAR = (0.56, 0.50, 0.465)
VEIN_LINEAR = (0.42, 0.20, 0.165)
REDDENS = (1.25, 3.0)  # iris radii between which the white turns to the vessels' colour
WET = {"Roughness": 0.16, "IOR": 1.376, "Coat Weight": 1.0, "Coat Roughness": 0.015, "Coat IOR": 1.376}
ON_SPHERE = 0.985  # of the eyeball's radius: what lies deeper is iris
BARE_IRIS = {"Roughness": 0.6, "Specular IOR Level": 0.05}  # below a cornea, which is what shines


@dataclass(frozen=True)
class EyeChart:
    """The pupil's place in an eyeball's UV chart and the iris' radius there."""

    pupil_uv: tuple[float, float]
    iris_radius_uv: float
    has_cornea: bool = False  # as a part of its own; else the eyeball's coat stands for it


def eye_chart(mesh: Mesh, part: str, centre_head: NDArray[np.floating[Any]]) -> EyeChart:
    """Read the chart of the eyeball ``part``, whose centre is at ``centre_head`` ``(3,)`` metres.

    Charts differ from head to head, so pupil and iris are found on the neutral geometry: the pupil looks
    along +Z. Below a cornea the iris ends where the eyeball's sphere begins, else where anatomy says.
    """
    faces = part_faces(mesh, part)
    points = mesh.vertices_neutral_head[faces.vertex][faces.corners] - np.asarray(centre_head, np.float64)
    distance = np.linalg.norm(points, axis=1)
    from_axis = np.hypot(points[:, 0], points[:, 1])
    has_cornea = part.replace("eye", "cornea") in mesh.part_names
    # Outer surface only: some heads have a second shell within. Below a cornea the iris lies back.
    front = (points[:, 2] > 0.4 * distance) & (distance > (0.7 if has_cornea else 0.9) * np.median(distance))
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
    radius_uv = np.linalg.norm(uv - pupil, axis=1)
    if has_cornea:
        on_sphere = front & (distance > ON_SPHERE * np.quantile(distance[front], 0.9))
        radius = radius_uv[on_sphere].min()
    else:
        order = np.argsort(from_axis[front])
        radius = np.interp(IRIS_RADIUS_M, from_axis[front][order], radius_uv[front][order])
    return EyeChart((float(pupil[0]), float(pupil[1])), float(radius), has_cornea)


def srgb_to_linear(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """Decode one sRGB colour in [0, 1]."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return r, g, b


def build_eye(name: str, chart: EyeChart, iris_srgb: tuple[float, float, float]) -> Any:
    """Sclera with vessels, iris with fibres, collarette and limbal ring, pupil; wet where no cornea lies."""
    material, tree, principled = new_material(name)
    set_inputs(principled, {**WET, "Subsurface Weight": 0.15, "Subsurface Scale": 0.002})
    radius, turned = _polar(tree, chart)

    iris = add(tree, "ShaderNodeRGB", (-4 * COLUMN, 300.0), "Iris colour")
    iris.outputs[0].default_value = (*srgb_to_linear(iris_srgb), 1.0)
    fibres = _noise(tree, (-4 * COLUMN, 0.0), "Iris fibres", turned, 11.0, 4.0)
    folds = _noise(tree, (-4 * COLUMN, -200.0), "Iris folds", turned, 3.2, 1.0)
    # Brightness over the radius: dark rim of the pupil, bright collarette, dark limbal ring.
    profile = add(tree, "ShaderNodeValToRGB", (-3 * COLUMN, 0.0), "Iris profile")
    _ramp(profile, [(r, (v, v, v)) for r, v in IRIS_PROFILE])
    tree.links.new(radius, profile.inputs["Fac"])
    grain = math(tree, "MULTIPLY_ADD", (-3 * COLUMN, 260.0), fibres, 2.6, -0.3)
    coarse = math(tree, "MULTIPLY_ADD", (-3 * COLUMN, 440.0), folds, 1.2, 0.4)
    both = math(tree, "MULTIPLY", (-2.5 * COLUMN, 350.0), grain, coarse)
    value = math(tree, "MULTIPLY", (-2 * COLUMN, 200.0), profile.outputs["Color"], both)
    coloured = add(tree, "ShaderNodeVectorMath", (-1.5 * COLUMN, 300.0))
    coloured.operation = "SCALE"
    tree.links.new(iris.outputs[0], coloured.inputs[0])
    tree.links.new(value, coloured.inputs["Scale"])

    limbus = add(tree, "ShaderNodeMapRange", (-2 * COLUMN, -150.0), "Limbus")
    limbus.interpolation_type = "SMOOTHSTEP"
    set_inputs(limbus, {"From Min": 1.0 - LIMBUS_WIDTH, "From Max": 1.0 + LIMBUS_WIDTH})
    tree.links.new(radius, limbus.inputs["Value"])
    white = limbus.outputs["Result"]
    colour = _mixed(tree, (-COLUMN, 100.0), white, coloured.outputs["Vector"], _sclera(tree, radius))
    tree.links.new(colour, principled.inputs["Base Color"])
    if chart.has_cornea:
        for row, (socket, bare) in enumerate((*BARE_IRIS.items(), ("Coat Weight", 0.0))):
            wet = {"Specular IOR Level": 0.5, **WET}[socket]
            blend = math(tree, "MULTIPLY_ADD", (-COLUMN, -200.0 - 160.0 * row), white, wet - bare, bare)
            tree.links.new(blend, principled.inputs[socket])
    return material


def _sclera(tree: Any, radius: Any) -> Any:
    """The white: redder towards the lids, where vessels show."""
    away = add(tree, "ShaderNodeMapRange", (-5 * COLUMN, -450.0), "Towards the lids")
    away.interpolation_type = "SMOOTHSTEP"
    set_inputs(away, {"From Min": REDDENS[0], "From Max": REDDENS[1]})
    tree.links.new(radius, away.inputs["Value"])
    uv = add(tree, "ShaderNodeUVMap", (-7 * COLUMN, -650.0))
    uv.uv_map = UV_LAYER
    winding = _noise(tree, (-6 * COLUMN, -650.0), "Vessels", uv.outputs["UV"], 13.0, 4.0)
    # A vessel runs where the noise crosses its mean.
    off = math(tree, "SUBTRACT", (-5 * COLUMN, -650.0), winding, 0.5)
    apart = math(tree, "ABSOLUTE", (-4.5 * COLUMN, -650.0), off)
    near = add(tree, "ShaderNodeMapRange", (-4 * COLUMN, -650.0), "Vessel")
    near.interpolation_type = "SMOOTHSTEP"
    set_inputs(near, {"From Min": 0.0, "From Max": 0.022, "To Min": 0.55, "To Max": 0.0})
    tree.links.new(apart, near.inputs["Value"])
    seen = math(tree, "ADD", (-3.5 * COLUMN, -650.0), near.outputs["Result"], 0.45)
    share = math(tree, "MULTIPLY", (-3 * COLUMN, -450.0), away.outputs["Result"], seen)
    return _mixed(tree, (-2 * COLUMN, -450.0), share, SCLERA_LINEAR, VEIN_LINEAR)


def _noise(
    tree: Any, location: tuple[float, float], label: str, vector: Any, scale: float, detail: float
) -> Any:
    node = add(tree, "ShaderNodeTexNoise", location, label)
    set_inputs(node, {"Scale": scale, "Detail": detail, "Roughness": 0.6})
    tree.links.new(vector, node.inputs["Vector"])
    return node.outputs["Fac"]


def _mixed(tree: Any, location: tuple[float, float], factor: Any, first: Any, second: Any) -> Any:
    """``first`` to ``second`` by ``factor``: sockets, or colours where they are tuples. Returns a socket."""
    mix = add(tree, "ShaderNodeMix", location)
    mix.data_type = "RGBA"
    tree.links.new(factor, mix.inputs["Factor"])
    for socket, source in zip((s for s in mix.inputs if s.type == "RGBA"), (first, second), strict=True):
        if isinstance(source, tuple):
            socket.default_value = (*source, 1.0)
        else:
            tree.links.new(source, socket)
    return next(s for s in mix.outputs if s.type == "RGBA")


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
    away = np.clip((radius - REDDENS[0]) / (REDDENS[1] - REDDENS[0]), 0.0, 1.0)
    far = (0.6 * away * away * (3.0 - 2.0 * away))[..., None]
    sclera = (1.0 - far) * np.array(SCLERA_LINEAR) + far * np.array(VEIN_LINEAR)
    t = np.clip((radius - 1.0 + LIMBUS_WIDTH) / (2 * LIMBUS_WIDTH), 0.0, 1.0)
    blend = (t * t * (3.0 - 2.0 * t))[..., None]
    mixed: NDArray[np.float64] = np.clip((1.0 - blend) * iris + blend * sclera, 0.0, 1.0)
    return mixed


def eye_gloss(chart: EyeChart, size: int) -> NDArray[np.float64]:
    """How wet the eye's own surface is ``(size, size)``: 0 on an iris below a cornea, 1 elsewhere."""
    if not chart.has_cornea:
        return np.ones((size, size))
    centre = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(centre, 1.0 - centre)
    radius = np.hypot(u - chart.pupil_uv[0], v - chart.pupil_uv[1]) / chart.iris_radius_uv
    t = np.clip((radius - 1.0 + LIMBUS_WIDTH) / (2 * LIMBUS_WIDTH), 0.0, 1.0)
    gloss: NDArray[np.float64] = t * t * (3.0 - 2.0 * t)
    return gloss


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
