"""The table of exports and how far they are from eager PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from export import Parity


def parity_table(parity: Parity) -> Table:
    """Draw one line for each comparison: target, output, batch, length, error, tolerance."""
    table = Table(title="exports against eager PyTorch", title_justify="left")
    lengths = any(one.sequence_length is not None for one in parity.comparisons)
    for heading in ("target", "output"):
        table.add_column(heading)
    for heading in ("batch", *(["length"] if lengths else []), "max|Δ|", "max|Δ|/max|y|", "tolerance"):
        table.add_column(heading, justify="right")
    for one in parity.comparisons:
        length = [str(one.sequence_length)] if lengths else []
        errors = (f"{one.max_abs:.1e}", f"{one.max_rel:.1e}", f"{one.tolerance:.0e}")
        table.add_row(one.target, one.output, str(one.batch_size), *length, *errors)
    return table
