"""The result files of a benchmark: JSON, CSV and a page, each with where the figures come from."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

Cell = str | int | float | None
Row = dict[str, Cell]
"""One line of a table: its cells by column."""


@dataclass(frozen=True)
class Bound:
    """A figure that should not be larger than its limit.

    Attributes:
        what: what it is.
        limit: at most this.
        found: what was measured.
    """

    what: str
    limit: float
    found: float

    @property
    def held(self) -> bool:
        """Whether it is within the limit."""
        return self.found <= self.limit


@dataclass(frozen=True)
class Results:
    """What a benchmark found.

    Attributes:
        title: heading of the page.
        command: what was run.
        environment: where, by name.
        tables: rows by the heading of their table; the columns of a table are those of all its rows.
        bounds: what should hold.
        notes: lines of explanation for the page.
        narrow: the columns that a terminal has room for; empty for all.
    """

    title: str
    command: str
    environment: Mapping[str, str]
    tables: Mapping[str, Sequence[Row]]
    bounds: Sequence[Bound] = ()
    notes: str = ""
    narrow: Sequence[str] = ()

    def write(self, folder: Path, stem: str) -> list[Path]:
        """Write ``STEM.json``, ``STEM.csv`` and ``STEM.md``; the folder is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{stem}.{ending}" for ending in ("json", "csv", "md")]
        paths[0].write_text(self.json() + "\n", encoding="utf-8")
        rows: list[Row] = [{"table": name, **row} for name, rows in self.tables.items() for row in rows]
        with paths[1].open("w", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, columns_of(rows))
            writer.writeheader()
            writer.writerows(rows)
        paths[2].write_text(self.page(), encoding="utf-8")
        return paths

    def json(self) -> str:
        """Return everything as one JSON object."""
        content = {
            "command": self.command,
            "environment": dict(self.environment),
            "tables": {name: [dict(row) for row in rows] for name, rows in self.tables.items()},
            "bounds": [asdict(bound) | {"held": bound.held} for bound in self.bounds],
        }
        return json.dumps(content, indent=1)

    def page(self) -> str:
        """Return the tables, the bounds and the environment as Markdown."""
        lines = [f"# {self.title}", ""]
        lines += [self.notes, ""] if self.notes else []
        if self.bounds:
            lines += ["| what | at most | measured | |", "|---|--:|--:|---|"]
            lines += [f"| {b.what} | {b.limit:g} | {b.found:.3f} | {_verdict(b)} |" for b in self.bounds]
            lines.append("")
        for name, rows in self.tables.items():
            columns = columns_of(rows)
            lines += [f"## {name}", "", _line(columns), _line(["---"] * len(columns))]
            lines += [_line([_text(row.get(column)) for column in columns]) for row in rows]
            lines.append("")
        lines += [f"- {name}: {value}" for name, value in self.environment.items()]
        return "\n".join([*lines, f"- command: `{self.command}`"]) + "\n"

    def rich_tables(self) -> list[Table]:
        """Return the tables for a terminal, the bounds last."""
        shown = []
        for name, rows in self.tables.items():
            columns = columns_of(rows)
            shown.append(_rich(name, rows, [c for c in columns if c in self.narrow] or columns))
        if self.bounds:
            rows = [_bound_row(bound) for bound in self.bounds]
            shown.append(_rich("reach", rows, list(rows[0])))
        return shown


def columns_of(rows: Sequence[Row]) -> list[str]:
    """List the columns of all rows, each once, in the order in which they first appear."""
    return list(dict.fromkeys(column for row in rows for column in row))


def _rich(title: str, rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    return table


def _bound_row(bound: Bound) -> Row:
    return {"what": bound.what, "at most": bound.limit, "measured": round(bound.found, 3), "": _verdict(bound)}


def _verdict(bound: Bound) -> str:
    return "held" if bound.held else "missed"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Cell) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
