"""From a video to keyframes for an avatar: see, solve, hold, smooth."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backend import __version__
from backend.artifacts import F64, Run
from backend.drive import smoothing
from backend.drive.calibrate import calibrated
from backend.drive.mirror import mirror_of
from backend.drive.own_face import learn
from backend.drive.solve import Actor, Solved, actor_of, hidden_parts, problem_of, solve
from backend.drive.tracking import Seen, Tracker
from backend.drive.video import Video
from backend.errors import BadInput
from backend.geometry.state import FitState
from backend.head.arkit import ARKIT_NAMES
from backend.head.registry import load_head
from backend.photo.exif import FILM_DIAGONAL_MM
from backend.photo.focal import DEFAULT_35MM
from backend.photo.mediapipe_graphs import FaceNetworks
from blender_addon import bundle
from blender_addon.drive_file import (
    DriveFile,
    Frame,
    Part,
    VideoRecord,
    quaternion_of,
    write_arkit_csv,
    write_drive,
)

SEE, SOLVE = "faces", "expression"
POOR_IOD = 0.05  # mean landmark error over the eye distance from which the take is doubtful
MUCH_HELD = 0.1  # share of frames that is worth a warning
_CAMERA_TO_FACE = np.diag([1.0, -1.0, -1.0])  # OpenCV's axes to x right, y up, z towards the camera
_PARTS: tuple[Part, ...] = ("mouth", "left eye", "right eye")


@dataclass(frozen=True)
class Tracked:
    """What was seen of one face in a video."""

    seen: tuple[Seen | None, ...]  # by frame; None: lost
    times: F64  # (F,) seconds
    size: tuple[int, int]  # width, height of a frame, pixels


def drive_video(
    video: Path,
    avatar: Path,
    run: Run,
    *,
    head: str | None = None,
    face: int | None = None,
    name: str | None = None,
) -> DriveFile:
    """Keyframes that make the ``avatar`` do what the face in ``video`` does.

    ``head`` is needed where the avatar's head is not the shipped one; ``face`` chooses among several people;
    ``name`` is what the video is called where its file has another name.
    Raises: BadInput (video, avatar, no face, several people), Missing, Cancelled.
    """
    with threadpool_limits(limits=1, user_api="blas"), Video(video, name) as opened:
        actor = _actor(avatar, head)
        with FaceNetworks() as networks:
            tracked = track(opened, networks, run, face)
            actor = calibrated(actor, mirror_of(avatar, actor.head), networks, run)
        solved, focal_px = solve_all(actor, tracked, run)
        frames = keyframes(actor, tracked, solved)
        _warn_of(solved, frames, opened.name, run)
        return DriveFile(
            created_by=f"likeness {__version__}",
            video=VideoRecord(
                name=opened.name,
                sha256=opened.sha256(),
                width_px=tracked.size[0],
                height_px=tracked.size[1],
            ),
            frames_per_second=_rate(tracked.times, opened.frames_per_second),
            focal_px=focal_px,
            expression_names=actor.names,
            frames=frames,
            warnings=tuple(run.warnings),
        )


def write_take(drive: DriveFile, output: Path) -> tuple[Path, ...]:
    """Write ``output``: CSV where it ends so, else JSON with a CSV of the same name beside it.

    Nothing half-written stays. Returns what was written. Raises: BadInput (destination), OSError.
    """
    check_output(output)
    with tempfile.TemporaryDirectory(prefix=".likeness-", dir=output.parent) as folder:
        csv = Path(folder) / "new.csv"
        write_arkit_csv(csv, drive, ARKIT_NAMES)
        written = [output.with_suffix(".csv")]
        if output.suffix.lower() == ".json":
            fresh = Path(folder) / "new.json"
            write_drive(fresh, drive)
            fresh.replace(output)
            written.insert(0, output)
        csv.replace(written[-1])
    return tuple(written)


def check_output(output: Path) -> None:
    """Raises: BadInput where ``output`` cannot be written."""
    if output.suffix.lower() not in (".json", ".csv"):
        raise BadInput(f"'{output}' must end in .json or .csv; name the file so")
    if not output.parent.is_dir():
        raise BadInput(f"the folder of '{output}' does not exist; make it first")


def _actor(avatar: Path, head: str | None) -> Actor:
    try:
        found = bundle.read_bundle(avatar)
    except bundle.BundleError as error:
        raise BadInput(str(error)) from error
    name = found.manifest.head
    if head is None and name != "open":
        raise BadInput(
            f"this avatar's head is '{name}'; say where it lies with --head {name.partition(':')[0]}:PATH"
        )
    return actor_of(found.mesh, load_head(head or name))


def track(video: Video, networks: FaceNetworks, run: Run, face: int | None = None) -> Tracked:
    """Follow the one face, or the chosen one, through ``video``.

    Raises: BadInput (no face in any frame, several people, nothing decodes), Cancelled.
    """
    seen: list[Seen | None] = []
    times: list[float] = []
    size = (0, 0)
    tracker = Tracker(networks, video.name, face)
    for frame in video.frames():
        total = video.frame_count
        run.progress(SEE, 0.0 if total is None else min(frame.index / total, 1.0))
        seen.append(tracker.see(frame.rgb, Run(is_cancelled=run.is_cancelled)))
        times.append(frame.time_s)
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
    if not any(one is not None for one in seen):
        raise BadInput(f"no face is seen in any frame of {video.name}; give a video that shows one")
    return Tracked(tuple(seen), np.array(times), size)


def solve_all(actor: Actor, tracked: Tracked, run: Run) -> tuple[tuple[Solved | None, ...], float]:
    """Every frame's answer, and the focal length in pixels.

    Raises: BadInput where no frame shows enough of the face, Cancelled.
    """
    width, height = tracked.size
    guess = float(np.log(DEFAULT_35MM * np.hypot(width, height) / FILM_DIAGONAL_MM))
    steady = learn(actor, tracked.seen, tracked.size, guess, run, SOLVE)
    answers: list[Solved | None] = []
    before: FitState | None = None
    for k, one in enumerate(tracked.seen):
        run.progress(SOLVE, 0.2 + 0.8 * k / len(tracked.seen))
        answer = None
        if one is not None:
            shown = steady.openness(one)
            problem = problem_of(steady.actor, one, tracked.size, steady.log_focal, shown)
            if problem is not None:
                answer = solve(steady.actor, problem, hidden_parts(one), shown, before)
        answers.append(answer)
        before = None if answer is None else answer.state
    run.progress(SOLVE, 1.0)
    return tuple(answers), float(np.exp(steady.log_focal))


def keyframes(actor: Actor, tracked: Tracked, solved: tuple[Solved | None, ...]) -> tuple[Frame, ...]:
    """Held where nothing was seen, and smoothed. At least one frame must be solved."""
    times, count = tracked.times, len(solved)
    any_state = next(one.state for one in solved if one is not None)
    states = [any_state if one is None else one.state for one in solved]
    is_seen = np.array([one is not None for one in solved])
    weights = np.array([state.expression for state in states])
    rotations = np.array([_CAMERA_TO_FACE @ state.rotation for state in states])
    middle = actor.head.eye_centres.astype(np.float64).mean(0)
    shifts = np.array([_CAMERA_TO_FACE @ (s.rotation @ (middle - s.pivot) + s.translation) for s in states])

    weights = smoothing.held(weights, is_seen, times)
    shown: dict[Part, NDArray[np.bool_]] = {"face": is_seen}
    for part in _PARTS:
        shown[part] = np.array([one is not None and part not in one.held for one in solved])
        rows = actor.rows_of(part)
        if shown[part].any():
            weights[:, rows] = smoothing.held(weights[:, rows], shown[part], times)
    looks = np.array([name.startswith("eyeLook") for name in actor.names])
    calm = np.empty_like(weights)
    calm[:, looks] = smoothing.calmed(weights[:, looks], times, smoothing.GAZE)
    calm[:, ~looks] = smoothing.calmed(weights[:, ~looks], times, smoothing.WEIGHTS)
    calm = np.clip(calm, 0, 1)
    turns = smoothing.calmed_rotations(smoothing.held_rotations(rotations, is_seen, times), times)
    shifts = smoothing.calmed(smoothing.held(shifts, is_seen, times), times, smoothing.SHIFT)
    gaze = actor.gaze_deg(calm)

    frames = []
    for k in range(count):
        parts: tuple[Part, ...] = ("face",) if not is_seen[k] else tuple(p for p in _PARTS if not shown[p][k])
        frames.append(
            Frame(
                time_s=round(float(times[k]), 6),
                weights=tuple(round(float(w), 5) for w in calm[k]),
                rotation=quaternion_of(turns[k]),
                translation_m=_triple(shifts[k]),
                gaze_deg=(_pair(gaze[k, 0]), _pair(gaze[k, 1])),
                held=parts,
            )
        )
    return tuple(frames)


def _warn_of(solved: tuple[Solved | None, ...], frames: tuple[Frame, ...], name: str, run: Run) -> None:
    error = float(np.median([one.error_iod for one in solved if one is not None]))
    if error > POOR_IOD:
        run.warn(
            f"The avatar's face misses the landmarks in {name} by {100 * error:.0f} % of the eye distance; "
            "expressions may be off."
        )
    lost = sum(frame.held == ("face",) for frame in frames) / len(frames)
    if lost > MUCH_HELD:
        run.warn(f"The face cannot be seen in {100 * lost:.0f} % of {name}; the avatar holds still there.")
    partly = sum(bool(frame.held) and frame.held != ("face",) for frame in frames) / len(frames)
    if partly > MUCH_HELD:
        run.warn(f"Mouth or eyes are hidden in {100 * partly:.0f} % of {name}; they hold still there.")


def _rate(times: F64, told: float) -> float:
    """Frames a second as they really come; what the file says where there is but one."""
    return told if len(times) < 2 else round((len(times) - 1) / float(times[-1] - times[0]), 4)


def _triple(values: F64) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 6) for v in values)
    return x, y, z


def _pair(values: F64) -> tuple[float, float]:
    yaw, pitch = (round(float(v), 3) for v in values)
    return yaw, pitch
