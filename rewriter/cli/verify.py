"""``rewrite-model verify``: check a folder's promises again, from its files alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rewriter.cli.arguments import FolderArgument, JsonOption, TrustPickleOption
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
        as_written: whether the recipe has digests, which the weights then have too.
        finite: whether the model was run; False when its inputs are unknown.
        exports: the largest relative error of each export that was run.
        unopened: exports that were not, since such a file can hold pickles and ``--trust-pickle`` was not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    budget_held: bool
    as_written: bool
    finite: bool
    exports: dict[str, float]
    unopened: tuple[str, ...]


def verify_command(
    directory: FolderArgument, trust_pickle: TrustPickleOption = False, as_json: JsonOption = False
) -> None:
    """Check DIR again: budget, restore, finite values, and the parity of every export in it."""
    from export import (  # ONNX takes seconds to import, and only exports need it
        TARGETS,
        Parity,
        check_exports,
        exports_in,
    )

    to, progress = console(as_json), console(as_json=True)
    with progress.status(f"restoring {directory}"):
        opened = open_folder(directory)
    parity = Parity()
    unopened = tuple(name for name in exports_in(directory) if TARGETS[name].holds_code and not trust_pickle)
    if opened.inputs:
        with progress.status("running the model and its exports"):
            check_finite(opened.model, example_inputs(opened.inputs))
            parity = check_exports(opened.model, opened.inputs, directory, unopened=unopened)
    if as_json:
        worst = {
            target: max(one.max_rel for one in parity.comparisons if one.target == target) for target in parity.targets
        }
        print_json(
            Verification(
                parameters=opened.recipe.parameters_after,
                budget_held=opened.recipe.holds_budget,
                as_written=opened.recipe.result is not None,
                finite=bool(opened.inputs),
                exports=worst,
                unopened=unopened,
            )
        )
        return
    show_totals(to, report_of(opened.recipe), opened.recipe)
    to.print("restored strictly: every weight is there, with its shape, and no other")
    if opened.recipe.result is not None:
        to.print("the files of the weights are as they were written (sha256)")
    to.print("outputs are finite" if opened.inputs else "inputs unknown: the model was not run")
    if parity.comparisons:
        to.print(parity_table(parity))
    elif not unopened:
        to.print(f"no exports yet: rewrite-model export {directory} --to onnx")
    for name in unopened:
        to.print(f"{TARGETS[name].filename} was not opened, since such a file can hold code: --trust-pickle runs it")
