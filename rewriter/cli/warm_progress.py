"""A warm start on the terminal: its progress bar, and the errors it left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rewriter.report import Report
from rewriter.warm import OnProgress


@contextmanager
def warm_progress(to: Console, what: str) -> Iterator[OnProgress]:
    """Show what is done now, and how far it is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=to, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda doing, done, total: progress.update(task, description=doing, completed=done, total=total)


def show_warmth(to: Console, report: Report) -> None:
    """Print how far the sites and the outputs are from the original, before and after the fitting."""
    warm = report.warm
    if warm is None:
        return
    if warm.output_before is None:
        to.print("warm start: weights carried over; give --calibration to fit them")
        return
    table = Table(title="warm start: relative error on held-out calibration inputs", title_justify="left")
    for heading in ("site", "weights copied", "at the end"):
        table.add_column(heading, justify="left" if heading == "site" else "right", overflow="fold")
    rows = [(site.path, site.before, site.after) for site in warm.sites]
    for path, before, after in (*rows, ("the model's outputs", warm.output_before, warm.output_after)):
        table.add_row(path, *("" if error is None else f"{error:.2e}" for error in (before, after)))
    to.print(table)
    to.print(
        f"{warm.refitted} second layers regressed, {warm.steps} steps of distillation in {warm.precision}, "
        f"{warm.seconds:.0f} s; the same weights again: --warm-steps {warm.steps}"
    )
