"""The log of a fine-tuning: rows, a CSV file, and a picture of the loss."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_SMOOTHING = 0.95


class LogRow(BaseModel):
    """One step.

    Attributes:
        step: its number, from 1.
        seconds: of training until its end.
        loss: on its batch.
        lr: learning rate.
        anneal: weight of the new functions.
        examples_per_second: since the row before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    seconds: float
    loss: float
    lr: float
    anneal: float
    examples_per_second: float


def write_csv(rows: Sequence[LogRow], path: Path) -> None:
    """Write the rows as CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(LogRow.model_fields))
        writer.writeheader()
        writer.writerows(row.model_dump() for row in rows)


def draw_loss(rows: Sequence[LogRow], path: Path) -> None:
    """Draw the loss of every step and its running mean, with the anneal's weight, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = [row.step for row in rows]
    axes.plot(steps, [row.loss for row in rows], color="0.8", linewidth=0.8, label="loss of the batch")
    axes.plot(steps, _smoothed([row.loss for row in rows]), color="C0", label="running mean")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    if any(row.anneal < 1 for row in rows):
        weights = axes.twinx()
        weights.plot(steps, [row.anneal for row in rows], color="C1", linestyle=":", label="anneal")
        weights.set_ylabel("weight of the new functions")
        weights.set_ylim(0, 1.05)
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=110)


def _smoothed(values: Sequence[float]) -> list[float]:
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total = _SMOOTHING * total + (1 - _SMOOTHING) * value
        weight = _SMOOTHING * weight + (1 - _SMOOTHING)
        means.append(total / weight)
    return means
