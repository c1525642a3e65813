"""``rewrite-model apply``: rewrite a model and write it to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rewriter.calibration.prepared import prepared_calibration
from rewriter.cli.arguments import (
    CheckpointOption,
    InputShapeOption,
    JsonOption,
    SourceArgument,
    TrustPickleOption,
    takes_method_options,
)
from rewriter.cli.checking import CheckOption, checked, wants_check
from rewriter.cli.opening import open_source, record_of
from rewriter.cli.output import console, print_json, show_report
from rewriter.cli.streaming import ShardSizeOption, StreamOption, WorkersOption, apply_stream, streaming_of
from rewriter.cli.warm_progress import show_warmth, warm_progress
from rewriter.doors import apply, plan
from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.report import Report, report_of
from rewriter.sources.inputs import example_inputs
from rewriter.sources.weights import weight_files
from rewriter.storage import RECIPE, REPORT, WEIGHTS, save
from rewriter.storage.folder import INDEX, require_new

OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="a new folder for the result")]


@takes_method_options
def apply_command(
    source: SourceArgument,
    options: dict[str, Any],
    output: OutputOption,
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    trust_pickle: TrustPickleOption = False,
    stream: StreamOption = False,
    workers: WorkersOption = None,
    shard_size: ShardSizeOption = None,
    check: CheckOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rewrite SOURCE into DIR: model.safetensors, recipe.json, report.json."""
    streaming = streaming_of(stream, workers, shard_size, trust_pickle)
    if streaming is not None:
        _require_nothing_to_run(options, check)
        recipe, shards = apply_stream(source, options, checkpoint, input_shape, output, streaming)
        finite = "its copied weights are finite; it was not run: rewrite-model verify"
        _show(report_of(recipe), recipe, output, [INDEX, f"{len(shards)} shards"], finite, as_json)
        return
    require_new(output)
    progress = console(as_json=True)
    with progress.status(f"loading {source}"):
        loaded = open_source(source, checkpoint, input_shape, trust_pickle=trust_pickle)
        files = weight_files(loaded.spec, checkpoint)
    inputs = example_inputs(loaded.inputs) if loaded.inputs else None
    calibration = prepared_calibration(options.pop("calibration"), loaded) if "calibration" in options else None
    with progress.status("planning"):
        record = record_of(loaded, checkpoint, files)
        recipe = plan(loaded.model, source=record, example_inputs=inputs, calibration=calibration, **options)
    proof = "exactness is not checked"
    if wants_check(check, loaded.model, inputs):
        with progress.status("checking the plan"):
            proof = checked(check, loaded.model, recipe, inputs)
    with warm_progress(progress, f"rewriting {len(recipe.sites)} sites") as on_progress:
        result = apply(loaded.model, recipe, example_inputs=inputs, calibration=calibration, on_progress=on_progress)
        save(result, output)
    finite = "its outputs are finite" if inputs else "its input shape is unknown, so it was not run: --input-shape"
    _show(result.report, recipe, output, [WEIGHTS], f"{proof}, {finite}", as_json)


def _require_nothing_to_run(options: dict[str, Any], check: bool | None) -> None:
    for option, given in (("--calibration", "calibration" in options), ("--check", bool(check))):
        if given:
            raise UsageError(
                expected=f"--stream without {option}, which needs the model in memory",
                found=option,
                remedy="leave one of them out",
            )


def _show(report: Report, recipe: Recipe, output: Path, weights: list[str], proof: str, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    to = console(as_json)
    show_report(to, report, recipe)
    show_warmth(to, report)
    to.print(f"checked: parameters as planned, {proof}")
    to.print(f"wrote {output}/: {', '.join([*weights, RECIPE, REPORT])}")
    to.print(f"load it again: rewriter.restore(fresh_model, {str(output)!r})")
    to.print(f"deploy it:     rewrite-model export {output} --to onnx")
