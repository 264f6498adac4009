"""``likeness train``. Only light imports at the top: ``likeness --help`` must not pay for torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.errors import BadInput

train_app = typer.Typer(
    help="Train the learned parts of MARCUS-Avatar and FiCA on sets of `likeness synth run` (docs/training).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Set = Annotated[Path, typer.Option("--set", metavar="DIR", help="A training set.")]
_Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="DIR", help="Checkpoints, pictures, numbers and the product.")
]
_Recipe = Annotated[
    str | None, typer.Option(metavar="NAME|YAML", help="paper, tiny or a file; a resume keeps its own.")
]
_Weights = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder of LongCat-Image-Edit, for `paper`.")
]
_Head = Annotated[str, typer.Option(help="Whose chart and shape the set has: open or hifi3dpp:PATH.")]
_Start = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Published weights to start from, instead of random ones.")
]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in DIR.")]
_Cpu = Annotated[bool, typer.Option("--cpu", help="Use the processor even where there is a GPU.")]


@train_app.command()
def inpaint(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Weights = None,
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """LoRA that completes a partial texture: T_inc to T_env by flow matching."""
    from backend.training.session import Asked, run_training

    run_training(Asked("inpaint", data, out, recipe, resume, cpu, weights=weights))


@train_app.command()
def homogenise(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Weights = None,
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """LoRA that takes the light out of a texture: T_env to T_hom by flow matching."""
    from backend.training.session import Asked, run_training

    run_training(Asked("homogenise", data, out, recipe, resume, cpu, weights=weights))


@train_app.command()
def materials(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Weights = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """Three LoRA branches, albedo, normal and reflectance: alone, then joined and shaded."""
    from backend.training.session import Asked, run_training

    run_training(Asked("materials", data, out, recipe, resume, cpu, weights=weights, head=head))


@train_app.command()
def geometry(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    head: _Head = "open",
    start: _Start = None,
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """Encoder from a portrait to a head's coefficients, self-supervised.

    SET may also be a folder that `likeness train portraits` made of photographs.
    """
    from backend.training.session import Asked, run_training

    run_training(Asked("geometry", data, out, recipe, resume, cpu, head=head, start=start))


@train_app.command()
def portraits(
    photos: Annotated[Path, typer.Argument(metavar="DIR", help="Photographs, folders within it included.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where the portraits go.")],
    head: _Head = "open",
    workers: Annotated[int, typer.Option(help="Processes at work.", min=1)] = 1,
) -> None:
    """Prepare photographs for `geometry`: faces found, aligned for HEAD, landmarks and skin marked.

    Run again, it goes on where it was.
    """
    from backend.head.registry import load_head
    from backend.marcus.training.landmarked import standard_five
    from backend.marcus.training.photographs import prepare
    from backend.progress import progress_reporter

    if not photos.is_dir():
        raise BadInput(f"'{photos}' is no folder; give one of photographs")
    if not out.parent.is_dir() or out.is_file():
        raise BadInput(f"'{out}' cannot be made; choose another folder")
    standard = standard_five(load_head(head), head)
    with progress_reporter(enabled=True) as reporter:
        made = prepare(
            photos, out, standard, workers, lambda done, of: reporter.on_progress("portraits", done / of)
        )
    typer.echo(f"{out}: {made.portraits} portraits, {made.left_out} left out (why: portraits.jsonl)")


@train_app.command()
def superres(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    start: _Start = None,
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """Real-ESRGAN, fine-tuned on the sets' maps."""
    from backend.training.session import Asked, run_training

    run_training(Asked("superres", data, out, recipe, resume, cpu, start=start))


_Frozen = Annotated[
    Path | None, typer.Option("--weights", metavar="DIR", help="Frozen networks (docs/training/fica.md).")
]
_Before = Annotated[
    Path | None, typer.Option("--start", metavar="DIR", help="The result of the part that comes before.")
]


def _fica(
    task: str,
    data: Path,
    out: Path,
    recipe: str | None,
    resume: bool,
    cpu: bool,
    head: str,
    **more: Path | None,
) -> None:
    from backend.training.session import Asked, run_training

    run_training(Asked(task, data, out, recipe, resume, cpu, head=head, **more))


@train_app.command("fica-codec")
def fica_codec(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """FiCA: the autoencoder of texture and geometry maps."""
    _fica("fica-codec", data, out, recipe, resume, cpu, head)


@train_app.command("fica-conditioning")
def fica_conditioning(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Frozen = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """FiCA: UV, vertex and normal of every pixel of a portrait."""
    _fica("fica-conditioning", data, out, recipe, resume, cpu, head, weights=weights)


@train_app.command("fica-completion")
def fica_completion(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Frozen = None,
    start: _Before = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """FiCA: diffusion transformer from partial to complete texture and geometry."""
    _fica("fica-completion", data, out, recipe, resume, cpu, head, weights=weights, start=start)


@train_app.command("fica-refinement")
def fica_refinement(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    weights: _Frozen = None,
    start: _Before = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """FiCA: feed-forward refinement of a completed head against its portrait."""
    _fica("fica-refinement", data, out, recipe, resume, cpu, head, weights=weights, start=start)


@train_app.command("fica-prior")
def fica_prior(
    data: _Set,
    out: _Out,
    recipe: _Recipe = None,
    head: _Head = "open",
    resume: _Resume = False,
    cpu: _Cpu = False,
) -> None:
    """FiCA: the universal prior, from texture, geometry and a drive to Gaussians."""
    _fica("fica-prior", data, out, recipe, resume, cpu, head)


_Trained = "the folder of `likeness train fica-{} -o`"


@train_app.command("fica-pack")
def fica_pack(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="NETWORKS", help="A new folder.")],
    completion: Annotated[Path, typer.Option(metavar="DIR", help=_Trained.format("completion"))],
    refinement: Annotated[Path, typer.Option(metavar="DIR", help=_Trained.format("refinement"))],
    prior: Annotated[Path, typer.Option(metavar="DIR", help=_Trained.format("prior"))],
    conditioning: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=f"{_Trained.format('conditioning')}; without it the head fit says what a portrait shows",
        ),
    ] = None,
    clip: Annotated[
        Path | None, typer.Option(metavar="DIR", help="CLIP ViT-L/14 in transformers' layout, at full size.")
    ] = None,
) -> None:
    """FiCA: the trained parts as one folder, for `likeness reconstruct --splats --splats-by NETWORKS`."""
    from backend.fica.networks import Trainings, pack

    manifest = pack(Trainings(completion, refinement, prior, conditioning, clip), out)
    typer.echo(f"{out}: {manifest.size} networks, {', '.join(manifest.parts)} ({manifest.digest()[:12]})")


@train_app.command("fica-measure")
def fica_measure(
    task: Annotated[
        str, typer.Argument(help="fica-codec, -conditioning, -completion, -refinement, -prior or -path.")
    ],
    data: _Set,
    result: Annotated[Path | None, typer.Option(metavar="DIR", help="What was trained.")] = None,
    start: _Before = None,
    recipe: Annotated[str, typer.Option(metavar="NAME|YAML")] = "tiny",
    weights: _Frozen = None,
) -> None:
    """FiCA: a trained part, or all as packed, on the set's held-out people, against simpler ones."""
    from backend.fica.training.measure_command import Measurement, measured

    for line in measured(Measurement(task, data, recipe, result, start, weights)):
        typer.echo(str(line))


@train_app.command()
def show(
    task: Annotated[str, typer.Argument(help="geometry, inpaint, homogenise, materials, superres, fica-….")],
    recipe: Annotated[str, typer.Option(metavar="NAME|YAML")] = "paper",
) -> None:
    """Print a recipe as YAML with every field, to be changed and given back as --recipe."""
    from backend.training.recipe import known_recipes, read_recipe, written

    if task not in known_recipes():
        raise BadInput(f"there is no trainer '{task}'; take one of {', '.join(known_recipes())}")
    typer.echo(written(read_recipe(task, recipe)), nl=False)
