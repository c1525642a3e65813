"""A CSV file that grows row by row, so that an interrupted run continues where it stopped."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any


class RowFile:
    """Rows of one dataclass in a CSV file.

    Args:
        path: the file; its folder is made when the first row comes.
        kind: the dataclass of the rows.
        fresh: begin anew instead of adding to what is there.
    """

    def __init__(self, path: Path, kind: type[Any], *, fresh: bool) -> None:
        self.path = path
        self._names = [field.name for field in fields(kind)]
        if fresh:
            path.unlink(missing_ok=True)

    def read(self) -> list[dict[str, str]]:
        """Read all rows as text; the last row of each name and method counts."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as stream:
            rows = {(row["name"], row["method"]): row for row in csv.DictReader(stream) if None not in row.values()}
        return list(rows.values())

    def add(self, row: Any) -> None:
        """Append one row and bring it to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._names)
            if not written:
                writer.writeheader()
            elif not written.endswith(b"\n"):
                stream.write("\n")  # an interruption cut the last row off
            writer.writerow(asdict(row))
