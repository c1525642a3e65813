"""Inference of whole models, original and rewritten in turn; the same as ``rewrite-model bench``, and a picture.

``python -m benchmarks.infer --output benchmarks/results`` writes ``infer.json``, ``.csv``, ``.md`` and ``.png``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.model_results import MODEL, command_of, publish
from rewriter.bench.settings import Settings
from rewriter.cli.arguments import CheckpointOption, InputShapeOption, takes_method_options
from rewriter.cli.bench import measure, named_models, open_pair
from rewriter.cli.bench_settings import takes_bench_settings


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
    """Measure inference and write the results."""
    names = named_models(models or ([] if model_list else [MODEL]), model_list)
    pairs = [open_pair(name, options, checkpoint, input_shape) for name in names]
    results = measure("infer", pairs, settings, "", threads, command_of("infer"))
    publish(results, "Inference", "infer_ratio", output, "infer")


if __name__ == "__main__":
    typer.run(main)
