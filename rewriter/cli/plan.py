"""``rewrite-model plan``: what would change."""

from __future__ import annotations

from typing import Any

from rewriter.cli.arguments import (
    CheckpointOption,
    InputShapeOption,
    JsonOption,
    SourceArgument,
    takes_method_options,
)
from rewriter.cli.opening import open_source, record_of
from rewriter.cli.output import console, print_json, show_report
from rewriter.doors import plan
from rewriter.report import report_of


@takes_method_options
def plan_command(
    source: SourceArgument,
    options: dict[str, Any],
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a rewrite would change: a table, or --json."""
    loaded = open_source(source, checkpoint, input_shape, weights="calibration" in options)
    recipe = plan(loaded.model, source=record_of(loaded, checkpoint), **options)
    report = report_of(recipe)
    if as_json:
        print_json(report)
    else:
        show_report(console(as_json), report, recipe)
