"""Timing calls in turn, A B A B, so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from rewriter.bench.allocator import freed_memory_kept

Call = Callable[[], object]
_PAUSE = 0.02  # seconds


@dataclass(frozen=True)
class Times:
    """How long one call took in each round.

    Attributes:
        milliseconds: one number for each round, in order.
    """

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles, as a share of the median."""
        return (self.percentile(75) - self.percentile(25)) / self.median

    def percentile(self, percent: float) -> float:
        """Return the value that ``percent`` per cent of the rounds do not exceed, interpolated, in milliseconds."""
        ordered = sorted(self.milliseconds)
        place = (len(ordered) - 1) * percent / 100
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

    def ratio_to(self, base: Times) -> float:
        """Return the median, over the rounds, of this call's time divided by the other's in the same round."""
        return statistics.median(own / other for own, other in zip(self.milliseconds, base.milliseconds, strict=True))


def interleave(
    calls: Mapping[str, Call], rounds: int, *, warmup: int = 2, on_round: Callable[[], None] | None = None
) -> dict[str, Times]:
    """Time every call once in each round, in the order given.

    Work that a call leaves running on a CUDA device belongs to its time. Freed memory is kept for what comes next.
    Before each call there is a pause, in which the threads of the one before stop waiting for more: where calls run on
    different pools of threads, as those of torch and of ONNX Runtime do, they would take the cores from the next one.

    Args:
        calls: what to time, by name.
        rounds: number of measured rounds.
        warmup: number of rounds before them.
        on_round: called after every round, those of the warm-up too.
    """
    measured: dict[str, list[float]] = {name: [] for name in calls}
    with freed_memory_kept():
        for number in range(-warmup, rounds):
            for name, call in calls.items():
                time.sleep(_PAUSE)
                milliseconds = 1e3 * seconds(call)
                if number >= 0:
                    measured[name].append(milliseconds)
            if on_round is not None:
                on_round()
    return {name: Times(tuple(found)) for name, found in measured.items()}


def seconds(call: Call) -> float:
    """Return how long one call takes, in seconds, what it leaves running on a CUDA device included."""
    _synchronize()
    start = time.perf_counter()
    call()
    _synchronize()
    return time.perf_counter() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
