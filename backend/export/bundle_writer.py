"""A reconstruction as an avatar bundle on disk (schema: ``blender_addon.bundle``)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from backend import __version__
from backend.artifacts import F64, Camera, Reconstruction, StageRecord
from backend.export.map_files import MIDLEVEL, displacement_scale, encode_maps, write_maps
from backend.export.staging import staged_folder
from blender_addon import bundle


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
    """Write avatar.json, mesh.npz and maps into the existing, empty ``folder``. Raises: OSError."""
    write_maps(encode_maps(reconstruction.materials, reconstruction.partial.confidence), folder)
    bundle.write_mesh(folder, mesh_of(reconstruction))
    bundle.write_manifest(folder, manifest_of(reconstruction, weights))


def amend_manifest(folder: Path, *, stages: Sequence[StageRecord] = (), warnings: Sequence[str] = ()) -> None:
    """Add what was learned after the bundle's files were written: later stages, warnings, peak memory.

    Raises: BundleError, OSError.
    """
    import msgspec

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


def manifest_of(reconstruction: Reconstruction, weights: Sequence[bundle.Weights] = ()) -> bundle.Manifest:
    """``avatar.json`` of ``reconstruction``."""
    fit, observation = reconstruction.fit, reconstruction.observation
    head, photo, box = fit.head, observation.photo, observation.face_box
    own = bundle.Weights(
        name=head.weights_file or head.name, sha256=head.weights_sha256, licence=head.licence
    )
    left, right = eye_centres(reconstruction)
    return bundle.Manifest(
        schema=bundle.SCHEMA,
        created_by=f"likeness {__version__}",
        engine=reconstruction.engine,
        head=head.name,
        stages=tuple(map(_stage, reconstruction.stages)),
        peak_rss_mb=peak_rss_mb(),
        fit=bundle.FitErrors(
            landmark_error_px=_known(fit.landmark_error_px),
            landmark_error_iod=_known(fit.landmark_error_iod),
            photometric_psnr_db=_known(fit.photometric_psnr_db),
        ),
        camera=camera_record(fit.camera, fit.focal_source),
        light=bundle.Light(radiance_sh=tuple(_triple(c) for c in fit.radiance_sh)),
        photo=bundle.PhotoRecord(
            name=photo.name,
            sha256=photo.sha256,
            size=(int(photo.source_size[0]), int(photo.source_size[1])),
            face_box=(float(box.x0), float(box.y0), float(box.x1), float(box.y1)),
        ),
        displacement_scale_m=displacement_scale(reconstruction.materials.displacement_m),
        displacement_midlevel=MIDLEVEL,
        texels_per_pixel=float(reconstruction.partial.texels_per_pixel),
        weights=(own, *weights),
        seed=reconstruction.seed,
        warnings=reconstruction.warnings,
        eyes=bundle.Eyes(iris_srgb=_triple(fit.iris_srgb), centres=(_triple(left), _triple(right))),
        expression={name: float(w) for name, w in zip(head.expression_names, fit.expression, strict=True)},
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


def mesh_of(reconstruction: Reconstruction) -> bundle.Mesh:
    """``mesh.npz`` of ``reconstruction``."""
    fit = reconstruction.fit
    head = fit.head
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
        expression_weights=fit.expression.astype(np.float32),
        eye_centres_head=eye_centres(reconstruction).astype(np.float32),
    )


def eye_centres(reconstruction: Reconstruction) -> F64:
    """Eye centres ``(2, 3)`` on this person's neutral head, metres: subject's left, right.

    The mean head's centres are carried by the eyeball: they move as its vertices' mean does.
    """
    fit = reconstruction.fit
    head = fit.head
    centres = np.asarray(head.eye_centres, np.float64).copy()
    for side, name in enumerate(("eye_left", "eye_right")):
        if name not in head.part_names:
            continue
        own = np.unique(head.quads[head.quad_part == head.part_names.index(name)])
        own = own[own >= 0]
        centres[side] += (fit.neutral_head[own].astype(np.float64) - head.mean_vertices[own]).mean(axis=0)
    return centres


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


def _triple(values: np.ndarray) -> tuple[float, float, float]:  # type: ignore[type-arg]
    x, y, z = (float(v) for v in values)
    return x, y, z
