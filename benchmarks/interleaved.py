"""Timing several calls against a reference, interleaved, so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from rewriter.bench.interleaved import Call, seconds


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds.

    Attributes:
        milliseconds: of the call.
        ratio: of the call's time to that of the reference just before it.
    """

    milliseconds: float
    ratio: float


def against(reference: Call, calls: Mapping[str, Call], rounds: int) -> dict[str, Timing]:
    """Time every call once in each round, the reference directly before it.

    Args:
        reference: what the ratios are to.
        calls: what to time, by name; each is run once before the first round.
        rounds: number of rounds.
    """
    for call in (reference, *calls.values()):
        call()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            base = seconds(reference)
            times[name].append((seconds(call), base))
    return {
        name: Timing(
            1e3 * statistics.median(own for own, _ in pairs), statistics.median(own / base for own, base in pairs)
        )
        for name, pairs in times.items()
    }
