"""A job's folder while it grows: what can be shown already lies in it and is announced at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from backend.artifacts import F32
from backend.colour import linear_to_srgb
from backend.export.bundle_writer import Fitted, write_fit
from backend.export.map_files import encode_png, shrunk, to_bits8, write_whole
from backend.export.staging import take_place
from backend.server.worker_protocol import PartialReady, partial_directory
from backend.weights.used import photo_weights
from blender_addon.bundle import MANIFEST_NAME, MESH_NAME, PHOTO_NAME, PROXY_SIDE, map_path, proxy_path
from blender_addon.landmarks import LANDMARKS_NAME


class PartialFolder:
    """``<directory>.partial``, announced through ``send``; its manifest says partial until all is there."""

    def __init__(self, job: str, directory: Path, send: Callable[[PartialReady], None]) -> None:
        self.path = partial_directory(directory)
        self._directory = directory
        self._job = job
        self._send = send

    def make(self) -> None:
        """Make the folder anew and empty. Raises: OSError."""
        self.discard()
        self.path.mkdir(mode=0o700)

    def fitted(self, fitted: Fitted) -> None:
        """Write mesh, photo, landmarks and manifest. Raises: OSError."""
        write_fit(fitted, self.path, weights=photo_weights())
        files = (MANIFEST_NAME, MESH_NAME, PHOTO_NAME, LANDMARKS_NAME)
        self._send(PartialReady(job=self._job, kind="mesh", files=files))

    def preliminary_albedo(self, rgb_linear: F32) -> None:
        """Write a first albedo, no larger than a proxy, so that the head is not grey. Raises: OSError."""
        write_whole(
            map_path(self.path, "albedo"),
            encode_png(to_bits8(linear_to_srgb(shrunk(rgb_linear, PROXY_SIDE)))),
        )
        self._announce("albedo", final=False)

    def map_written(self, name: str) -> None:
        """Say that a final map, and its proxy if it has one, lies in its place."""
        self._announce(name, final=True)

    def take_place(self) -> tuple[tuple[str, int], ...]:
        """Rename the folder, now whole, to its place; its files with their sizes. Raises: OSError."""
        take_place(self.path, self._directory)
        files = sorted(path for path in self._directory.rglob("*") if path.is_file())
        return tuple((path.relative_to(self._directory).as_posix(), path.stat().st_size) for path in files)

    def discard(self) -> None:
        """Remove the folder; what a reader holds open (Windows) goes when the server starts next."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _announce(self, name: str, *, final: bool) -> None:
        paths = (map_path(self.path, name), proxy_path(self.path, name))
        files = tuple(path.relative_to(self.path).as_posix() for path in paths if path.is_file())
        self._send(PartialReady(job=self._job, kind="map", map_name=name, final=final, files=files))
