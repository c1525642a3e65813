"""The results of the function benchmark as tables: one line for each function, one column for each way to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

Row = Mapping[str, object]


def rich_table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    heads, lines = _grid(rows)
    table = Table(*heads)
    for line in lines:
        table.add_row(*line)
    return table


def markdown(rows: Sequence[Row], environment: Mapping[str, str]) -> str:
    """Return the table and the environment as Markdown."""
    heads, lines = _grid(rows)
    facts = "\n".join(f"- {name}: {value}" for name, value in environment.items())
    body = "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *lines))
    return (
        "# Forward and backward time of adversarial functions and split layers\n\n"
        "Milliseconds, and in brackets the ratio to `F.gelu` run directly before in the same mode; medians.\n"
        "`saved` is the memory kept for the backward pass, in units of the input.\n\n"
        f"{facts}\n\n{body}\n"
    )


def _grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    ways = list(dict.fromkeys((row["mode"], row["threads"]) for row in rows))
    cells = {(row["function"], row["mode"], row["threads"]): f"{row['milliseconds']} ({row['ratio']}×)" for row in rows}
    heads = ["function", "kind", *(f"{mode}, {count} thread{'s' * (count != 1)}" for mode, count in ways), "saved"]
    functions = {row["function"]: row for row in rows}
    lines = [
        [
            str(name),
            str(row["kind"]),
            *(cells.get((name, mode, count), "") for mode, count in ways),
            str(row["saved_inputs"]),
        ]
        for name, row in functions.items()
    ]
    return heads, lines
