"""Whether ``check`` finds deliberate faults: each is put into this process, with and without the check.

``python -m benchmarks.check_faults --output benchmarks/results`` writes ``check-faults.csv`` and ``check-faults.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

import rewriter
from benchmarks.commit import commit
from benchmarks.fault_models import MODELS, small_model
from benchmarks.faults import FAULTS, Fault, put_in, weights_off
from benchmarks.model_results import command_of
from rewriter.bench.environment import environment
from rewriter.bench.results import Results
from rewriter.errors import NoSiteError, UsageError, ValidationError
from rewriter.evaluation import call
from rewriter.tracing.trace import reason
from rewriter.validation.evidence import tensors_of

_METHODS: Final[Sequence[tuple[str, dict[str, Any]]]] = (
    ("ga", {}),
    ("swap", {"activation": "mish"}),
    ("hdfgd", {"low_rank": True}),
)


@dataclass(frozen=True)
class FaultRow:
    """What came of one fault in one model.

    Attributes:
        fault: its name.
        function: where it was put.
        model: the small model.
        method: what rewrote it.
        without_check: what the rewritten model does, compared with the one that is rewritten without the fault.
        real: whether that is anything.
        found: ``check``, ``plan`` where the plan was refused before, or empty.
        named: the site that the check named.
        message: what it said.
    """

    fault: str
    function: str
    model: str
    method: str
    without_check: str
    real: bool
    found: str
    named: str
    message: str


def try_fault(fault: Fault, name: str) -> FaultRow:
    """Rewrite one model with a fault in the code, first without the check, then with it."""
    right = _outputs(fault, name)
    with put_in(fault):
        wrong = _outputs(fault, name)
        found, named, message = _checked(fault, name)
    consequence = _difference(right, wrong)
    return FaultRow(fault.name, fault.where, name, fault.method, consequence, consequence != "", found, named, message)


def sound(name: str) -> list[str]:
    """List the methods by which a model is rewritten and found exact; those that find no site are left out.

    Raises:
        ValidationError: the check finds a fault where none was put.
    """
    passed = []
    for method, options in _METHODS:
        model, inputs = small_model(name)
        try:
            rewriter.plan(model, method, example_inputs=inputs, check=True, **options)
        except (NoSiteError, UsageError):
            continue
        passed.append(method)
    return passed


def smallest_error(name: str) -> float:
    """Give the smallest power of ten by which a layer's weights can be wrong, relative to them, and be noticed."""
    noticed = 1.0
    for power in range(1, 15):
        fault = weights_off(10.0**-power, name)
        with put_in(fault):
            found, _, _ = _checked(fault, name)
        if not found:
            break
        noticed = 10.0**-power
    return noticed


def _outputs(fault: Fault, name: str) -> list[list[Tensor]] | str:
    """Give the rewritten model's outputs in both modes, or why there are none."""
    model, inputs = small_model(name)
    try:
        recipe = rewriter.plan(model, fault.method, example_inputs=inputs, **fault.options)
        rewritten = rewriter.apply(model, recipe).model
    except NoSiteError:
        return ""
    except Exception as error:  # code with a fault may raise anything
        return f"cannot be rewritten: {reason(error)}"
    try:
        return [_run(rewritten, inputs, training) for training in (False, True)]
    except Exception as error:
        return f"does not run: {reason(error)}"


@torch.no_grad()
def _run(model: nn.Module, inputs: Tensor, training: bool) -> list[Tensor]:
    torch.manual_seed(0)
    return list(tensors_of(call(model.train(training), inputs.clone())))


def _difference(right: list[list[Tensor]] | str, wrong: list[list[Tensor]] | str) -> str:
    if isinstance(wrong, str):
        return "" if right == wrong else wrong
    if isinstance(right, str):
        return f"{right or 'no site'} without the fault; rewritten with it"
    for mode, want, got in zip(("eval", "train"), right, wrong, strict=True):
        for one, other in zip(want, got, strict=True):
            if one.shape != other.shape:
                return f"outputs of shape {tuple(other.shape)} in {mode} mode"
            if not torch.equal(one, other):
                distance = float((one - other).abs().max() / one.abs().max())
                return f"outputs differ by {distance:.2g} in {mode} mode"
    return ""


def _checked(fault: Fault, name: str) -> tuple[str, str, str]:
    model, inputs = small_model(name)
    try:
        rewriter.plan(model, fault.method, example_inputs=inputs, check=True, **fault.options)
    except ValidationError as error:
        found, _, site = error.found.partition(", first with ")
        return "check", site.split(" (")[0], found
    except Exception as error:  # a plan that is refused
        return "plan", "", reason(error)
    return "", "", ""


def results_of(
    rows: Sequence[FaultRow], passed: dict[str, list[str]], errors: dict[str, float], command: str
) -> Results:
    """Put rows into the tables of a page."""
    found = sum(bool(row.found) for row in rows)
    return Results(
        title="Deliberate faults, and whether the check finds them",
        command=command,
        environment={**environment(), "commit": commit()},
        tables={
            "Faults": [asdict(row) for row in rows],
            "Without faults": [
                {"model": name, "exact by": ", ".join(methods) or "none: refused with a reason"}
                for name, methods in passed.items()
            ],
            "Smallest relative error of one layer's weights that is noticed": [
                {"model": name, "error": error} for name, error in errors.items()
            ],
        },
        notes=(
            f"{found} of {len(rows)} are found. A fault replaces one function of this process. `without_check` is what "
            "the model that is rewritten with the fault does, beside the one that is rewritten without it."
        ),
        narrow=("fault", "model", "method", "found", "named", "exact by", "error"),
    )


def main(
    output: Annotated[Path | None, typer.Option(help="Folder for check-faults.csv and check-faults.md.")] = None,
    only: Annotated[list[str], typer.Option(help="Faults whose name contains this.")] = [],  # noqa: B006
) -> None:
    """Try every fault, print a table, and write the results; exit code 1 if one is not found."""
    torch.set_num_threads(1)
    chosen = [fault for fault in FAULTS if not only or any(part in fault.name for part in only)]
    rows = [try_fault(fault, name) for fault in chosen for name in fault.models]
    passed = {name: sound(name) for name in MODELS}
    errors = {name: smallest_error(name) for name in ("blocks", "gated", "convolutions", "between", "loop")}
    results = results_of(rows, passed, errors, command_of("check_faults"))
    for table in results.rich_tables():
        Console().print(table)
    if output is not None:
        written = results.write(output, "check-faults")
        written[0].unlink()
    if not all(row.found and row.real for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
