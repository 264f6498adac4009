"""Models from folders in diffusers' layout: every tensor that belongs there, and none besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from backend.errors import BadWeights, Missing
from backend.weights.reading import read_safetensors

Model = TypeVar("Model")

CONFIG = "config.json"
NAMES = ("diffusion_pytorch_model", "model")


def read_json(path: Path) -> dict[str, Any]:
    """An object from a ``.json`` file. Raises: Missing, BadWeights."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"no '{path}'; likeness weights fetch says how to get it") from error
    except (OSError, ValueError) as error:
        raise BadWeights(f"'{path}' cannot be read ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise BadWeights(f"'{path}' holds no JSON object; fetch it again")
    return content


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of ``folder``: one, or all that its index names. Raises: Missing, BadWeights."""
    for name in NAMES:
        index = folder / f"{name}.safetensors.index.json"
        if index.is_file():
            shards = sorted(set(read_json(index).get("weight_map", {}).values()))
            return tuple(folder / Path(str(shard)).name for shard in shards)
        if (folder / f"{name}.safetensors").is_file():
            return (folder / f"{name}.safetensors",)
    raise Missing(f"no weights in '{folder}'; likeness weights fetch says how to get them")


def load_diffusers(kind: type[Model], folder: Path, dtype: Any) -> Model:
    """A diffusers model of class ``kind`` from ``folder`` on the CPU, for inference.

    Raises: Missing (no files), BadWeights (of another class, tensors missing, surplus or of another shape).
    """
    import torch

    config = read_json(folder / CONFIG)
    if config.get("_class_name") != kind.__name__:
        raise BadWeights(
            f"'{folder}' holds a {config.get('_class_name', 'nameless model')}, expected {kind.__name__}"
        )
    with torch.device("meta"):
        model: Any = kind.from_config(config)  # type: ignore[attr-defined]
    state = {key: t for file in weight_files(folder) for key, t in read_safetensors(file).items()}
    refuse_differences(folder, {k: tuple(v.shape) for k, v in model.state_dict().items()}, state)
    model.load_state_dict({k: t.to(dtype) for k, t in state.items()}, assign=True)
    model.requires_grad_(False)
    loaded: Model = model.eval()
    return loaded


def refuse_differences(where: Path, expected: dict[str, tuple[int, ...]], state: dict[str, Any]) -> None:
    """Raises: BadWeights naming the first tensor that is missing, surplus or of another shape."""
    for words, keys in (
        ("lacks", expected.keys() - state.keys()),
        ("has unknown", state.keys() - expected.keys()),
    ):
        if keys:
            raise BadWeights(
                f"'{where}' {words} {len(keys)} of {len(expected)} tensors, first {min(keys)}; "
                "it is damaged or another model; fetch it again"
            )
    for key, shape in expected.items():
        if tuple(state[key].shape) != shape:
            raise BadWeights(
                f"'{where}' has {key} as {tuple(state[key].shape)}, expected {shape}; it is another model"
            )
