"""Comparing pairs of models: one run, one progress bar, one set of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rewriter.bench.environment import environment
from rewriter.bench.pair import Pair
from rewriter.bench.progress import progress_bar
from rewriter.bench.results import Results, Row
from rewriter.bench.settings import Settings
from rewriter.bench.whole_models import Kind, measure_models, total_rounds

_TITLES: Final = {"infer": "Inference", "train": "Training"}
_NOTES: Final = (
    "Original and rewritten run in turn; times are medians in ms, `ratio` is the median over the rounds of rewritten "
    "over original, `spread` the quartile distance over the median. `floor_time` is the time of the same matrix "
    "products, convolutions and fused attention alone, in the same rounds; `to_floor` the ratio to it. `peak_memory` "
    "is MB that torch allocates in a step, `first_call` is in s, `param_count` in millions."
)
_DEPLOYED_NOTES: Final = (
    "Original and rewritten and all runners run in turn, in one process for each number of threads; times are in ms, "
    "`ratio` is the median over the rounds of rewritten over original with the same runner. First calls and peaks are "
    "those of a fresh process each: `load` and `first_call` in s, `peak_memory` in MB resident beyond what the process "
    "had before."
)


def compare_models(pairs: Sequence[Pair], kind: Kind, settings: Settings, command: str) -> Results:
    """Measure inference or training steps of every pair; `command` is what the results name.

    Raises:
        UsageError: a model does not fit into the memory with a single sample.
    """
    rows: list[Row] = []
    with progress_bar() as progress:
        bar = progress.add_task(_TITLES[kind], total=total_rounds(pairs, settings))
        for pair in pairs:
            label = f"{pair.name} {kind}"

            def on_round(mode: str, label: str = label) -> None:
                progress.update(bar, advance=1, description=f"{label} {mode}")

            rows += measure_models(pair, kind, settings, on_round)
    columns = ("samples_per_sec", "step_time", "ratio", "spread", "to_floor", "peak_memory")
    return Results(
        _TITLES[kind],
        command,
        {**environment(), "rounds": str(settings.num_bench_iter)},
        {_TITLES[kind]: rows},
        notes=_NOTES,
        narrow=("model", "variant", "mode", *(f"{kind}_{column}" for column in columns)),
    )


def compare_deployed(
    pairs: Sequence[Pair], runners: Sequence[str], threads: Sequence[int], settings: Settings, command: str
) -> Results:
    """Measure the latency of every pair with every runner at every number of threads, and how it starts."""
    from rewriter.bench.deployment import (  # ONNX takes seconds to import, and only deployment needs it
        exported,
        measure_latency,
        measure_starts,
    )

    rows: list[Row] = []
    starts: list[Row] = []
    rounds = settings.num_warm_iter + settings.num_bench_iter
    with progress_bar() as progress:
        bar = progress.add_task("Deployment", total=len(pairs) * len(threads) * (rounds + 2 * len(runners)))
        for pair in pairs:
            progress.update(bar, description=f"{pair.name}: exporting")
            with exported(pair, runners) as exports:
                for count in threads:
                    own = replace(settings, threads=count)
                    progress.update(bar, description=f"{pair.name}: {count} threads, starting")
                    starts += measure_starts(pair, exports, runners, own, lambda: progress.advance(bar))
                    progress.update(bar, description=f"{pair.name}: {count} threads")
                    rows += measure_latency(pair, exports, runners, own, lambda: progress.advance(bar))
    return Results(
        "Deployment",
        command,
        {**environment(), "rounds": str(settings.num_bench_iter)},
        {"Latency": rows, "First call and peak memory": starts},
        notes=_DEPLOYED_NOTES,
        narrow=(
            *("model", "width", "runner", "threads", "variant", "p50", "p90", "p99", "ratio"),
            *("load", "first_call", "peak_memory", "error"),
        ),
    )
