"""What a set's small pictures cost to decode is paid once: results kept in memory up to a number of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

Result = TypeVar("Result")


class Kept:
    """The first results that fit into ``most_bytes``; later ones are made each time. Safe from threads.

    What is handed out is shared: nobody writes into it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._results: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """The result of ``key``; ``make`` always gives the same for it."""
        with self._lock:
            if key in self._results:
                found: Result = self._results[key]
                return found
        made = make()
        size = bytes_of(made)
        with self._lock:
            if key not in self._results and size <= self._left:
                self._results[key] = made
                self._left -= size
        return made


def bytes_of(value: object) -> int:
    """Of the tensors and arrays in ``value``, a tuple or dataclass of them or one itself."""
    if isinstance(value, Tensor | np.ndarray):
        return int(value.nbytes)
    if isinstance(value, tuple):
        return sum(bytes_of(one) for one in value)
    if is_dataclass(value):
        return sum(bytes_of(getattr(value, field.name)) for field in fields(value))
    return 0
