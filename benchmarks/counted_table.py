"""The part of the result page that compares the MLPs a plan found with those a person counted in the source."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.row_listing import Row, by_family, cell


def counted_lines(rows: Sequence[Row]) -> list[str]:
    """Write the table and the models where the two differ: rows of `PlanRow` as text; nothing where nobody counted."""
    counted = [row for row in rows if row.get("counted")]
    if not counted:
        return []
    lines = [
        "### MLPs found and counted",
        "",
        "*Counted*: the MLPs, plain and gated, that a person saw in the source; what counts as one is said in",
        "[library_model.py](../libraries/library_model.py). *Found*: those that the plan has, at most as many as were",
        "counted.",
        "",
        "| library | models | counted | found | models with all |",
        "|---|--:|--:|--:|--:|",
    ]
    families = by_family(counted)
    lines += [_line(family, families[family]) for family in sorted(families)]
    lines += [_line("**all**", counted), ""]
    for title, differing in (
        ("Fewer found than counted", [row for row in counted if found(row) < int(row["counted"])]),
        ("More found than counted", [row for row in counted if found(row) > int(row["counted"])]),
    ):
        notes = (f"{row['name']}: {found(row)} of {row['counted']}{_note(row)}" for row in differing)
        lines += [f"### {title}: {len(differing)}", "", *(f"- {cell(note)}" for note in notes), ""]
    return lines


def found(row: Row) -> int:
    """Give the number of MLPs, plain and gated, among a model's sites."""
    kinds: dict[str, int] = json.loads(row["kinds"])
    return kinds.get("mlp", 0) + kinds.get("gated", 0)


def _line(family: str, rows: Sequence[Row]) -> str:
    counted = sum(int(row["counted"]) for row in rows)
    shared = sum(min(found(row), int(row["counted"])) for row in rows)
    share = f" ({shared / counted:.1%})" if counted else ""
    complete = sum(found(row) >= int(row["counted"]) for row in rows)
    return f"| {family} | {len(rows)} | {counted} | {shared}{share} | {complete} |"


def _note(row: Row) -> str:
    return f"; {row['note']}" if row["note"] else ""
