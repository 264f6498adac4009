"""Recipes of trainers: YAML in, checked by pydantic, one line for what is wrong.

Those that ship lie in ``backend/training/recipes``: ``paper`` has MARCUS-Avatar's numbers (implementation
details), ``tiny`` trains the same code on a processor. What a machine decides (folders) is not in a recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backend.errors import BadInput, Missing

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
RECIPE_FOLDER = Path(__file__).parent / "recipes"
SHIPPED = ("paper", "tiny")  # of every task; some have more


class Part(BaseModel):
    """A part of a recipe: unknown words are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimisation(Part):
    """How weights are changed: AdamW; a warm-up, then a constant rate or one that falls."""

    steps: Positive | None = None
    epochs: Positive | None = None  # of the set's records; either this or steps
    batch: Positive  # samples a step, over all processes
    microbatch: Positive  # samples that one device holds at a time; the rest of the batch is accumulated
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    rate_at_end: Share = 1.0  # of the learning rate, to which it falls in a line after the warm-up
    weight_decay: Weight = 0.01
    betas: tuple[Share, Share] = (0.9, 0.999)
    clip: Annotated[float, Field(gt=0)] = 1.0  # of the gradient's norm
    precision: Literal["bf16", "float32"]  # bf16 where the device has it

    @model_validator(mode="after")
    def _one_length(self) -> Optimisation:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.batch % self.microbatch:
            raise ValueError("batch must be a multiple of microbatch")
        return self

    def steps_for(self, records: int) -> int:
        """Steps of the whole training on a set of ``records``; an epoch has each once, rounded down."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 0) * max(records // self.batch, 1)


class Keeping(Part):
    """What is written on the way."""

    checkpoint_every: Positive
    checkpoints: Positive = 2  # kept; older ones are deleted
    sample_every: Positive  # steps between pictures of samples
    sampled: Positive = 4  # instances on such a picture
    log_every: Positive = 10


class Recipe(Part):
    """What every recipe has."""

    seed: Annotated[int, Field(ge=0)] = 0
    optimisation: Optimisation
    keeping: Keeping


class ReleasedBackbone(Part):
    """LongCat-Image-Edit as published, from the folder given on the command line."""

    kind: Literal["released"]
    gradient_checkpointing: bool = True


class TinyBackbone(Part):
    """The same transformer, small and random, on pixels folded 2×2 in place of a VAE's latents."""

    kind: Literal["tiny"]
    layers: Positive
    single_layers: Positive
    heads: Positive
    head_dim: Positive
    text_dim: Positive
    rope_axes: tuple[Positive, Positive, Positive]
    seed: Annotated[int, Field(ge=0)] = 0


Backbone = Annotated[ReleasedBackbone | TinyBackbone, Field(discriminator="kind")]


class UVFlowRecipe(Recipe):
    """``inpaint`` and ``homogenise``: one LoRA by flow matching."""

    backbone: Backbone
    texels: Annotated[int, Field(gt=0, multiple_of=16)]
    rank: Positive
    caption_dropout: Share  # samples whose caption is empty; guidance needs such
    sampling_steps: Positive  # of the pictures on the way


class ShadingLoss(Part):
    """The UV-space GGX loss (method 3 and appendix)."""

    image: Weight
    perceptual: Weight
    network: Literal["lpips", "gradients"]  # LPIPS from its published files, or the substitute's name
    ambient: tuple[Weight, Weight]  # uniform between
    displacement_dm: Weight  # s_disp; the release's unit is a decimetre


class MaterialsRecipe(Recipe):
    """``materials``: three LoRA branches, alone first and then together."""

    backbone: Backbone
    texels: Annotated[int, Field(gt=0, multiple_of=16)]
    rank: Positive
    caption_dropout: Share
    sampling_steps: Positive
    independent_steps: Annotated[int, Field(ge=0)]  # of all; the others attend across branches and are shaded
    shading: ShadingLoss

    @model_validator(mode="after")
    def _steps_given(self) -> MaterialsRecipe:
        if self.optimisation.steps is None or self.independent_steps > self.optimisation.steps:
            raise ValueError("materials needs optimisation.steps of at least independent_steps")
        return self


class MssfNetwork(Part):
    """The paper's encoder; ``size: tiny`` has few channels and random weights."""

    kind: Literal["mssf"]
    size: Literal["full", "tiny"]


class ResNetNetwork(Part):
    """The release's ResNet; channels of its first stage and blocks of its four."""

    kind: Literal["resnet"]
    width: Positive
    blocks: tuple[Positive, Positive, Positive, Positive]


class GeometryWeights(Part):
    """λ of the loss's terms."""

    photometric: Weight
    landmark: Weight
    perceptual: Weight
    identity: Weight
    expression: Weight
    texture: Weight
    light: Weight


class GeometryRecipe(Recipe):
    """``geometry``: a self-supervised regressor of head coefficients."""

    network: Annotated[MssfNetwork | ResNetNetwork, Field(discriminator="kind")]
    pixels: Annotated[int, Field(gt=0, multiple_of=16)]
    identity: Positive | None = None  # modes of the head that are regressed; all when absent
    weights: GeometryWeights
    embedder: str  # PACKAGE.MODULE:FUNCTION that returns a face network, or `pyramid`, which is none


class SuperresRecipe(Recipe):
    """``superres``: Real-ESRGAN on pairs cut from the sets' maps."""

    features: Positive
    blocks: Positive
    growth: Positive
    scale: Literal[4]
    reduce: Annotated[int, Field(ge=1)]  # the truth is the map shrunk so often: 8K maps teach 4K
    patch: Annotated[int, Field(gt=0, multiple_of=16)]  # side of the truth's patch
    pixel: Weight
    perceptual: Weight
    adversarial: Weight
    adversarial_from: Annotated[int, Field(ge=0)]  # step
    discriminator_features: Positive
    network: Literal["lpips", "gradients"]
    ema: Share


RECIPES: dict[str, type[Recipe]] = {
    "geometry": GeometryRecipe,
    "inpaint": UVFlowRecipe,
    "homogenise": UVFlowRecipe,
    "materials": MaterialsRecipe,
    "superres": SuperresRecipe,
}


def known_recipes() -> dict[str, type[Recipe]]:
    """Every trainer's recipe, by its name."""
    from backend.fica.recipes import FICA_RECIPES

    return {**RECIPES, **FICA_RECIPES}


def shipped_names(task: str) -> tuple[str, ...]:
    """The recipes of a task that ship."""
    more = (path.stem.removeprefix(f"{task}-") for path in sorted(RECIPE_FOLDER.glob(f"{task}-*.yaml")))
    return (*SHIPPED, *(name for name in more if name not in SHIPPED))


def read_recipe(task: str, name_or_path: str) -> Recipe:
    """A recipe of a task that ships (``paper``, ``tiny``), or one's own YAML file.

    Raises: Missing (no such file), BadInput (not YAML, a field missing, unknown or out of range).
    """
    names = shipped_names(task)
    shipped = name_or_path in names
    path = RECIPE_FOLDER / f"{task}-{name_or_path}.yaml" if shipped else Path(name_or_path)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise Missing(
            f"there is no recipe '{name_or_path}'; take {' or '.join(names)}, or the path of a YAML file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the recipe '{name_or_path}' cannot be read ({error})") from error
    return parse_recipe(task, text, name_or_path)


def parse_recipe(task: str, text: str, name: str) -> Recipe:
    """The recipe in ``text``; ``name`` is what errors call it. Raises: BadInput."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"the recipe '{name}' is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise BadInput(f"the recipe '{name}' has no fields; `likeness train show {task}` prints one")
    try:
        return known_recipes()[task].model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        said = first["msg"].removeprefix("Value error, ")
        raise BadInput(f"the recipe '{name}': {f'{where}: ' if where else ''}{said}{more}") from error


def written(recipe: Recipe) -> str:
    """The recipe as YAML, with every default spelt out."""
    import yaml

    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def differences(mine: Any, yours: Any, where: str = "") -> list[str]:
    """Paths of the fields in which two dumped recipes differ."""
    if isinstance(mine, dict) and isinstance(yours, dict):
        keys = sorted(mine.keys() | yours.keys())
        return [d for k in keys for d in differences(mine.get(k), yours.get(k), f"{where}{k}.")]
    return [] if mine == yours else [where.rstrip(".")]
