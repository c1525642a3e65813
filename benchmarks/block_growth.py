"""How the cost of blocks grows with width, tokens, terms and depth."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from benchmarks.block_subjects import block, block_step
from rewriter.bench.growth import exponent
from rewriter.bench.interleaved import interleave
from rewriter.bench.results import Cell, Row
from rewriter.bench.settings import Settings

SIZES: Final = {
    "width": (64, 128, 256, 512, 1024, 2048, 4096),
    "tokens": tuple(2**power for power in range(8, 17)),
    "terms": tuple(range(2, 9)),
    "depth": (2, 4, 8, 16, 32, 64, 96),
}
"""The sizes along each axis; the other axes stay at those of `_BASE`."""
_BASE: Final = {"width": 128, "tokens": 256, "terms": 4, "depth": 1}
_HIDDEN: Final = 4  # times the width


@dataclass(frozen=True)
class Place:
    """One size along one axis."""

    axis: str
    size: int


def places(largest: int | None = None) -> list[Place]:
    """List all sizes along all axes; of widths, tokens and depths only those up to ``largest`` if it is given."""
    return [
        Place(axis, size)
        for axis, sizes in SIZES.items()
        for size in sizes
        if largest is None or axis == "terms" or size <= largest
    ]


def measure_growth(place: Place, settings: Settings) -> Row:
    """Measure forward and backward of a stack of MLPs and of its rewrite at equal parameters, in turn, in ms."""
    sizes = _BASE | {place.axis: place.size}
    made = block(many_terms(sizes["terms"]), "silu", "match", sizes["width"], _HIDDEN * sizes["width"], settings)
    stacks = {name: _stack(one, sizes["depth"]) for name, one in (("mlp", made.mlp), ("block", made.rewritten))}
    calls = {
        name: block_step(stack, sizes["tokens"], sizes["width"], settings, backward=True)
        for name, stack in stacks.items()
    }
    times = interleave(calls, settings.num_bench_iter, warmup=settings.num_warm_iter)
    row: Row = {"axis": place.axis, "size": place.size, "hidden": made.hidden}
    row |= {f"{name}_ms": round(found.median, 4) for name, found in times.items()}
    return row | {"to_mlp": round(times["block"].ratio_to(times["mlp"]), 3)}


def many_terms(terms: int) -> str:
    """Return a decomposition of SiLU with so many terms: the mean of all but the last, times the last's sigmoid."""
    linear = "+".join(f"x{number}" for number in range(1, terms))
    return f"({linear})/{terms - 1}*sigmoid(x{terms})"


def fitted(rows: list[Row]) -> list[Row]:
    """Fit the exponent of the time of MLP and block along each axis."""
    return [
        {"axis": axis} | {f"{name}_exponent": round(exponent(points), 3) for name, points in lines.items()}
        for axis, lines in growth_lines(rows)
        if len(next(iter(lines.values()))) > 1
    ]


def growth_lines(rows: list[Row]) -> Iterator[tuple[str, dict[str, list[tuple[float, float]]]]]:
    """Give for each axis the points ``(size, ms)`` of MLP and block."""
    for axis in dict.fromkeys(str(row["axis"]) for row in rows):
        own = [row for row in rows if row["axis"] == axis]
        lines = {}
        for name in ("mlp", "block"):
            lines[name] = [(_number(row["size"]), _number(row[f"{name}_ms"])) for row in own]
        yield axis, lines


def _number(value: Cell) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _stack(one: nn.Module, depth: int) -> nn.Module:
    # The same weights again and again would stay in the caches.
    return nn.Sequential(*(copy.deepcopy(one) for _ in range(depth)))
