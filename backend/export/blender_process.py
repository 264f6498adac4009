"""Blender in a process of its own, seen from the backend: start, ask, watch, cancel, stop.

A crash there becomes one clear line here. This module never imports bpy.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import backend
from backend.artifacts import Run
from backend.errors import BadInput, Cancelled, LikenessError, Missing, OutOfResources
from backend.export.views import parse_view
from blender_addon.bundle import BundleError, read_bundle

STAGE = "blender"
EXPORT_TIMEOUT_S = 600.0
RENDER_TIMEOUT_S = 6 * 3600.0
KILLED = -9  # what a process returns that the system's memory watchdog ended (Windows has no such signal)
SYSTEM_LIBRARIES = (
    "libx11-6 libxi6 libxrender1 libxfixes3 libxxf86vm1 libxext6 libsm6 libice6 libxkbcommon0 libgl1 libegl1"
)


class BlenderFailed(RuntimeError):
    """Blender's process crashed or ran too long; the text names its log."""


class BlenderProcess:
    """A worker that imports bpy once and then answers requests; a context manager.

    Starting it early (``start``) lets bpy load beside other work; a request starts it when needed.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._folder: Path | None = None

    def __enter__(self) -> BlenderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process; returns at once. Raises: Missing when bpy is not installed."""
        if self._process is not None:
            return
        if importlib.util.find_spec("bpy") is None:
            raise Missing(
                "Blender's module bpy is not installed; run pip install 'likeness[blend]' with Python 3.11"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="likeness-blender-"))
        environment = dict(os.environ)
        # Nothing of the user's own Blender: no settings, start-up file or extensions.
        environment["BLENDER_USER_RESOURCES"] = str(self._folder / "user")
        # Blender's temporary files go with ours, also when it is killed.
        environment.update(dict.fromkeys(("TEMP", "TMP", "TMPDIR"), str(self._folder)))
        root = str(Path(backend.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        with self._log_path.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "backend.export.blend_worker", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                encoding="utf-8",
                # Ctrl+C reaches us alone; we then stop the worker.
                start_new_session=True,
            )
        self._answers = queue.Queue()
        reader = threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True)
        reader.start()

    def ask(self, request: dict[str, Any], run: Run, timeout_s: float) -> dict[str, Any]:
        """Carry out ``request`` (see ``blend_worker``) and return what it answered.

        Raises: BadInput, Missing, OutOfResources as the worker found, Cancelled (the worker is stopped
        within a fifth of a second), BlenderFailed (crash, timeout).
        """
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: the queue's end below tells why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        deadline = time.monotonic() + timeout_s
        while True:
            if run.is_cancelled():
                self.close()
                raise Cancelled("cancelled")
            if time.monotonic() > deadline:
                self._stop()
                raise BlenderFailed(
                    f"Blender took longer than {timeout_s:.0f} s; its log is {self._keep_log()}"
                )
            try:
                answer = self._answers.get(timeout=0.1)
            except queue.Empty:
                continue
            if answer is None:
                raise self._why_it_ended()
            if "progress" in answer:
                run.progress(STAGE, float(answer["progress"]))
            elif "done" in answer:
                run.progress(STAGE, 1.0)
                done: dict[str, Any] = answer["done"]
                return done
            else:
                raise self._failure(answer)

    def close(self) -> None:
        """Stop the process and remove its temporary folder."""
        self._stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def _log_path(self) -> Path:
        assert self._folder is not None
        return self._folder / "blender.log"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it may be gone already
                process.stdin.close()
        if process.poll() is None:
            process.kill()
        process.wait()

    def _keep_log(self) -> Path:
        """Move the log out of the temporary folder, so that it outlives this object."""
        handle, name = tempfile.mkstemp(prefix="likeness-blender-", suffix=".log")
        os.close(handle)
        shutil.copyfile(self._log_path, name)
        return Path(name)

    def _why_it_ended(self) -> Exception:
        assert self._process is not None
        code = self._process.wait()
        text = self._log_path.read_text(encoding="utf-8", errors="replace")
        self._stop()
        last = text.strip().splitlines()[-1] if text.strip() else ""
        if "cannot open shared object file" in last:
            library = last.split("ImportError:")[-1].split(":")[0].strip()
            return Missing(f"bpy needs the system library {library}; install {SYSTEM_LIBRARIES}")
        if "ImportError" in last or "ModuleNotFoundError" in last:
            return Missing(
                f"bpy cannot be imported ({last}); run pip install 'likeness[blend]' with Python 3.11"
            )
        if code == KILLED:
            return OutOfResources("the system stopped Blender, most likely for want of memory; free some")
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return BlenderFailed(f"Blender stopped unexpectedly ({how}); its log is {self._keep_log()}")

    def _failure(self, answer: dict[str, Any]) -> Exception:
        message = str(answer["message"])
        kinds: dict[str, type[LikenessError]] = {
            "bad input": BadInput,
            "memory": OutOfResources,
            "disk full": OutOfResources,
        }
        kind = kinds.get(str(answer["error"]))
        if kind is not None:
            return kind(message)
        return BlenderFailed(f"Blender failed ({message}); its log is {self._keep_log()}")


def _read(stream: IO[str] | None, answers: queue.Queue[dict[str, Any] | None]) -> None:
    """Put every line of ``stream`` into ``answers``, then None."""
    assert stream is not None
    with stream:
        for line in stream:
            answers.put(json.loads(line))
    answers.put(None)


def export_avatar(directory: Path, run: Run, *, blender: BlenderProcess | None = None) -> None:
    """Add ``avatar.blend`` and ``avatar.glb`` to the bundle ``directory``; neither when one fails.

    ``blender`` is a worker that may be warm already; without it one is started and stopped.
    Raises: BadInput (not an avatar), Missing (bpy), OutOfResources, Cancelled, BlenderFailed.
    """
    if blender is None:
        with BlenderProcess() as own:
            export_avatar(directory, run, blender=own)
        return
    directory = directory.absolute()
    _check(directory)
    final = [directory / "avatar.blend", directory / "avatar.glb"]
    partial = [path.with_name(f".{path.stem}-partial{path.suffix}") for path in final]
    request = {
        "command": "export",
        "avatar": str(directory),
        "blend": str(partial[0]),
        "glb": str(partial[1]),
    }
    try:
        blender.ask(request, run, EXPORT_TIMEOUT_S)
        for source, target in zip(partial, final, strict=True):
            source.replace(target)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def render_avatar(
    directory: Path,
    hdri: Path | None,
    view: str,
    output: Path,
    size: int,
    samples: int,
    run: Run,
    *,
    denoise: bool = True,
    transparent: bool = False,
    blender: BlenderProcess | None = None,
) -> None:
    """Render the avatar in ``directory`` to the PNG ``output`` (Cycles, CPU, Standard view transform).

    ``hdri`` is a latitude-longitude .hdr or .exr, None the photo's estimated light; ``view`` is photo,
    front, left, right (the subject's) or YAW,PITCH in degrees; ``size`` is the longer side in pixels.
    ``transparent`` leaves the surroundings out and writes alpha.
    Raises: BadInput (avatar, view, HDRI, output folder), Missing (bpy), OutOfResources, Cancelled,
    BlenderFailed.
    """
    if blender is None:
        with BlenderProcess() as own:
            render_avatar(
                directory, hdri, view, output, size, samples, run,
                denoise=denoise, transparent=transparent, blender=own,
            )  # fmt: skip
        return
    parse_view(view)
    directory, output = directory.absolute(), output.absolute()
    _check(directory)
    if hdri is not None and not hdri.is_file():
        raise BadInput(f"HDRI '{hdri}' does not exist; give an .hdr or .exr file")
    if not output.parent.is_dir():
        raise BadInput(f"output folder '{output.parent}' does not exist; create it or choose another")
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        raise BadInput(f"'{output}' cannot be written to; choose another")
    partial = output.with_name(f".{output.name}.partial.png")
    request = {
        "command": "render",
        "avatar": str(directory),
        "output": str(partial),
        "view": view,
        "size": size,
        "samples": samples,
        "hdri": str(hdri.absolute()) if hdri is not None else None,
        "denoise": denoise,
        "transparent": transparent,
        "seed": run.seed,
    }
    try:
        blender.ask(request, run, RENDER_TIMEOUT_S)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _check(directory: Path) -> None:
    try:
        read_bundle(directory)
    except BundleError as error:
        raise BadInput(str(error)) from error
