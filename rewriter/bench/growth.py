"""How a cost grows: the exponent of a power law, fitted to measurements."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from rewriter.errors import UsageError


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return e of the least-squares fit ``log cost = e·log size + c`` through points ``(size, cost)``.

    Raises:
        UsageError: fewer than two different sizes.
    """
    sizes, costs = [log(size) for size, _ in points], [log(cost) for _, cost in points]
    if len(set(sizes)) < 2:
        raise UsageError(expected="at least two sizes", found=str(len(set(sizes))), remedy="measure more of them")
    mean, middle = sum(sizes) / len(sizes), sum(costs) / len(costs)
    return sum((x - mean) * (y - middle) for x, y in zip(sizes, costs, strict=True)) / sum(
        (x - mean) ** 2 for x in sizes
    )
