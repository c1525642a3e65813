"""``rewrite-model apply``: rewrite a model and write it to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rewriter.cli.arguments import (
    CheckpointOption,
    InputShapeOption,
    JsonOption,
    SourceArgument,
    takes_method_options,
)
from rewriter.cli.opening import open_source, record_of
from rewriter.cli.output import console, print_json, show_report
from rewriter.doors import apply, plan
from rewriter.sources.inputs import example_inputs
from rewriter.storage import RECIPE, REPORT, WEIGHTS, save
from rewriter.storage.folder import require_new

OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="a new folder for the result")]


@takes_method_options
def apply_command(
    source: SourceArgument,
    options: dict[str, Any],
    output: OutputOption,
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rewrite SOURCE into DIR: model.safetensors, recipe.json, report.json."""
    require_new(output)
    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"loading {source}"):
        loaded = open_source(source, checkpoint, input_shape)
    with progress.status("planning"):
        recipe = plan(loaded.model, source=record_of(loaded, checkpoint), **options)
    with progress.status(f"rewriting {len(recipe.sites)} sites"):
        inputs = example_inputs(loaded.inputs) if loaded.inputs else None
        result = apply(loaded.model, recipe, example_inputs=inputs)
        save(result, output)
    if as_json:
        print_json(result.report)
        return
    show_report(to, result.report, recipe)
    checked = "its outputs are finite" if inputs else "its input shape is unknown, so it was not run: --input-shape"
    to.print(f"checked: parameters as planned, {checked}")
    to.print(f"wrote {output}/: {WEIGHTS}, {RECIPE}, {REPORT}")
    to.print(f"load it again: rewriter.restore(fresh_model, {str(output)!r})")
    to.print(f"deploy it:     rewrite-model export {output} --to onnx")
