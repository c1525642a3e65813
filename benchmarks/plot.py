"""Pictures of measurements: ratios as bars, and growth as lines on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from passes.pictures.drawing import COLOURS

_DOTS_PER_INCH: Final = 150


def write_bars(path: Path, title: str, across: str, bars: Mapping[str, float], mark: float = 1.0) -> Path:
    """Draw one horizontal bar for each name, and a line at ``mark``; the ending of ``path`` names the format."""
    figure = Figure(figsize=(7.0, 1.2 + 0.28 * len(bars)), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(bars), list(bars.values()), color=COLOURS[0])
    axes.axvline(mark, color=COLOURS[6], linewidth=0.8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across, fontsize=9)
    axes.tick_params(labelsize=8)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path


def write_growth(
    path: Path, title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], up: str
) -> Path:
    """Draw one panel for each quantity that grows, with a line of points ``(size, value)`` for each name."""
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (across, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for place, (name, points) in enumerate(lines.items()):
            axes.loglog(*zip(*points, strict=True), "o-", color=COLOURS[place % len(COLOURS)], label=name, markersize=3)
        axes.set_xlabel(across, fontsize=9)
        axes.set_ylabel(up, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, linewidth=0.4, color="#cccccc")
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path
