"""Training steps of whole models, original and rewritten in turn; the same as ``rewrite-model bench --bench train``.

``python -m benchmarks.train --method hdfgd --width paper --output benchmarks/results`` writes ``train.json``,
``.csv``, ``.md`` and ``.png``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.model_results import MODEL, command_of, is_ratio, label, number, publish
from rewriter.bench.results import Bound, Row
from rewriter.bench.settings import Settings
from rewriter.cli.arguments import CheckpointOption, InputShapeOption, takes_method_options
from rewriter.cli.bench import measure, named_models, open_pair
from rewriter.cli.bench_settings import takes_bench_settings

_PAPER_LIMIT: Final = 0.80


def bounds(rows: list[Row]) -> list[Bound]:
    """Compare eager training steps of models rewritten at p = 4 with what they should reach."""
    return [
        Bound(f"training step, p = 4 / original: {label(row)}", _PAPER_LIMIT, number(row, "train_ratio"))
        for row in rows
        if is_ratio(row, "train_ratio") and row["mode"] == "eager"
    ]


@takes_method_options
@takes_bench_settings
def main(
    options: dict[str, Any],
    settings: Settings,
    models: Annotated[list[str] | None, typer.Argument(metavar="SOURCE…", help=f"default: {MODEL}")] = None,
    model_list: Annotated[Path | None, typer.Option(help="a SOURCE on every line")] = None,
    threads: Annotated[str, typer.Option(help="number of torch's threads")] = "",
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    output: Annotated[Path | None, typer.Option(help="folder of the result files")] = None,
) -> None:
    """Measure training steps and write the results."""
    names = named_models(models or ([] if model_list else [MODEL]), model_list)
    pairs = [open_pair(name, options, checkpoint, input_shape) for name in names]
    results = measure("train", pairs, settings, "", threads, command_of("train"))
    if options["width"] == "paper":
        results = replace(results, bounds=bounds(list(results.tables["Training"])))
    publish(results, "Training", "train_ratio", output, "train")


if __name__ == "__main__":
    typer.run(main)
