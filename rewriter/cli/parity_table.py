"""The table of exports and how far they are from eager PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from export import Comparison, Parity


def show_parity(to: Console, parity: Parity) -> None:
    """Print one line for each comparison, and the tolerance that all of them kept."""
    to.print(parity_table(parity))
    tolerances = dict.fromkeys(
        f"{one.tolerance:.0e}·max|y| for weights of {one.weights}" for one in parity.comparisons if one.tolerance
    )
    exact = "integers and booleans equal" if any(not one.tolerance for one in parity.comparisons) else ""
    to.print("tolerance: " + "; ".join(filter(None, (*(f"max|Δ| ≤ {text}" for text in tolerances), exact))))


def parity_table(parity: Parity) -> Table:
    """Draw one line for each comparison: target, output, inputs, errors, cosine, and top-1 where there are classes."""
    table = Table(title="exports against eager PyTorch", title_justify="left")
    top1 = any(one.top1_agreement is not None for one in parity.comparisons)
    several = len({one.image_size for one in parity.comparisons}) > 1
    for heading in ("target", "output", "inputs"):
        table.add_column(heading, no_wrap=heading != "output", overflow="fold")
    for heading in ("max|Δ|", "÷ max|y|", "cosine", *(["top-1"] if top1 else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in parity.comparisons:
        cells = [f"{one.max_abs:.1e}", f"{one.max_rel:.1e}", f"{one.cosine:.6f}"]
        if top1:
            cells.append("" if one.top1_agreement is None else f"{one.top1_agreement:.1%}")
        table.add_row(one.target, one.output, _inputs(one, several), *cells)
    return table


def _inputs(one: Comparison, with_size: bool) -> str:
    length = "" if one.sequence_length is None else f" × {one.sequence_length}"
    size = " × {}×{}".format(*one.image_size) if one.image_size and with_size else ""
    return f"{one.batch_size}{length}{size} {one.inputs}"
