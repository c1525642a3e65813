"""Blocks: an MLP, its rewrite, the rewrite's own matrix products, and the same as a textbook writes it, in turn.

``python -m benchmarks.blocks --output benchmarks/results`` writes ``blocks.json``, ``.csv``, ``.md`` and ``.png``;
with ``--scaling`` it measures how the cost grows and writes ``blocks-scaling``.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.console import Console

from benchmarks.block_growth import fitted, growth_lines, measure_growth, places
from benchmarks.block_subjects import block
from benchmarks.block_times import DIRECTIONS, measure_block, measure_combine
from benchmarks.plot import write_bars, write_growth
from rewriter.bench.environment import environment
from rewriter.bench.progress import progress_bar
from rewriter.bench.results import Bound, Results, Row
from rewriter.bench.roofline import Roofline, measure_roofline
from rewriter.bench.settings import Precision, Settings
from rewriter.errors import RewriterError

SUBJECTS: Final = (
    ("gelu/4", "gelu", "paper"),
    ("tanh/4", "tanh", "paper"),
    ("gelu/3", "gelu", "match"),
    ("gelu/4", "gelu", "match"),
    ("tanh/4", "tanh", "match"),
)
"""Decomposition, activation of the MLP, and width; ``paper`` is p = 4."""
_PAPER_LIMITS: Final = {"forward": 0.67, "forward+backward": 0.62}
_MATCH_LIMITS: Final = {"eager": 1.05, "compiled": 0.97}
_PRODUCT_LIMITS: Final = {"eager": 1.15, "compiled": 1.05}
_TEXTBOOK_LIMIT: Final = 0.75
_MEMORY_LIMIT: Final = 1.0
_NOTES: Final = (
    "Medians in ms and medians of the rounds' ratios; `spread` is the quartile distance over the median. `mlp` is what "
    "the block replaces, `products` are the block's own matrix products alone, `textbook` is the same block with one "
    "linear for each branch and the formula in plain PyTorch. Peaks are MB that torch allocates in a step. `moved` are "
    "the MB that the block must move, `roofline` the least time for that and for its operations on this machine."
)
_NARROW: Final = (
    *("block", "mode", "direction", "mlp_ms", "block_ms", "products_ms", "textbook_ms", "spread", "peak_ratio"),
    *("combine_ms", "of_bandwidth"),
)


def bounds(rows: list[Row]) -> list[Bound]:
    """Compare rows of `measure_block` with what the block should reach."""
    found = []
    for row in rows:
        mode, direction, paper = str(row["mode"]), str(row["direction"]), str(row["block"]).endswith("paper")
        what = f"{row['block']}, {direction}, {mode}"
        if not paper:
            found.append(Bound(f"{what}: block / MLP", _MATCH_LIMITS[mode], _number(row, "to_mlp")))
        elif mode == "eager":
            found.append(Bound(f"{what}: block / MLP", _PAPER_LIMITS[direction], _number(row, "to_mlp")))
        found.append(Bound(f"{what}: block / own products", _PRODUCT_LIMITS[mode], _number(row, "to_products")))
        if mode == "eager" and row.get("to_textbook") is not None:
            found.append(Bound(f"{what}: packed / separate linears", _TEXTBOOK_LIMIT, _number(row, "to_textbook")))
        if DIRECTIONS[direction] and not paper:
            found.append(Bound(f"{what}: peak memory / MLP", _MEMORY_LIMIT, _number(row, "peak_ratio")))
    return found


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for the result files.")] = None,
    tokens: Annotated[int, typer.Option(help="Rows of the input.")] = 4160,
    width: Annotated[int, typer.Option(help="Input and output width.")] = 384,
    hidden: Annotated[int, typer.Option(help="Hidden width of the MLP.")] = 1536,
    num_bench_iter: Annotated[int, typer.Option(help="Measured rounds.")] = 11,
    num_warm_iter: Annotated[int, typer.Option(help="Rounds before them.")] = 2,
    compiled: Annotated[bool, typer.Option(help="Measure torch.compile, too.")] = True,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16 or amp.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Of torch; default: all cores.")] = None,
    only: Annotated[list[str], typer.Option(help="Blocks whose name contains this.")] = [],  # noqa: B006
    scaling: Annotated[bool, typer.Option("--scaling", help="Measure how the cost grows instead.")] = False,
    largest: Annotated[int | None, typer.Option(help="Largest width, tokens and depth of --scaling.")] = None,
) -> None:
    """Measure, print tables, and write the results."""
    try:
        settings = Settings(
            num_bench_iter=num_bench_iter,
            num_warm_iter=num_warm_iter,
            precision=cast(Precision, precision),
            torchcompile=compiled,
            device=device,
            threads=threads,
        )
        facts = {**environment(), "threads": str(settings.use_threads()), "device": device, "precision": precision}
        facts |= {"rounds": str(num_bench_iter)}
        command = "python -m benchmarks.blocks " + shlex.join(sys.argv[1:])
        if scaling:
            results, stem = _growth(settings, facts, command, largest), "blocks-scaling"
        else:
            facts |= {"tokens": str(tokens), "width": str(width), "hidden": str(hidden)}
            results, stem = _blocks(settings, facts, command, (tokens, width, hidden), only), "blocks"
    except RewriterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    console = Console()
    for table in results.rich_tables():
        console.print(table)
    if output is not None:
        results.write(output, stem)
        _draw(results, output / f"{stem}.png")


def _blocks(
    settings: Settings, facts: dict[str, str], command: str, sizes: tuple[int, int, int], only: list[str]
) -> Results:
    tokens, width, hidden = sizes
    roofline = measure_roofline(settings.device, settings.dtype)
    chosen = [one for one in SUBJECTS if not only or any(part in f"{one[0]} {one[2]}" for part in only)]
    rows: list[Row] = []
    combines: list[Row] = []
    with progress_bar() as progress:
        bar = progress.add_task("blocks", total=len(chosen) * len(settings.modes) * (len(DIRECTIONS) + 1))
        for decomposition, activation, kind in chosen:
            made = block(decomposition, activation, kind, width, hidden, settings)
            for mode in settings.modes:
                for direction in DIRECTIONS:
                    progress.update(bar, description=f"{made.name} {direction} {mode}")
                    rows.append(measure_block(made, tokens, settings, mode, direction, roofline))
                    progress.advance(bar)
                combines.append(measure_combine(made, tokens, settings, mode, roofline))
                progress.advance(bar)
    facts |= _peaks(roofline)
    tables = {"Blocks": rows, "The combine alone, forward": combines}
    return Results("Blocks", command, facts, tables, bounds(rows), _NOTES, _NARROW)


def _growth(settings: Settings, facts: dict[str, str], command: str, largest: int | None) -> Results:
    rows = []
    chosen = places(largest)
    with progress_bar() as progress:
        bar = progress.add_task("growth", total=len(chosen))
        for place in chosen:
            progress.update(bar, description=f"{place.axis} {place.size}")
            rows.append(measure_growth(place, settings))
            progress.advance(bar)
    tables = {"Fitted exponents": fitted(rows), "Growth": rows}
    notes = "Forward and backward of a stack of MLPs and of its rewrite at equal parameters; time ~ size^exponent."
    return Results("How the cost of blocks grows", command, facts, tables, notes=notes)


def _peaks(roofline: Roofline) -> dict[str, str]:
    return {
        "memory bandwidth": f"{roofline.bandwidth / 1e9:.1f} GB/s",
        "matrix product": f"{roofline.flops / 1e9:.0f} GFLOP/s",
    }


def _draw(results: Results, path: Path) -> None:
    if "Growth" in results.tables:
        lines = dict(growth_lines([dict(row) for row in results.tables["Growth"]]))
        write_growth(path, results.title, lines, "ms, forward and backward")
        return
    bars = {
        f"{row['block']}, {row['direction']}, {row['mode']}": _number(row, "to_mlp") for row in results.tables["Blocks"]
    }
    write_bars(path, "Time of the block over that of the MLP", "ratio", bars)


def _number(row: Row, column: str) -> float:
    value = row[column]
    assert isinstance(value, int | float)
    return float(value)


if __name__ == "__main__":
    typer.run(main)
