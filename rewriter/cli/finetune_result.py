"""What a fine-tuning shows while it runs, and what it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rewriter.cli.opening import open_folder
from rewriter.doors import Result
from rewriter.finetune.finetuning import Finetuned
from rewriter.finetune.log import LogRow, draw_loss, write_csv
from rewriter.finetune.record import FinetuneRecord
from rewriter.storage import save
from rewriter.storage.replacing import replace_folder
from rewriter.storage.reports import read_report

LOG, PICTURE = "finetune.csv", "finetune.png"


class FinetuneProgress:
    """A progress bar on stderr.

    Args:
        shown: False on all processes but one.
    """

    def __init__(self, *, shown: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % {task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._task = self._bar.add_task("starting", total=1.0, detail="")
        self._doing = ""

    def __enter__(self) -> FinetuneProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, doing: str, progress: float, row: LogRow | None) -> None:
        """Show how far it is."""
        if doing != self._doing:
            self._doing = doing
            self._bar.reset(self._task, description=doing, detail="")
        detail = f"step {row.step} · loss {row.loss:.4f} · {row.examples_per_second:.0f}/s" if row is not None else ""
        self._bar.update(self._task, completed=progress, detail=detail)


def write_result(directory: Path, state: Path, finetuned: Finetuned) -> None:
    """Replace a folder by one with the fine-tuned weights, the same recipe, and the report with the new figures.

    Exports of the weights before go with the old folder. The state of the unfinished training is removed.

    Args:
        directory: the folder of the rewritten model.
        state: the folder of the unfinished training's state.
        finetuned: what came out.
    """
    opened = open_folder(directory)
    opened.model.load_state_dict(finetuned.weights)
    report = read_report(directory)
    report = report.model_copy(update={"finetunings": (*report.finetunings, finetuned.record)})
    new = directory.absolute().parent / f".{directory.name}-finetuned"
    shutil.rmtree(new, ignore_errors=True)
    save(Result(opened.model, opened.recipe, report), new)
    write_csv(finetuned.rows, new / LOG)
    draw_loss(finetuned.rows, new / PICTURE)
    replace_folder(directory, new)
    shutil.rmtree(state, ignore_errors=True)


def figures_table(record: FinetuneRecord) -> Table:
    """Show the figures before and after."""
    table = Table(
        title=f"on {record.measured_on} examples; {record.steps} steps in {record.seconds:.0f} s", title_justify="left"
    )
    for heading in ("", "accuracy", "loss", "agreement"):
        table.add_column(heading, justify="left" if not heading else "right")
    named = {"original": record.original, "rewritten": record.before, "fine-tuned": record.after}
    for name, figures in named.items():
        if figures is not None:
            accuracy = f"{figures.accuracy:.2%}" if figures.accuracy is not None else ""
            loss = f"{figures.loss:.4f}" if figures.loss is not None else ""
            agreement = f"{figures.agreement:.4f}" if figures.agreement is not None else ""
            table.add_row(name, accuracy, loss, agreement)
    return table
