"""The speed of the rewrite itself: `plan` and `apply` over model size and depth, with a profile.

``python -m benchmarks.rewriting --output benchmarks/results`` writes ``rewriting.json``, ``.csv``, ``.md`` and
``.png``.
"""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path
from typing import Annotated, Final

import torch
import typer
from rich.console import Console

import rewriter
from benchmarks.model_results import command_of, number
from benchmarks.plot import write_growth
from benchmarks.rewrite_times import measure_rewrite, without_values
from rewriter.bench.environment import environment
from rewriter.bench.growth import exponent
from rewriter.bench.progress import progress_bar
from rewriter.bench.results import Bound, Results, Row

MODELS: Final = ("timm:vit_tiny_patch16_224", "timm:vit_small_patch16_224", "timm:vit_base_patch16_224")
DEPTHS: Final = (2, 4, 8, 16, 32, 64, 96)
_DEEP: Final = "timm:vit_tiny_patch16_224?depth={}&embed_dim=64&num_heads=2&img_size=32"
_INIT_LIMIT: Final = 1.5
_SITE_LIMIT: Final = 1.5
_LINEAR: Final = 1.1
"""A fitted exponent that counts as linear, since the measurements scatter."""
_NOTES: Final = (
    "Times are medians in s. `init` is what torch takes to make and draw linears of the same sizes; `peak` is the most "
    "memory that `apply` held at once above the model, in MB, `largest_site` the new weights of the largest site."
)
_NARROW: Final = (
    *("model", "nodes", "plan_s", "apply_s", "apply_to_init", "ms_per_node", "peak", "peak_to_site"),
    *("what", "exponent", "function", "file", "calls", "own_s", "with_callees_s"),
)


def bounds(sizes: list[Row], exponents: list[Row]) -> list[Bound]:
    """Compare with what a rewrite may cost: of the last model in time, of all in memory, of the depths in growth."""
    found = [
        Bound(
            f"apply in place / initialising as much: {sizes[-1]['model']}",
            _INIT_LIMIT,
            number(sizes[-1], "apply_to_init"),
        )
    ]
    for row in sizes:
        found.append(
            Bound(f"peak memory of apply / largest site: {row['model']}", _SITE_LIMIT, number(row, "peak_to_site"))
        )
    for row in exponents:
        found.append(Bound(f"{row['what']}: exponent over the graph's nodes", _LINEAR, number(row, "exponent")))
    return found


def fitted(rows: list[Row]) -> list[Row]:
    """Fit how the times of `plan` and `apply` grow with the nodes of the graph."""
    return [{"what": what, "exponent": round(exponent(_points(rows, what)), 3)} for what in ("plan", "apply")]


def profile(source: str, method: str, rows: int = 20) -> list[Row]:
    """Return the functions in which `plan` and `apply` in place spend most, by their own time."""
    model = without_values(source)
    profiler = cProfile.Profile()
    profiler.enable()
    rewriter.apply(model, rewriter.plan(model, method), inplace=True)
    profiler.disable()
    statistics = pstats.Stats(profiler).get_stats_profile()
    largest = sorted(statistics.func_profiles.items(), key=lambda item: -item[1].tottime)[:rows]
    return [
        {
            "function": name,
            "file": "/".join(Path(one.file_name).parts[-2:]),
            "line": one.line_number,
            "calls": one.ncalls,
            "own_s": one.tottime,
            "with_callees_s": one.cumtime,
        }
        for name, one in largest
    ]


def main(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="SOURCE…", help="default: ViT tiny, small, base")
    ] = None,
    method: Annotated[str, typer.Option(help="of the rewrite")] = "hdfgd",
    rounds: Annotated[int, typer.Option(help="measured rounds")] = 5,
    depth: Annotated[list[int] | None, typer.Option(help="of the deep, narrow ViT; may be repeated")] = None,
    threads: Annotated[int | None, typer.Option(help="of torch; default: all cores")] = None,
    output: Annotated[Path | None, typer.Option(help="folder of the result files")] = None,
) -> None:
    """Measure, print tables, and write the results."""
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = list(models or MODELS)
    sources = [*chosen, *(_DEEP.format(number) for number in depth or DEPTHS)]
    rows = []
    with progress_bar() as progress:
        bar = progress.add_task("rewriting", total=len(sources) + 1)
        for source in sources:
            progress.update(bar, description=source)
            rows.append(measure_rewrite(source, method, rounds))
            progress.advance(bar)
        progress.update(bar, description=f"profile of {chosen[-1]}")
        hot = profile(chosen[-1], method)
        progress.advance(bar)
    sizes, deep = rows[: len(chosen)], rows[len(chosen) :]
    exponents = fitted(deep)
    facts = {**environment(), "threads": str(torch.get_num_threads()), "rounds": str(rounds)}
    tables: dict[str, list[Row]] = {
        "Models": sizes,
        "Depth": deep,
        "Fitted exponents": exponents,
        f"Profile of {chosen[-1]}": hot,
    }
    results = Results(
        "The speed of the rewrite", command_of("rewriting"), facts, tables, bounds(sizes, exponents), _NOTES, _NARROW
    )
    console = Console()
    for table in results.rich_tables():
        console.print(table)
    if output is not None:
        results.write(output, "rewriting")
        lines = {what: _points(deep, what) for what in ("plan", "apply")}
        write_growth(output / "rewriting.png", results.title, {"nodes of the graph": lines}, "s")


def _points(rows: list[Row], what: str) -> list[tuple[float, float]]:
    return [(number(row, "nodes"), number(row, f"{what}_s")) for row in rows]


if __name__ == "__main__":
    typer.run(main)
