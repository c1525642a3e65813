"""``rewrite-model verify``: check a folder's promises again, from its files alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rewriter.cli.arguments import FolderArgument, JsonOption
from rewriter.cli.opening import open_folder
from rewriter.cli.output import console, print_json, show_totals
from rewriter.cli.parity_table import parity_table
from rewriter.report import report_of
from rewriter.sources.inputs import example_inputs
from rewriter.validation import check_finite


class Verification(BaseModel):
    """What was checked; a check that fails is an error instead.

    Attributes:
        parameters: of the restored model, as the recipe promises.
        budget_held: True where the width promises a budget.
        finite: whether the model was run; False when its inputs are unknown.
        exports: the largest relative error of each export found.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    budget_held: bool
    finite: bool
    exports: dict[str, float]


def verify_command(directory: FolderArgument, as_json: JsonOption = False) -> None:
    """Check DIR again: budget, restore, finite values, and the parity of every export in it."""
    from export import Parity, check_exports  # ONNX takes seconds to import, and only exports need it

    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"restoring {directory}"):
        opened = open_folder(directory)
    parity = Parity()
    if opened.inputs:
        with progress.status("running the model and its exports"):
            check_finite(opened.model, example_inputs(opened.inputs))
            parity = check_exports(opened.model, opened.inputs, directory)
    if as_json:
        worst = {
            target: max(one.max_rel for one in parity.comparisons if one.target == target) for target in parity.targets
        }
        print_json(
            Verification(
                parameters=opened.recipe.parameters_after,
                budget_held=opened.recipe.holds_budget,
                finite=bool(opened.inputs),
                exports=worst,
            )
        )
        return
    show_totals(to, report_of(opened.recipe), opened.recipe)
    to.print("restored strictly: every weight is there, with its shape, and no other")
    to.print("outputs are finite" if opened.inputs else "inputs unknown: the model was not run")
    if parity.comparisons:
        to.print(parity_table(parity))
    else:
        to.print(f"no exports yet: rewrite-model export {directory} --to onnx")
