"""``likeness evaluate make-cases`` and ``make-case``, which join through the entry points of this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.errors import BadInput, LikenessError, Missing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from backend.progress import Reporter
    from synthdata.cases.worker import Told

_Size = Annotated[int, typer.Option(min=96, max=4096, help="Side of the photographs in pixels.")]
_Samples = Annotated[int, typer.Option(min=1, help="Cycles samples per pixel.")]


def make_cases(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Cases go to DIR/<case>/.")],
    data: Annotated[Path, typer.Option(help="Folder with ict-facekit/, makehuman/ and hdri/.")],
    heads: Annotated[int, typer.Option(min=1, help="How many heads.")] = 12,
    conditions: Annotated[
        str, typer.Option(help="Some of front,turned,side_light,low_resolution,close.")
    ] = "front,turned,side_light,low_resolution,close",
    covers: Annotated[
        str, typer.Option(help="Some of hat,hand: every photograph once with each of these, instead of bare.")
    ] = "",
    hdris: Annotated[
        Path | None,
        typer.Option(help="Folder of .hdr panoramas that relight the truth; DATA/hdri by default."),
    ] = None,
    size: _Size = 768,
    samples: _Samples = 16,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same heads.")] = 20260,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the cases that are in DIR already.")] = False,
) -> None:
    """Render the seeded set of made-up heads: every head under every condition, with its truth."""
    from backend.evaluation.output_folder import output_folder
    from synthdata.cases.case_set import CONDITIONS, COVERS
    from synthdata.cases.run import SetOptions, make_set, missing_cases

    chosen = _names(conditions)
    unknown = sorted(set(chosen) - set(CONDITIONS))
    if unknown or not chosen:
        raise BadInput(f"condition '{', '.join(unknown)}' is unknown; take some of {', '.join(CONDITIONS)}")
    worn = tuple(cover for cover in COVERS if cover in _names(covers)) or ("",)
    if unknown := sorted(set(_names(covers)) - set(COVERS)):
        raise BadInput(f"cover '{', '.join(unknown)}' is unknown; take some of {', '.join(COVERS)}")
    lights = _panoramas(hdris or data / "hdri")
    options = SetOptions(data, out, lights, heads, chosen, size, samples, seed, worn)
    total = heads * len(chosen) * len(worn)
    with output_folder(out), _reporter() as reporter:
        todo = missing_cases(options)
        if len(todo) < total and not resume:
            raise BadInput(
                f"'{out}' holds {total - len(todo)} of these cases already; add --resume to keep them"
            )
        failures = make_set(options, _shown(reporter, total, total - len(todo)))
        for line in failures:
            reporter.error(line)
    typer.echo(f"{out}  ({total - len(failures)} of {total} cases)")
    if failures:
        raise typer.Exit(LikenessError.exit_code)


def make_case(
    scan: Annotated[Path, typer.Argument(help="A head as .obj, .glb, .gltf or .ply, with UVs.")],
    albedo: Annotated[Path, typer.Option(help="Its albedo map, sRGB, square.")],
    hdri: Annotated[Path, typer.Option(help="The panorama that lights the photograph.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Cases go to DIR/<scan>_<view>/.")],
    normal: Annotated[Path | None, typer.Option(help="Its normal map: tangent space, OpenGL.")] = None,
    relit_hdri: Annotated[
        list[Path] | None, typer.Option(help="A panorama that relights the truth; not the photograph's.")
    ] = None,
    view: Annotated[
        list[float] | None,
        typer.Option(
            metavar="DEGREES", help="Where the camera stands: 0 in front, 45 on its left. Repeatable."
        ),
    ] = None,
    units: Annotated[str, typer.Option(help="Of the file: m, cm or mm.")] = "m",
    up: Annotated[
        str, typer.Option(help="y: y is up and the face looks to z; z: z is up, it looks to −y.")
    ] = "y",
    turn: Annotated[
        float, typer.Option(help="Degrees to turn the head to its left, so that it faces us.")
    ] = 0.0,
    licence: Annotated[str, typer.Option(help="Of the scan; kept in the case.")] = "unknown",
    size: _Size = 768,
    samples: _Samples = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Turn a scan into cases by photographing it."""
    from backend.evaluation.output_folder import output_folder
    from synthdata.cases.run import make_scan_cases
    from synthdata.cases.worker import ScanJob

    if units not in ("m", "cm", "mm"):
        raise BadInput(f"units '{units}' are unknown; take m, cm or mm")
    if up not in ("y", "z"):
        raise BadInput(f"up axis '{up}' is unknown; take y or z")
    for path in (scan, albedo, hdri, *([normal] if normal else []), *(relit_hdri or [])):
        if not path.is_file():
            raise BadInput(f"there is no file '{path}'")
    if any(path.resolve() == hdri.resolve() for path in relit_hdri or []):
        raise BadInput(f"'{hdri}' lights the photograph; relight the truth with another panorama")
    views = tuple(dict.fromkeys(view or [0.0]))
    job = ScanJob(
        scan=str(scan.resolve()),
        albedo=str(albedo.resolve()),
        normal=None if normal is None else str(normal.resolve()),
        hdri=str(hdri.resolve()),
        relit_hdris=tuple(str(path.resolve()) for path in relit_hdri or []),
        yaws_degrees=views,
        units=units,
        up=up,
        turn_degrees=turn,
        licence=licence,
        out=str(out.resolve()),
        size=size,
        samples=samples,
        seed=seed,
    )
    with output_folder(out), _reporter() as reporter:
        made = make_scan_cases(job, _shown(reporter, len(views), 0))
    for folder in made:
        typer.echo(str(folder))


def _names(listed: str) -> tuple[str, ...]:
    """Comma-separated names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))


def _panoramas(folder: Path) -> tuple[Path, ...]:
    found = tuple(sorted(path for path in folder.glob("*") if path.suffix.lower() in (".hdr", ".exr")))
    if not found:
        raise Missing(f"'{folder}' holds no .hdr or .exr panoramas; give a folder of them with --hdris")
    return found


def _reporter() -> AbstractContextManager[Reporter]:
    from backend.progress import progress_reporter

    return progress_reporter(enabled=True)


def _shown(reporter: Reporter, total: int, done: int) -> Callable[[Told], None]:
    ended: set[str] = set()

    def show(told: Told) -> None:
        number = done + len(ended | {told.case})
        reporter.on_progress(f"{told.case} ({number} of {total})", told.share)
        if told.error or told.share >= 1:
            ended.add(told.case)

    return show
