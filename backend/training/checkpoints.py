"""Checkpoints: whole or not there. A folder is written under another name and renamed when it is on disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.errors import BadInput, OutOfResources

FOLDER = "checkpoints"
_UNFINISHED = ".writing"


def save_checkpoint(
    out: Path,
    step: int,
    weights: dict[str, dict[str, Tensor]],
    optimisers: dict[str, dict[str, Any]],
    kept: int,
) -> Path:
    """Write the state after ``step`` steps, by player; then delete all but the newest ``kept``.

    Raises: OutOfResources when the disk is full.
    """
    folder = out / FOLDER
    final, writing = folder / f"step-{step:08d}", folder / _UNFINISHED
    try:
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        for name, state in weights.items():
            held = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
            save_file(held, writing / f"{name}.safetensors")
        for name, optimiser in optimisers.items():
            torch.save(optimiser, writing / f"{name}.optimiser.pt")
        (writing / "state.json").write_text(json.dumps({"step": step, "players": sorted(weights)}))
        for path in writing.iterdir():
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        writing.rename(final)
    except OSError as error:
        shutil.rmtree(writing, ignore_errors=True)
        raise OutOfResources(f"the checkpoint after step {step} cannot be written ({error})") from error
    for old in checkpoints(out)[:-kept]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints, the oldest first."""
    return sorted((out / FOLDER).glob("step-*"))


def load_checkpoint(folder: Path) -> tuple[int, dict[str, dict[str, Tensor]], dict[str, dict[str, Any]]]:
    """Steps done, and weights and optimisers by player. Raises: BadInput when a file is damaged."""
    try:
        state = json.loads((folder / "state.json").read_text())
        names = state["players"]
        weights = {name: load_file(folder / f"{name}.safetensors") for name in names}
        optimisers = {
            name: torch.load(folder / f"{name}.optimiser.pt", map_location="cpu", weights_only=True)
            for name in names
        }
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, SafetensorError) as error:
        raise BadInput(
            f"the checkpoint '{folder}' is damaged ({error}); delete it and --resume from the one before"
        ) from error
    return int(state["step"]), weights, optimisers


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
