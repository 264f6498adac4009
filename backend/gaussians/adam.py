"""Adam (Kingma and Ba 2015) on NumPy arrays: torch takes 3 s to load, longer than it works here."""

from __future__ import annotations

import numpy as np

from backend.artifacts import F32

_FIRST, _SECOND, _LEAST = 0.9, 0.999, 1e-8


class Adam:
    """Moves named ``parameters`` in place, each with its own rate."""

    def __init__(self, parameters: dict[str, F32], rates: dict[str, float]) -> None:
        """``rates`` has a learning rate for every name."""
        self._parameters, self._rates = parameters, dict(rates)
        self._means = {name: np.zeros_like(a) for name, a in parameters.items()}
        self._squares = {name: np.zeros_like(a) for name, a in parameters.items()}
        self._count = 0

    def step(self, gradients: dict[str, F32]) -> None:
        """One step against ``gradients``, which have the parameters' names and shapes."""
        self._count += 1
        for name, gradient in gradients.items():
            mean, square = self._means[name], self._squares[name]
            mean += (1 - _FIRST) * (gradient - mean)
            square += (1 - _SECOND) * (gradient * gradient - square)
            spread = np.sqrt(square / (1 - _SECOND**self._count)) + _LEAST
            self._parameters[name] -= self._rates[name] / (1 - _FIRST**self._count) * mean / spread

    def slow(self, factor: float) -> None:
        """Multiply all rates by ``factor``."""
        self._rates = {name: rate * factor for name, rate in self._rates.items()}
