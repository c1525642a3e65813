"""``rewrite-model verify``: check a folder's promises again, from its files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rewriter.cli.arguments import FolderArgument, JsonOption, TrustPickleOption
from rewriter.cli.opening import open_folder
from rewriter.cli.output import console, print_json, show_totals
from rewriter.cli.parity_table import show_parity
from rewriter.cli.real_inputs import RealInputsOption, real_inputs
from rewriter.report import report_of
from rewriter.sources.inputs import example_inputs
from rewriter.validation import check_finite

if TYPE_CHECKING:
    from export import Parity


class Verification(BaseModel):
    """What was checked; a check that fails is an error instead.

    Attributes:
        parameters: of the restored model, as the recipe promises.
        budget_held: True where the width promises a budget.
        as_written: whether the recipe has digests, which the weights then have too.
        finite: whether the model was run; False when its inputs are unknown.
        exports: the largest relative error of each export that was run.
        tolerances: the relative error that floating-point outputs of each of them may have.
        real_inputs: whether they were also run on real inputs.
        unopened: exports that were not, since such a file can hold pickles and ``--trust-pickle`` was not given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: int
    budget_held: bool
    as_written: bool
    finite: bool
    exports: dict[str, float]
    tolerances: dict[str, float]
    real_inputs: bool
    unopened: tuple[str, ...]


def verify_command(
    directory: FolderArgument,
    calibration: RealInputsOption = None,
    trust_pickle: TrustPickleOption = False,
    as_json: JsonOption = False,
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
    real = real_inputs(calibration, opened)
    parity = Parity()
    unopened = tuple(name for name in exports_in(directory) if TARGETS[name].holds_code and not trust_pickle)
    if opened.inputs:
        with progress.status("running the model and its exports"):
            check_finite(opened.model, example_inputs(opened.inputs))
            parity = check_exports(opened.model, opened.inputs, directory, real=real, unopened=unopened)
    if as_json:
        print_json(
            Verification(
                parameters=opened.recipe.parameters_after,
                budget_held=opened.recipe.holds_budget,
                as_written=opened.recipe.result is not None,
                finite=bool(opened.inputs),
                exports=_largest(parity, "max_rel"),
                tolerances=_largest(parity, "tolerance"),
                real_inputs=any(one.inputs == "real" for one in parity.comparisons),
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
        show_parity(to, parity)
    elif not unopened:
        to.print(f"no exports yet: rewrite-model export {directory} --to onnx")
    for name in unopened:
        to.print(f"{TARGETS[name].filename} was not opened, since such a file can hold code: --trust-pickle runs it")


def _largest(parity: Parity, figure: str) -> dict[str, float]:
    return {
        target: max(getattr(one, figure) for one in parity.comparisons if one.target == target)
        for target in parity.targets
    }
