"""From HiFi3D++ to the head that the user asked for: the last stage of the MARCUS engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.artifacts import (
    F32,
    Camera,
    ChartMaps,
    CompleteUV,
    EvenUV,
    HeadFit,
    Materials,
    Observation,
    OnHead,
    PartialUV,
    Run,
)
from backend.geometry import face_mesh
from backend.head.base import ParametricHead
from backend.marcus.geometry.light import light_of
from backend.marcus.register import Registered, register
from backend.marcus.resample import Places, carry, carry_normals, find_places
from backend.marcus.superres.maps import resized_materials
from backend.uvspace.chart import chart_maps

NAME = "delivered head"
SURE = 0.5  # least confidence of a texel whose colour speaks of the light
LARGE_RESIDUAL_M = 0.003


def deliver(observation: Observation, made: OnHead, head: ParametricHead, size: int, run: Run) -> OnHead:
    """Register ``head`` to the fitted surface and carry the maps into its chart at ``size`` texels.

    Where ``head`` is the one fitted, only sizes change. The light is solved again with the delivered
    albedo. Raises: BadInput (a surface of another size), Cancelled.
    """
    fit, partial = made.fit, made.partial
    if head is fit.head:
        own = resized_materials(made.materials, size)
        return replace(made, fit=_relit(fit, partial, own), materials=own)
    source_chart = chart_maps(fit.head, fit.neutral_head, made.materials.size)
    laid = register(fit.head, fit.neutral_head, fit.vertices_head, head)
    if laid.residual_m > LARGE_RESIDUAL_M:
        run.warn(
            f"The delivered head stands {1000 * laid.residual_m:.1f} mm off the reconstructed surface; "
            "--head hifi3dpp shows that surface."
        )
    run.progress(NAME, 0.4)
    camera = _moved(fit.camera, laid)
    chart = chart_maps(head, laid.neutral_head, size)
    places = find_places(chart, fit.head, laid.surface_neutral)
    run.progress(NAME, 0.7)
    materials = _carried_materials(made.materials, _turned_chart(source_chart, laid), chart, places)
    # The photographed (expressive) face's chart goes with the colours that the photo shows.
    seen_chart = chart_maps(head, laid.vertices_head, size)
    confidence = np.where(places.known, carry(partial.confidence[..., None], places)[..., 0], 0)
    seen = PartialUV(
        chart=seen_chart,
        rgb_linear=carry(partial.rgb_linear, places) * (confidence > 0)[..., None],
        confidence=confidence.astype(np.float32),
        texels_per_pixel=partial.texels_per_pixel * size / partial.chart.size,
    )
    complete, even = made.complete, made.even
    error_px, error_iod = _landmark_error(observation, head, laid, camera)
    laid_fit = replace(
        fit,
        head=head,
        identity=laid.identity,
        expression=laid.expression,
        albedo_coefficients=np.zeros(len(head.albedo_basis), np.float32),
        camera=camera,
        vertices_head=laid.vertices_head,
        neutral_head=laid.neutral_head,
        landmark_error_px=error_px,
        landmark_error_iod=error_iod,
    )
    return OnHead(
        _relit(laid_fit, seen, materials),
        seen,
        CompleteUV(carry(complete.rgb_linear, places), seen.confidence, complete.implementation),
        EvenUV(carry(even.rgb_linear, places), carry(even.relit[..., None], places)[..., 0]),
        materials,
    )


def _moved(camera: Camera, laid: Registered) -> Camera:
    """The same picture from the delivered head's space: x' = R·x + t is undone before the old camera."""
    rotation = camera.world_to_camera[:, :3] @ laid.rotation.T
    translation = camera.world_to_camera[:, 3] - rotation @ laid.translation
    return replace(camera, world_to_camera=np.concatenate([rotation, translation[:, None]], axis=1))


def _turned_chart(chart: ChartMaps, laid: Registered) -> ChartMaps:
    """The engine's chart with its frames turned into the delivered head's space."""
    turn = laid.rotation.T.astype(np.float32)
    tangent = chart.tangent_head.copy()
    tangent[..., :3] = tangent[..., :3] @ turn
    return replace(chart, normal_head=chart.normal_head @ turn, tangent_head=tangent)


def _carried_materials(made: Materials, source: ChartMaps, chart: ChartMaps, places: Places) -> Materials:
    def grey(image: F32) -> F32:
        return carry(image[..., None], places)[..., 0]

    return Materials(
        albedo_linear=carry(made.albedo_linear, places),
        normal_tangent=carry_normals(made.normal_tangent, source, chart, places),
        roughness=grey(made.roughness),
        specular=grey(made.specular),
        displacement_m=grey(made.displacement_m),
    )


def _landmark_error(
    observation: Observation, head: ParametricHead, laid: Registered, camera: Camera
) -> tuple[float, float]:
    """Over the 468 Face Mesh points, none of which the registration knows; NaN where none is visible."""
    points = head.mediapipe
    seen = (points.triangle >= 0) & (observation.landmarks_visible > 0.5)
    seen[list(face_mesh.IRISES)] = False
    if not seen.any():
        return float("nan"), float("nan")
    px, _ = camera.project(points.positions(laid.vertices_head, head.triangles))
    error = float(np.linalg.norm(px - observation.landmarks_px, axis=1)[seen].mean())
    left, right = (px[k] for k in face_mesh.OUTER_EYE_CORNERS)
    distance = max(float(np.linalg.norm(left - right)), 1e-6)
    return error, error / distance


def _relit(fit: HeadFit, partial: PartialUV, made: Materials) -> HeadFit:
    """``fit`` with the light under which the delivered albedo looks as the photo does."""
    albedo = resized_materials(made, partial.chart.size).albedo_linear
    sure = (partial.confidence > SURE) & partial.chart.inside
    colour, normal, own = (
        np.asarray(x[sure], np.float64) for x in (partial.rgb_linear, partial.chart.normal_head, albedo)
    )
    light = light_of(colour, normal, own, fit.camera)
    return replace(fit, radiance_sh=light.radiance_sh, photometric_psnr_db=light.psnr_db)
