"""Comparing latencies: the candidates run in turn, so that they share whatever the machine does meanwhile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 30


def interleaved_medians(
    candidates: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, on_round: Callable[[], None] | None = None
) -> dict[str, float]:
    """Run every candidate once a round and return each one's median time in milliseconds.

    Two rounds before the first measured one warm up. Only ratios within one call mean anything.

    Args:
        candidates: what to run, by name.
        rounds: how often each one is measured.
        on_round: called after each measured round.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(-2, rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if number >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
        if on_round is not None and number >= 0:
            on_round()
    return {name: statistics.median(measured) for name, measured in times.items()}
