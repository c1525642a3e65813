"""``rewrite-model demo``: the whole way on the bundled model and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from rewriter.demo.flow import Latency
from rewriter.cli.opening import record_of
from rewriter.cli.output import console, show_report
from rewriter.cli.parity_table import show_parity
from rewriter.doors import apply, plan
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import load_source
from rewriter.storage import RECIPE, REPORT, WEIGHTS
from rewriter.storage.folder import require_new

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="a new folder; default: demo-out, demo-out-2, …")
]


def demo_command(output: OutputOption = None) -> None:
    """Go the whole way on a small vision transformer that was trained on scikit-learn's digits."""
    from export import TARGETS
    from rewriter.demo import flow
    from rewriter.demo.digits import load_split
    from rewriter.demo.train import accuracy

    directory = output or free_folder()
    require_new(directory)
    to = console(as_json=False)

    to.rule("1 · the trained model")
    source = load_source(flow.SOURCE)
    split = load_split()
    before = accuracy(source.model, split.test)
    to.print(f"{flow.SOURCE}: test accuracy {before:.2%} on {len(split.test.labels)} digits")

    to.rule("2 · the plan")
    recipe = plan(source.model, flow.METHOD, source=record_of(source, None))
    result = apply(source.model, recipe, example_inputs=example_inputs(source.inputs))
    show_report(to, result.report, recipe)

    to.rule("3 · rewritten, then fine-tuned")
    rewritten = accuracy(result.model, split.test)
    with _progress(to, "fine-tuning") as progress:
        task = progress.add_task("", total=None)
        after = flow.fine_tune(
            result.model, split, lambda done, steps, _: progress.update(task, completed=done, total=steps)
        )
    to.print(_outcome(before, rewritten, after, recipe.parameters_before, recipe.parameters_after))

    to.rule("4 · saved and restored")
    equal = flow.store(result, directory, split.test.images)
    to.print(f"restored from {directory}/ on a fresh model: outputs {'equal bit for bit' if equal else 'DIFFER'}")

    to.rule("5 · exported")
    parity = flow.export(result.model, source.inputs, directory)
    show_parity(to, parity)

    to.rule("6 · latency, original and rewritten in turn")
    images = split.test.images[: flow.LATENCY_BATCH]
    with _progress(to, "timing") as progress:
        task = progress.add_task("", total=None)
        latencies = flow.compare_latency(
            source.model, result.model, source.inputs, images, directory, lambda: progress.advance(task)
        )
    to.print(_latencies(latencies, flow.LATENCY_BATCH))

    to.rule("7 · where everything lies")
    for name in (WEIGHTS, RECIPE, REPORT, *(TARGETS[target].filename for target in flow.EXPORTS), "parity.json"):
        to.print(f"{directory / name}  {(directory / name).stat().st_size:,} bytes")
    to.print(f"check it again: rewrite-model verify {directory}")


def free_folder() -> Path:
    """Give the first folder name of demo-out, demo-out-2, … that is not taken."""
    number, folder = 1, Path("demo-out")
    while folder.exists():
        number += 1
        folder = Path(f"demo-out-{number}")
    return folder


def _progress(to: Console, what: str) -> Progress:
    return Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=to)


def _outcome(before: float, rewritten: float, after: float, parameters_before: int, parameters_after: int) -> Table:
    table = Table("", "parameters", "test accuracy")
    table.add_row("original", f"{parameters_before:,}", f"{before:.2%}")
    table.add_row("rewritten, new weights random", f"{parameters_after:,}", f"{rewritten:.2%}")
    table.add_row("rewritten and fine-tuned", f"{parameters_after:,}", f"{after:.2%}")
    return table


def _latencies(latencies: list[Latency], batch: int) -> Table:
    table = Table(title=f"median ms, batch {batch}", title_justify="left")
    for heading in ("runner", "original", "rewritten", "ratio"):
        table.add_column(heading, justify="left" if heading == "runner" else "right")
    for one in latencies:
        table.add_row(one.runner, f"{one.original:.2f}", f"{one.rewritten:.2f}", f"{one.rewritten / one.original:.2f}")
    return table
