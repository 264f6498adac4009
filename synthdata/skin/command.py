"""``likeness synth skin``, which joins through the entry points of this package."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from backend.errors import BadInput


def skin(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Maps go to DIR/skin_<seed>/.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same skin.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many skins, of seeds that follow on.")] = 1,
    size: Annotated[int, typer.Option(min=64, max=8192, help="Texels a side.")] = 1024,
    head: Annotated[str, typer.Option(help="open, ict:PATH or hifi3dpp:PATH.")] = "open",
    sheet: Annotated[bool, typer.Option("--sheet", help="Also draw all maps small, DIR/sheet.png.")] = False,
    scans: Annotated[
        Path | None, typer.Option(help="Folder of scan textures in the head's chart, mixed in.")
    ] = None,
    scan_share: Annotated[
        float, typer.Option(min=0, max=1, help="How much of a scan is mixed in; 1 takes it instead.")
    ] = 1.0,
) -> None:
    """Draw procedural skins: albedo, normal, displacement, roughness, specular (docs/skin.md)."""
    import msgspec

    from backend.head.registry import load_head
    from backend.progress import progress_reporter
    from synthdata.skin.draw import draw_skin
    from synthdata.skin.maps import write_maps
    from synthdata.skin.parameters import sample_parameters
    from synthdata.skin.scans import find_scans, mixed, read_scan
    from synthdata.skin.sheet import sheet_row, write_sheet

    sets = find_scans(scans) if scans is not None else ()
    if out.is_file() or not (out.exists() or out.parent.is_dir()):
        raise BadInput(f"output folder '{out}' cannot be made; choose another")
    folders = [out / f"skin_{number}" for number in range(seed, seed + count)]
    for folder in folders:
        if folder.exists():
            raise BadInput(f"'{folder}' is there already; delete it or choose another output folder")
    model = load_head(head)
    out.mkdir(exist_ok=True)
    rows = []
    with progress_reporter(enabled=True) as reporter:
        for number, folder in zip(range(seed, seed + count), folders, strict=True):
            parameters = sample_parameters(number)
            maps = draw_skin(
                parameters,
                model,
                size,
                on_progress=partial(reporter.on_progress, folder.name),
            )
            if sets:
                maps = mixed(maps, read_scan(sets[number % len(sets)], size), scan_share)
            write_maps(maps, folder)
            (folder / "parameters.json").write_bytes(
                msgspec.json.format(msgspec.json.encode(parameters), indent=2) + b"\n"
            )
            typer.echo(str(folder))
            if sheet:
                rows.append(sheet_row(maps))
    if sheet:
        write_sheet(rows, out / "sheet.png")
        typer.echo(str(out / "sheet.png"))
