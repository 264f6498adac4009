"""A reconstruction as it looks in its photo's own light: its splats, or the mesh with the photo's texture.

Splats are the decoder's for the pose (``backend.gaussians.frames``), as *Bake splats* shows them in Blender.

Drawn over grey in display sRGB from any camera, with any expression of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backend.artifacts import F32, Camera
from backend.colour import linear_to_srgb
from backend.evaluation.own_view import read_map
from backend.evaluation.prediction import Prediction
from backend.shading import sh
from backend.shading.parts import looks
from backend.uvspace.render import TexturedHead
from blender_addon.bundle import Mesh
from blender_addon.splats import Splats

GREY_SRGB = 0.5  # behind the head
LIT_BY_PHOTO = "no-delight"  # the method whose albedo is the photo's texture

Draw = Callable[[Camera, F32], F32]  # (camera, vertices (V, 3)) -> (H, W, 3)


def captured_look(prediction: Prediction) -> Draw | None:
    """How ``prediction`` looks in the photo's light; None when it has nothing that shows it.

    Raises: BadInput (damaged splats or maps).
    """
    if prediction.avatar.manifest.splats is not None:
        return _splats(prediction)
    return _textured_mesh(prediction) if prediction.method == LIT_BY_PHOTO else None


def _splats(prediction: Prediction) -> Draw:
    import torch

    from backend.gaussians.frames import decoder_of
    from backend.gaussians.numba_renderer import NumbaRenderer
    from backend.gaussians.renderer import as_seen, over

    decoder = decoder_of(prediction.directory)
    decoded: list[tuple[F32, Splats]] = []  # the pose drawn last: several views of one are asked for in turn

    def draw(camera: Camera, vertices: F32) -> F32:
        if not decoded or not np.array_equal(decoded[0][0], vertices):
            decoded[:] = [(vertices, decoder.decode(vertices))]
        with torch.inference_mode():
            picture: F32 = over(
                NumbaRenderer().render(as_seen(decoded[0][1], camera), camera), GREY_SRGB
            ).numpy()
        return picture

    return draw


def _textured_mesh(prediction: Prediction) -> Draw:
    """Skin shows its texture as it is; eyes and teeth, which have none, are lit by the fitted light."""
    head, manifest = prediction.head, prediction.avatar.manifest
    texture = {"albedo_linear": read_map(prediction.avatar, "albedo")}
    light = np.asarray(manifest.light.radiance_sh, np.float32)
    iris = np.asarray(manifest.eyes.iris_srgb, np.float32)

    def draw(camera: Camera, vertices: F32) -> F32:
        seen = TexturedHead(head, vertices, texture, looks(head, iris)).view(camera)
        linear = seen.albedo_linear.copy()
        other = seen.part > 0
        linear[other] *= np.maximum(sh.irradiance(light, seen.normal_head[other]), 0) / np.pi
        covered = seen.coverage()[..., None]
        straight = seen.resolve(linear) / np.maximum(covered, 1e-3)
        picture: F32 = linear_to_srgb(np.clip(straight, 0, 1)) * covered + (1 - covered) * GREY_SRGB
        return picture

    return draw


def with_expression(mesh: Mesh, weights: Mapping[str, float] | None) -> F32:
    """Vertices ``(V, 3)``: the photographed face, or with the expression ``weights`` by ARKit's names."""
    if weights is None:
        return mesh.expressed()
    return mesh.posed(np.array([weights.get(name, 0.0) for name in mesh.expression_names], np.float32))
