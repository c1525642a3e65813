"""``rewrite-model plan``: what would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

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
from rewriter.doors import plan
from rewriter.report import report_of
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import Source, load_source


@takes_method_options
def plan_command(
    source: SourceArgument,
    options: dict[str, Any],
    checkpoint: CheckpointOption = None,
    input_shape: InputShapeOption = None,
    trust_pickle: TrustPickleOption = False,
    check: CheckOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a rewrite would change: a table, or --json."""
    loaded = open_source(source, checkpoint, input_shape, weights="calibration" in options, trust_pickle=trust_pickle)
    if "calibration" in options:
        options["calibration"] = prepared_calibration(options["calibration"], loaded)
    inputs = example_inputs(loaded.inputs) if loaded.inputs else None
    recipe = plan(loaded.model, source=record_of(loaded, checkpoint), example_inputs=inputs, **options)
    proof = "exactness is not checked"
    if wants_check(check, loaded.model, inputs):
        with console(as_json=True).status("checking the plan"):
            proof = checked(check, _with_values(loaded, checkpoint), recipe, inputs)
    report = report_of(recipe)
    if as_json:
        print_json(report)
    else:
        show_report(console(as_json), report, recipe)
        console(as_json).print(f"checked: {proof}")


def _with_values(loaded: Source, checkpoint: Path | None) -> nn.Module:
    """Give the model with weights: any will do, since both sides of the comparison have the same."""
    if checkpoint is not None or not any(parameter.is_meta for parameter in loaded.model.parameters()):
        return loaded.model
    return load_source(loaded.spec, trained=False).model
