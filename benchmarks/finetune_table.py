"""The results of the fine-tuning benchmark as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]

_HEADS = (
    *("model", "method", "original", "rewritten", "fine-tuned", "difference"),
    *("steps", "seconds", "threads", "images/s"),
)


def rich_table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    table = Table(*_HEADS)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def markdown(rows: Sequence[Row]) -> str:
    """Return the table, how each row was trained, and on what, as Markdown."""
    facts = "\n".join(f"- {row['model']} {row['method']}: `{row['options']}`; {_environment(row)}" for row in rows)
    lines = [_HEADS, ["---"] * len(_HEADS), *map(_cells, rows)]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "# Fine-tuning rewritten CIFAR-10 ResNets\n\n"
        "Accuracy on the 10,000 test images, which nothing was trained on; `rewritten` is before any training,\n"
        "`difference` is fine-tuned less original. The seconds are of training alone.\n\n"
        f"{body}\n\nOptions of `rewrite-model finetune`, and where it ran:\n\n{facts}\n"
    )


def _cells(row: Row) -> list[str]:
    accuracies = [f"{row[name]:.2%}" for name in ("original", "before", "after")]
    difference = f"{100 * (row['after'] - row['original']):+.2f} points"
    return [
        str(row["model"]),
        str(row["method"]),
        *accuracies,
        difference,
        str(row["steps"]),
        str(row["seconds"]),
        str(row["environment"]["threads"]),
        str(row["images_per_second"]),
    ]


def _environment(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row["environment"].items())
