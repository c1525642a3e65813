"""``rewrite-model bench``: original and rewritten, interleaved in one run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rewriter.bench.comparison import compare_deployed, compare_models
from rewriter.bench.pair import Pair, rewritten_pair
from rewriter.bench.results import Results
from rewriter.bench.settings import Settings
from rewriter.calibration.prepared import prepared_calibration
from rewriter.cli.arguments import (
    CheckpointOption,
    InputShapeOption,
    JsonOption,
    TrustPickleOption,
    takes_method_options,
)
from rewriter.cli.bench_settings import takes_bench_settings
from rewriter.cli.opening import open_folder, open_source
from rewriter.cli.output import console
from rewriter.errors import UsageError
from rewriter.names import require_known
from rewriter.sources.source import load_source
from rewriter.storage import RECIPE

STEM = "bench"
_KINDS = ("infer", "train", "deploy")


@takes_method_options
@takes_bench_settings
def bench_command(
    options: dict[str, Any],
    settings: Settings,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="DIR|SOURCE", help="a rewritten folder, or a source to rewrite")
    ] = None,
    model_list: Annotated[
        Path | None, typer.Option("--model-list", metavar="FILE", help="a DIR or SOURCE on every line")
    ] = None,
    bench: Annotated[str, typer.Option(help="infer, train or deploy")] = "infer",
    runners: Annotated[str, typer.Option(help="of deploy, commas between; default: all that are here")] = "",
    threads: Annotated[str, typer.Option(help="numbers of threads, commas between; default: torch's")] = "",
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    trust_pickle: TrustPickleOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help=f"write {STEM}.json, .csv and .md there")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure original and rewritten models side by side: speed, memory, and the floor of their matrix products."""
    kind = require_known(bench, _KINDS, "benchmark")
    names = named_models(what or [], model_list)
    pairs = [open_pair(name, options, checkpoint, input_shape, trust_pickle) for name in names]
    results = measure(kind, pairs, settings, runners, threads, "rewrite-model " + shlex.join(sys.argv[1:]))
    show(results, as_json)
    if output is not None:
        results.write(output, STEM)


def named_models(what: Sequence[str], model_list: Path | None) -> list[str]:
    """List what to measure: the arguments, then the lines of the file that are not empty.

    Raises:
        UsageError: there is nothing, or the file cannot be read.
    """
    lines: list[str] = []
    if model_list is not None:
        try:
            lines = model_list.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                expected="a text file of sources", found=f"{model_list}: {error}", remedy="correct --model-list"
            ) from error
    names = [*what, *(line.strip() for line in lines if line.strip())]
    if not names:
        raise UsageError(
            expected="a DIR or SOURCE to measure", found="none", remedy="name one, such as timm:vit_tiny_patch16_224"
        )
    return names


def open_pair(
    name: str, options: dict[str, Any], checkpoint: Path | None, input_shape: str | None, trust_pickle: bool = False
) -> Pair:
    """Open a rewritten folder and its original, or rewrite a source with the options."""
    if (Path(name) / RECIPE).is_file():
        opened = open_folder(Path(name))
        original = load_source(opened.source.spec, trained=False).model
        return Pair(opened.source.spec, original, opened.model, opened.recipe, opened.inputs)
    source = open_source(name, checkpoint, input_shape, trust_pickle=trust_pickle)
    own = dict(options)
    if "calibration" in own:
        own["calibration"] = prepared_calibration(own["calibration"], source)
    return rewritten_pair(source, own)


def measure(kind: str, pairs: Sequence[Pair], settings: Settings, runners: str, threads: str, command: str) -> Results:
    """Measure pairs of models; ``runners`` and ``threads`` have commas between them.

    Raises:
        UsageError: a runner that is not here, a number of threads that is none, or several where one is meant.
    """
    counts = _thread_counts(threads)
    if kind == "deploy":
        from rewriter.bench.runners import available_runners, require_runner

        chosen = [require_runner(name.strip()) for name in runners.split(",") if name.strip()]
        return compare_deployed(pairs, chosen or available_runners(), counts or [1], settings, command)
    if len(counts) > 1:
        raise UsageError(expected="one number of threads", found=threads, remedy="measure several with --bench deploy")
    settings = replace(settings, threads=counts[0]) if counts else settings
    return compare_models(pairs, "train" if kind == "train" else "infer", settings, command)


def show(results: Results, as_json: bool) -> None:
    """Print the tables, or one JSON object."""
    if as_json:
        print(results.json())
        return
    to = console(as_json)
    for table in results.rich_tables():
        to.print(table)


def _thread_counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(expected="numbers of threads, such as 1,2", found=repr(text), remedy="correct --threads")
    return [int(part) for part in parts]
