"""The command line: ``likeness reconstruct | render | drive | serve | evaluate | synth | train | bench`` …

Only light imports at the top: ``likeness --help`` must answer in under 0.3 s, so whatever pulls in
numpy or torch is imported inside the command that needs it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from backend import __version__
from backend.bench.command import bench
from backend.drive.command import drive
from backend.errors import BadInput, Cancelled, LikenessError
from backend.evaluation.command import evaluate_app
from backend.failures import EXIT_CODES, exit_code_of, one_line, usage_line
from backend.training.command import synth_app
from backend.training.train_command import train_app
from backend.weights.command import weights_app

app = typer.Typer(
    name="likeness",
    help="One photo becomes a relightable, drivable 3D head inside Blender. Everything runs on this machine.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help costs a tenth of a second
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"likeness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def reconstruct(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="JPEG, PNG, WebP or TIFF files.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Avatars go to DIR/<photo name>/.")],
    engine: Annotated[str, typer.Option(help="auto, embedded or marcus (docs/marcus.md).")] = "auto",
    head: Annotated[
        str,
        typer.Option(help="open, open:PATH, ict:PATH or hifi3dpp:PATH; marcus also has its own, hifi3dpp."),
    ] = "open",
    maps: Annotated[int, typer.Option(help="Side of the maps in texels: 512, 1024, 2048 or 4096.")] = 1024,
    face: Annotated[
        int | None, typer.Option(help="Which face, 0 being the largest and most central.", min=0)
    ] = None,
    all_faces: Annotated[bool, typer.Option("--all-faces", help="Reconstruct every face found.")] = False,
    same_person: Annotated[
        bool,
        typer.Option(
            "--same-person",
            help="All photographs show one person and make one avatar, named after the first, whose "
            "camera, expression and light it has.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same avatar.", min=0)] = 0,
    blend: Annotated[
        bool, typer.Option("--blend/--no-blend", help="Also write avatar.blend and avatar.glb (needs bpy).")
    ] = True,
    splats: Annotated[
        bool,
        typer.Option("--splats", help="Also write splats.ply: the head with its hair as 3D Gaussians."),
    ] = False,
    splats_by: Annotated[
        Path | None,
        typer.Option(
            metavar="NETWORKS",
            help="With --splats: by FiCA's networks (`likeness train fica-pack`), not the embedded decoder.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per avatar.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace avatars already there.")] = False,
    caption: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="marcus: describe the face yourself, instead of Qwen2.5-VL."),
    ] = None,
    turbo: Annotated[
        bool, typer.Option("--turbo", help="marcus: few steps; faster, and another result.")
    ] = False,
    guidance_interval: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH", help="marcus: guidance only between these noise levels, which saves time."
        ),
    ] = (0.0, 1.0),
    fp8: Annotated[
        bool, typer.Option("--fp8", help="marcus: multiply in 8 bits (GPUs from Ada on); nearly the result.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="marcus: compile the networks first; pays for many photographs.")
    ] = False,
) -> None:
    """Reconstruct photographs into avatars."""
    from backend.jobs import Job, run_jobs
    from backend.marcus.options import MarcusOptions
    from backend.progress import progress_reporter

    marcus = MarcusOptions(caption, turbo, guided=guidance_interval, fp8=fp8, compiled=compiled)
    if engine == "embedded" and not marcus.is_plain:
        raise BadInput(
            "--caption, --turbo, --guidance-interval, --fp8 and --compile are the marcus engine's; "
            "leave them out, or take --engine marcus"
        )
    if all_faces and face is not None:
        raise BadInput("--face and --all-faces exclude each other; give one of them")
    if same_person and (all_faces or face is not None):
        raise BadInput(
            "--same-person takes the main face of every photograph; leave out --face and --all-faces"
        )
    if same_person and len(photos) < 2:
        raise BadInput("--same-person needs at least two photographs of the person; give more of them")
    if splats_by is not None and not splats:
        raise BadInput("--splats-by says what makes the splats; give --splats as well")
    job = Job(
        out=out,
        engine=engine,
        head=head,
        maps=maps,
        face=face,
        all_faces=all_faces,
        same_person=same_person,
        seed=seed,
        blend=blend,
        splats=splats,
        splats_by=splats_by,
        overwrite=overwrite,
        marcus=marcus,
    )
    worst = 0
    with progress_reporter(enabled=not as_json) as reporter:
        for photo, outcome in run_jobs(photos, job, reporter.on_progress):
            if isinstance(outcome, BaseException):
                worst = max(worst, exit_code_of(outcome))
                line = one_line(outcome)
                reporter.error(f"{photo}: {line}" if str(photo) not in line else line)
                if as_json:
                    _print_json({"photo": str(photo), "error": line, "exit_code": exit_code_of(outcome)})
            else:
                for warning in outcome.warnings:
                    reporter.warning(warning)
                if as_json:
                    _print_json(outcome.as_json())
                else:
                    reporter.done(outcome)
    raise typer.Exit(worst)


@app.command()
def render(
    avatar: Annotated[Path, typer.Argument(help="An avatar folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="FILE", help="The picture to write: PNG, with --drive .webp or .mp4."
        ),
    ] = None,
    hdri: Annotated[
        Path | None,
        typer.Option(help="An .hdr or .exr environment; without it, the photo's estimated light."),
    ] = None,
    view: Annotated[str, typer.Option(help="photo, front, left, right or YAW,PITCH in degrees.")] = "photo",
    size: Annotated[int, typer.Option(help="Longer side in pixels.", min=16, max=8192)] = 512,
    samples: Annotated[int, typer.Option(help="Cycles samples per pixel.", min=1, max=16384)] = 64,
    splats: Annotated[
        bool, typer.Option("--splats", help="Draw the avatar's splats, as lit in the photo.")
    ] = False,
    turntable: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --splats: a turn about the head, .webp or .mp4; .png: five views."
        ),
    ] = None,
    drive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --splats: keyframes of `likeness drive` or a CSV; -o is .webp or .mp4."
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="With --drive: the photo's shading on every frame, as Blender's viewport."
        ),
    ] = False,
) -> None:
    """Render an avatar in Cycles (Standard view transform), or its splats without Blender."""
    from backend.artifacts import Run
    from backend.progress import progress_reporter

    if (out is None) == (turntable is None):
        raise BadInput("give the picture to write with -o, or the moving one with --turntable")
    if live and drive is None:
        raise BadInput("--live is for films of keyframes; give --drive as well")
    if splats or turntable is not None or drive is not None:
        _render_splats(avatar, out, turntable, drive, view, size, hdri, splats=splats, live=live)
        return
    from backend.export.blender_process import render_avatar

    assert out is not None
    with progress_reporter(enabled=True) as reporter:
        run = Run(on_progress=reporter.on_progress)
        render_avatar(avatar, hdri=hdri, view=view, output=out, size=size, samples=samples, run=run)
        for warning in run.warnings:
            reporter.warning(warning)


serve_app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(serve_app, name="serve")

_DATA_HELP = "The server's data folder; by default the user's own."
_Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help=_DATA_HELP)]


@serve_app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    data: _Data = None,
    device: Annotated[
        list[str] | None, typer.Option(help="cpu or cuda:N; one worker process for each. Repeatable.")
    ] = None,
    cache_gb: Annotated[
        float, typer.Option(help="Cached stages go above this size of the data folder.", min=0)
    ] = 20.0,
    bind: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Also listen for other machines (PORT and PORT + 1)."),
    ] = None,
    authorize: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Public keys of the clients on other machines.")
    ] = None,
    parent: Annotated[
        list[int] | None,
        typer.Option(metavar="PID", help="Stop when these processes are gone and nothing runs. Repeatable."),
    ] = None,
) -> None:
    """Serve Blender on this machine, or on others (docs/remote.md)."""
    if context.invoked_subcommand is not None:
        return
    from blender_addon.libsodium import prefer_system_libsodium

    prefer_system_libsodium()  # before zmq is imported
    from backend.server.data_folder import default_root
    from backend.server.pool import worker_command
    from backend.server.serve import ServeOptions
    from backend.server.serve import serve as run_server

    options = ServeOptions(
        data=data or default_root(),
        devices=device or ["cpu"],
        cache_cap_bytes=int(cache_gb * 1e9),
        bind=bind,
        authorize=authorize,
        parents=parent or [],
    )
    run_server(options, worker_command, lambda line: print(line, flush=True))


@serve_app.command("keys")
def serve_keys(
    name: Annotated[str, typer.Argument(help="Whom the key is for.")],
    address: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="Where their machine reaches this server.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The folder of --authorize.")],
    data: _Data = None,
) -> None:
    """Make a key for a client on another machine, and the connection file to hand over."""
    from backend.server.data_folder import default_root, open_data_folder
    from backend.server.keys import make_client

    public, connection = make_client(open_data_folder(data or default_root()), out, name, address)
    typer.echo(f"{public} lets '{name}' in; give {connection} to them and then delete it here")


app.add_typer(evaluate_app, name="evaluate")
app.add_typer(synth_app, name="synth")
app.add_typer(train_app, name="train")
app.add_typer(weights_app, name="weights")
app.command("bench")(bench)
app.command("drive")(drive)


def _render_splats(
    avatar: Path,
    out: Path | None,
    turntable: Path | None,
    drive: Path | None,
    view: str,
    size: int,
    hdri: Path | None,
    *,
    splats: bool,
    live: bool,
) -> None:
    from backend.artifacts import Run
    from backend.gaussians.driven import render_driven
    from backend.gaussians.turntable import render_splats, render_turntable
    from backend.progress import progress_reporter

    if not splats:
        raise BadInput("--turntable and --drive show an avatar's splats; give --splats as well")
    if drive is not None and turntable is not None:
        raise BadInput("--turntable and --drive exclude each other; give one of them")
    if hdri is not None:
        raise BadInput(
            "splats are shown in the photo's light here; leave out --hdri, or relight them in Blender"
        )
    with progress_reporter(enabled=True, remaining=True) as reporter:
        if turntable is not None:
            render_turntable(avatar, turntable, size, Run(on_progress=reporter.on_progress))
        elif drive is not None and out is not None:
            render_driven(avatar, drive, out, size, Run(on_progress=reporter.on_progress), live=live)
        elif out is not None:
            render_splats(avatar, view, out, size)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check this machine and name a remedy for what is missing."""
    from backend.doctor import check_all

    checks = check_all()
    if as_json:
        _print_json([check.as_json() for check in checks])
    else:
        for check in checks:
            mark = {"good": "ok     ", "optional": "absent ", "bad": "MISSING"}[check.state]
            typer.echo(f"{mark}  {check.name}: {check.detail}")
            if check.remedy:
                typer.echo(f"         → {check.remedy}")
    raise typer.Exit(3 if any(check.state == "bad" for check in checks) else 0)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


def _tell(line: str) -> None:
    # Where it goes into a file on a full disk, the exit code alone must tell.
    with contextlib.suppress(OSError):
        print(f"likeness: {line}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (see EXIT_CODES) and prints one line per error."""
    # standalone_mode off: usage errors become one line like every other error.
    try:
        result = app(arguments, standalone_mode=False, prog_name="likeness")
        if result == Cancelled.exit_code:  # typer turns Ctrl+C into an exit without a word
            _tell(one_line(KeyboardInterrupt()))
        return result if isinstance(result, int) else 0
    except LikenessError as error:
        _tell(one_line(error))
        return error.exit_code
    except BaseException as error:  # the last stop: everything becomes a line and an exit code
        usage = usage_line(error)
        if usage is not None:
            if usage:
                _tell(usage)
            return 2
        _tell(one_line(error))
        return exit_code_of(error)
