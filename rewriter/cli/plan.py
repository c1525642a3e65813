"""``rewrite-model plan``: what would change."""

from __future__ import annotations

from typing import Any

from rewriter.calibration.prepared import prepared_calibration
from rewriter.cli.arguments import (
    CheckpointOption,
    InputShapeOption,
    JsonOption,
    SourceArgument,
    TrustPickleOption,
    takes_method_options,
)
from rewriter.cli.opening import open_source, record_of
from rewriter.cli.output import console, print_json, show_report
from rewriter.doors import plan
from rewriter.report import report_of
from rewriter.sources.inputs import example_inputs


@takes_method_options
def plan_command(
    source: SourceArgument,
    options: dict[str, Any],
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    trust_pickle: TrustPickleOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a rewrite would change: a table, or --json."""
    loaded = open_source(source, checkpoint, input_shape, weights="calibration" in options, trust_pickle=trust_pickle)
    if "calibration" in options:
        options["calibration"] = prepared_calibration(options["calibration"], loaded)
    inputs = example_inputs(loaded.inputs) if loaded.inputs else None
    recipe = plan(loaded.model, source=record_of(loaded, checkpoint), example_inputs=inputs, **options)
    report = report_of(recipe)
    if as_json:
        print_json(report)
    else:
        show_report(console(as_json), report, recipe)
