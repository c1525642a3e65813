"""What the benchmarks of whole models share: how a figure is bounded, and the files and the picture of results."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.plot import write_bars
from rewriter.bench.results import Results, Row

MODEL = "timm:vit_small_patch16_224"
"""What is measured where nothing else is named."""


def command_of(module: str) -> str:
    """Return the command that runs now, as its page shows it."""
    return f"python -m benchmarks.{module} {shlex.join(sys.argv[1:])}".rstrip()


def publish(results: Results, table: str, ratio: str, output: Path | None, stem: str) -> None:
    """Print results; with a folder, write ``STEM.json``, ``.csv``, ``.md`` and, of the ratios, ``.png``.

    Args:
        results: what was measured.
        table: the one whose ratios are drawn.
        ratio: the column of the ratio of rewritten to original.
        output: the folder.
        stem: name of the files.
    """
    console = Console()
    for found in results.rich_tables():
        console.print(found)
    if output is None:
        return
    results.write(output, stem)
    bars = {label(row): number(row, ratio) for row in results.tables[table] if is_ratio(row, ratio)}
    if bars:
        write_bars(output / f"{stem}.png", f"{results.title}: rewritten over original", "ratio", bars)


def is_ratio(row: Row, ratio: str) -> bool:
    """Say whether a row is that of a rewritten model that was measured."""
    return row.get("variant") == "rewritten" and row.get(ratio) is not None


def label(row: Row) -> str:
    """Name a row by what tells it from the others of its table."""
    parts = [str(row[column]) for column in ("model", "width", "mode", "runner") if row.get(column)]
    return ", ".join([*parts, f"{row['threads']} threads"])


def number(row: Row, column: str) -> float:
    """Return a figure of a row."""
    value = row[column]
    assert isinstance(value, int | float)
    return float(value)
