"""A reconstruction as an avatar bundle on disk (schema: ``blender_addon.bundle``).

The bundle is written in two parts: what is known after the head fit (``write_fit``: mesh, photo,
landmarks, a manifest marked partial) and what comes after (``write_rest``: maps, the final manifest).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from backend import __version__
from backend.artifacts import Camera, HeadFit, Observation, Reconstruction, StageRecord
from backend.export.map_files import (
    MIDLEVEL,
    displacement_scale,
    encode_maps,
    encode_proxies,
    write_maps,
    write_whole,
)
from backend.export.staging import staged_folder
from backend.geometry.face_sight import FILE as SIGHT_FILE
from backend.geometry.landmark_errors import FILE as ERRORS_FILE
from backend.geometry.landmark_errors import errors_of
from backend.head.base import ParametricHead
from backend.head.lid_motion import eye_centres, fitted_lids
from blender_addon import bundle
from blender_addon.landmarks import Landmarks, write_landmarks

PHOTO_QUALITY = 95  # JPEG


def write_bundle(
    reconstruction: Reconstruction,
    directory: Path,
    *,
    overwrite: bool = False,
    weights: Sequence[bundle.Weights] = (),
    finish: Sequence[Callable[[Path], None]] = (),
) -> Path:
    """Write ``directory`` as an avatar bundle that appears whole or not at all; returns it.

    ``weights`` adds to the head's own. Each of ``finish`` is handed the folder under its temporary
    name to add files (preview, .blend, .glb) before it takes its place.
    Raises: BadInput (missing or read-only parent, existing avatar without ``overwrite``),
    OutOfResources (disk full), whatever ``finish`` raises; nothing is left behind then.
    """
    with staged_folder(directory, overwrite=overwrite) as folder:
        write_bundle_files(reconstruction, folder, weights=weights)
        for step in finish:
            step(folder)
    return directory


def write_bundle_files(
    reconstruction: Reconstruction, folder: Path, *, weights: Sequence[bundle.Weights] = ()
) -> None:
    """Write all files of a bundle into the existing ``folder``. Raises: OSError."""
    write_fit(Fitted.of(reconstruction), folder, weights=weights)
    write_rest(reconstruction, folder)
    manifest = manifest_of(reconstruction, weights)
    if reconstruction.splats is not None:
        # numba comes with this import; bundles without splats are written where there is none
        from backend.gaussians.files import write_splats

        record = write_splats(reconstruction.splats, reconstruction.fit, folder, reconstruction.splat_keeper)
        manifest = msgspec.structs.replace(manifest, splats=record)
    bundle.write_manifest(folder, manifest)


@dataclass(frozen=True)
class Fitted:
    """What is known of a face after the head fit."""

    observation: Observation
    fit: HeadFit
    engine: str
    seed: int
    stages: tuple[StageRecord, ...]
    warnings: tuple[str, ...]
    others: tuple[Observation, ...] = ()  # further photographs of the same person

    @classmethod
    def of(cls, reconstruction: Reconstruction) -> Fitted:
        """That part of a whole reconstruction."""
        r = reconstruction
        return cls(r.observation, r.fit, r.engine, r.seed, r.stages, r.warnings, r.others)


def write_fit(fitted: Fitted, folder: Path, *, weights: Sequence[bundle.Weights] = ()) -> None:
    """Write mesh, photo, landmarks and, last, a manifest marked partial. Raises: OSError."""
    bundle.write_mesh(folder, mesh_of(fitted.fit))
    write_whole(folder / bundle.PHOTO_NAME, _photo_jpeg(fitted.observation))
    write_landmarks(folder, landmarks_of(fitted.observation, fitted.fit))
    bundle.write_manifest(folder, fitted_manifest(fitted, weights))


def write_rest(
    reconstruction: Reconstruction, folder: Path, written: Callable[[str], None] = lambda name: None
) -> None:
    """Write the maps and their proxies; ``written`` is told each map's name. Raises: OSError."""
    materials, seen = reconstruction.materials, reconstruction.partial.confidence
    write_maps(encode_maps(materials, seen), folder, encode_proxies(materials, seen), written)


def amend_manifest(folder: Path, *, stages: Sequence[StageRecord] = (), warnings: Sequence[str] = ()) -> None:
    """Add what was learned after the bundle's files were written: later stages, warnings, peak memory.

    Raises: BundleError, OSError.
    """
    manifest = bundle.read_manifest(folder)
    later = tuple(
        bundle.Stage(name=s.name, implementation=s.implementation, seconds=s.seconds) for s in stages
    )
    new = tuple(w for w in dict.fromkeys(warnings) if w not in manifest.warnings)
    amended = msgspec.structs.replace(
        manifest,
        stages=manifest.stages + later,
        warnings=manifest.warnings + new,
        peak_rss_mb=peak_rss_mb(),
    )
    bundle.write_manifest(folder, amended)


def fitted_manifest(fitted: Fitted, weights: Sequence[bundle.Weights] = ()) -> bundle.Manifest:
    """``avatar.json`` as it stands after the fit, marked partial: nothing is known of the maps."""
    fit, observation = fitted.fit, fitted.observation
    head = fit.head
    own = bundle.Weights(
        name=head.weights_file or head.name, sha256=head.weights_sha256, licence=head.licence
    )
    left, right = eye_centres(fit.head, fit.neutral_head)
    return bundle.Manifest(
        schema=bundle.SCHEMA,
        created_by=f"likeness {__version__}",
        engine=fitted.engine,
        head=head.name,
        stages=tuple(map(_stage, fitted.stages)),
        peak_rss_mb=peak_rss_mb(),
        fit=bundle.FitErrors(
            landmark_error_px=_known(fit.landmark_error_px),
            landmark_error_iod=_known(fit.landmark_error_iod),
            photometric_psnr_db=_known(fit.photometric_psnr_db),
        ),
        camera=camera_record(fit.camera, fit.focal_source),
        light=bundle.Light(radiance_sh=tuple(_triple(c) for c in fit.radiance_sh)),
        photo=_photo_record(observation),
        photos=tuple(map(_photo_record, (observation, *fitted.others))) if fitted.others else (),
        displacement_scale_m=0.0,
        displacement_midlevel=MIDLEVEL,
        texels_per_pixel=0.0,
        weights=(own, *_landmark_errors(head), *weights),
        seed=fitted.seed,
        warnings=fitted.warnings,
        eyes=bundle.Eyes(iris_srgb=_triple(fit.iris_srgb), centres=(_triple(left), _triple(right))),
        expression={name: float(w) for name, w in zip(head.expression_names, fit.expression, strict=True)},
        identity=tuple(float(c) for c in fit.identity),
        partial=True,
    )


def _landmark_errors(head: ParametricHead) -> tuple[bundle.Weights, ...]:
    """What is known of Face Mesh's errors, where the fit of ``head`` knows of them."""
    if errors_of(head) is None:
        return ()
    return tuple(
        bundle.Weights(
            name=f"embedded/{file.name}",
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            licence=head.licence,
        )
        for file in (ERRORS_FILE, SIGHT_FILE)
    )


def _photo_record(observation: Observation) -> bundle.PhotoRecord:
    photo, box = observation.photo, observation.face_box
    return bundle.PhotoRecord(
        name=photo.name,
        sha256=photo.sha256,
        size=(int(photo.source_size[0]), int(photo.source_size[1])),
        face_box=(float(box.x0), float(box.y0), float(box.x1), float(box.y1)),
    )


def manifest_of(reconstruction: Reconstruction, weights: Sequence[bundle.Weights] = ()) -> bundle.Manifest:
    """``avatar.json`` of the whole ``reconstruction``."""
    return msgspec.structs.replace(
        fitted_manifest(Fitted.of(reconstruction), weights),
        displacement_scale_m=displacement_scale(reconstruction.materials.displacement_m),
        texels_per_pixel=float(reconstruction.partial.texels_per_pixel),
        partial=False,
    )


def camera_record(camera: Camera, focal_source: str = "") -> bundle.CameraRecord:
    """The camera as ``avatar.json`` holds it."""
    x, y, z = (tuple(float(v) for v in row) for row in camera.world_to_camera)
    return bundle.CameraRecord(
        focal_px=float(camera.focal_px),
        principal_px=(float(camera.principal_px[0]), float(camera.principal_px[1])),
        width_px=int(camera.width_px),
        height_px=int(camera.height_px),
        world_to_camera=(x, y, z),  # type: ignore[arg-type]  # rows of four
        focal_source=focal_source,
    )


def mesh_of(fit: HeadFit) -> bundle.Mesh:
    """``mesh.npz`` of ``fit``; its lids close on this person's eyes."""
    head = fitted_lids(fit.head, fit.neutral_head)
    return bundle.Mesh(
        vertices_neutral_head=fit.neutral_head.astype(np.float32),
        quads=head.quads,
        quad_uvs=head.quad_uvs,
        quad_part=head.quad_part,
        part_names=head.part_names,
        uvs=head.uvs,
        triangles=head.triangles,
        triangle_uvs=head.triangle_uvs,
        triangle_quad=head.triangle_quad,
        expression_names=head.expression_names,
        expressions=bundle.SparseOffsets.from_dense(head.expression_basis),
        correctives=head.correctives,
        expression_weights=fit.expression.astype(np.float32),
        eye_centres_head=eye_centres(fit.head, fit.neutral_head).astype(np.float32),
        regions={
            name: np.rint(255.0 * np.clip(region, 0, 1)).astype(np.uint8)
            for name, region in head.regions.items()
        },
    )


def landmarks_of(observation: Observation, fit: HeadFit) -> Landmarks:
    """``landmarks.npz``: what was seen, where the fitted head has it, how much it was believed."""
    points, head = fit.head.mediapipe, fit.head
    solved = np.asarray(observation.landmarks_px, np.float32).copy()
    has = points.triangle >= 0
    solved[has] = fit.camera.project(points.positions(fit.vertices_head, head.triangles)[has])[0]
    trust = np.clip(points.trust, 0, 1) * np.clip(observation.landmarks_visible, 0, 1)
    return Landmarks(
        observed_px=np.asarray(observation.landmarks_px, np.float32),
        solved_px=solved,
        trust=np.where(has, trust, 0).astype(np.float32),
    )


def _photo_jpeg(observation: Observation) -> bytes:
    """The camera's picture as JPEG, without the metadata of the file that it came from."""
    import cv2

    rgb = np.rint(np.clip(observation.photo.rgb_srgb, 0, 1) * 255).astype(np.uint8)
    good, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, PHOTO_QUALITY]
    )
    if not good:
        raise RuntimeError("the JPEG encoder refused the photo")
    return bytes(data.tobytes())


def peak_rss_mb() -> float | None:
    """Largest resident memory of this process so far, MiB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0**2 if sys.platform == "darwin" else 1024.0)


def _stage(record: StageRecord) -> bundle.Stage:
    return bundle.Stage(
        name=record.name, implementation=record.implementation, seconds=round(float(record.seconds), 4)
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None  # JSON has no NaN


def _triple(values: NDArray[Any]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
