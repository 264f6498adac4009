"""Which terms the user has accepted, kept beside the weights that they cover."""

from __future__ import annotations

import json
from pathlib import Path

from backend.errors import BadWeights, Missing

FILE = "accepted-licences.json"


def accepted(root: Path) -> dict[str, str]:
    """The sets whose terms were accepted, and the terms then. Raises: BadWeights."""
    path = root / FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(terms) for name, terms in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BadWeights(
            f"'{path}' cannot be read ({error}); delete it and accept the terms again"
        ) from error


def accept(root: Path, name: str, terms: str) -> None:
    """Remember that the user accepted ``terms`` for the set ``name``. Raises: OSError."""
    root.mkdir(parents=True, exist_ok=True)
    content = accepted(root) | {name: terms}
    temporary = root / f"{FILE}.part"
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(root / FILE)


def require_accepted(root: Path, name: str) -> None:
    """Raises: Missing where the user has not accepted the terms of the set ``name``."""
    if name not in accepted(root):
        raise Missing(
            f"the terms of the weights '{name}' are not accepted; read them with `likeness weights list` and "
            f"run `likeness weights fetch {name} --accept-licence`"
        )
