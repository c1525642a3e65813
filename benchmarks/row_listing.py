"""Rows of the coverage files, grouped for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Row = Mapping[str, str]


def by_family(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by family, in the order in which the families come."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    return families


def listed(title: str, found: Iterable[tuple[str, str]]) -> list[str]:
    """Write a heading with their number and, for each reason, the names; ``found`` is pairs of name and reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in found:
        by_reason.setdefault(why, []).append(name)
    lines = ["", f"### {title}: {sum(map(len, by_reason.values()))}", ""]
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return lines + [f"- {cell(why)}: {', '.join(names)}" for why, names in ordered]


def cell(text: str) -> str:
    """Return text that is safe in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
