"""How far a fine-tuning is, by steps or by time, and what follows from that."""

from __future__ import annotations

import math

from rewriter.finetune.settings import FinetuneSettings

_WARM_UP = 0.05
_ANNEALED = 0.4  # of the way, where the number of steps was not given


class Budget:
    """The way from the first step to the end, as a progress from 0 to 1.

    Args:
        settings: with the steps, the seconds, or both.
    """

    def __init__(self, settings: FinetuneSettings) -> None:
        self._settings = settings

    def progress(self, step: int, elapsed: float) -> float:
        """Return how far it is before a step (counted from 0), after so many seconds of training; 1 means done."""
        steps, seconds = self._settings.steps, self._settings.seconds
        parts = [step / steps if steps else 0.0, elapsed / seconds if seconds else 0.0]
        return min(1.0, max(parts))

    def rate(self, progress: float) -> float:
        """Return the learning rate: it rises over a twentieth of the way, then falls to 0 along a cosine."""
        warm = min(1.0, (progress + 1e-3) / _WARM_UP)
        return self._settings.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))

    def anneal_weight(self, step: int, progress: float) -> float:
        """Return the weight of the new functions."""
        steps = self._settings.anneal_steps
        if steps is None:
            return min(1.0, progress / _ANNEALED)
        return min(1.0, step / steps) if steps else 1.0
