"""``likeness drive``: a video, or a webcam's recording, to keyframes for an avatar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def drive(
    video: Annotated[
        Path, typer.Argument(metavar="VIDEO", help="A video of one face, or a webcam's recording.")
    ],
    avatar: Annotated[Path, typer.Option(metavar="DIR", help="The avatar folder to drive.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help="Keyframes: .json with a .csv beside it, or .csv alone."
        ),
    ],
    face: Annotated[
        int | None,
        typer.Option(help="Which of several people, 0 being the largest and most central.", min=0),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="The avatar's head where it is not the shipped one: ict:PATH, hifi3dpp:PATH."),
    ] = None,
) -> None:
    """Solve expression, gaze and head pose of every frame (docs/drive.md)."""
    from backend.artifacts import Run
    from backend.drive.take import check_output, drive_video, write_take
    from backend.progress import progress_reporter

    check_output(out)
    with progress_reporter(enabled=True, remaining=True) as reporter:
        run = Run(on_progress=reporter.on_progress)
        made = drive_video(video, avatar, run, head=head, face=face)
        written = write_take(made, out)
        for warning in run.warnings:
            reporter.warning(warning)
    held = sum(frame.held == ("face",) for frame in made.frames)
    rate = f"{len(made.frames)} frames at {made.frames_per_second:g} a second"
    print(f"{' and '.join(map(str, written))}  ({rate}, face held in {held})", flush=True)
