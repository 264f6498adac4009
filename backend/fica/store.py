"""Networks on disk: safetensors beside a JSON of what they were built with. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from backend.errors import BadWeights, Missing
from backend.weights.reading import read_safetensors

Part = Literal["codec", "conditioning", "completion", "semantic", "refinement", "prior"]
SETTINGS = "fica.json"


def save_network(folder: Path, part: Part, network: nn.Module, size: str, texels: int) -> None:
    """``PART.safetensors`` in ``folder``, and what it is in fica.json."""
    from safetensors.torch import save_file

    held = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
    save_file(held, folder / f"{part}.safetensors")
    known = _settings(folder) if (folder / SETTINGS).exists() else {}
    known[part] = {"size": size, "texels": texels}
    (folder / SETTINGS).write_text(json.dumps(known, indent=2) + "\n", "utf-8")


def load_network(folder: Path, part: Part, network: nn.Module, size: str, texels: int) -> None:
    """Weights of ``part`` into ``network``.

    Raises: Missing (no such part), BadWeights (of another size, damaged).
    """
    settings = _settings(folder).get(part)
    if settings is None:
        raise Missing(f"'{folder}' holds no {part}; `likeness train fica-{part}` makes one")
    if settings != {"size": size, "texels": texels}:
        raise BadWeights(
            f"the {part} in '{folder}' is {settings.get('size')} with {settings.get('texels')} texels, "
            f"wanted is {size} with {texels}"
        )
    state: dict[str, Tensor] = read_safetensors(folder / f"{part}.safetensors")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise BadWeights(f"'{folder / part}.safetensors' is of another network ({reason})") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in lower-case hexadecimal. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise Missing(f"'{folder}' holds no network of FiCA ({SETTINGS} is missing)") from error
    except (OSError, ValueError) as error:
        raise BadWeights(f"'{path}' cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise BadWeights(f"'{path}' is damaged; train again")
    return found
