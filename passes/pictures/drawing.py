"""How every picture looks: lines, colours and axes."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe and Ito's colours, which people tell apart whatever their colour vision; yellow is too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_POINTS = 801
_PANEL_WIDTH, _HEIGHT = 3.6, 3.0  # inches


def canvas(panels: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure without global state, and its panels from left to right."""
    figure = Figure(figsize=(_PANEL_WIDTH * panels, _HEIGHT), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, panels, squeeze=False)
    return figure, list(axes[0])


def grid(reach: float) -> Tensor:
    """Return float64 points from ``-reach`` to ``reach``."""
    return torch.linspace(-reach, reach, _POINTS, dtype=torch.float64, device="cpu")


def draw(axes: Axes, at: Tensor, value: Tensor, label: str, place: int) -> None:
    """Draw a line in the colour and dash of its place in the legend, counted from 0."""
    colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
    axes.plot(at.numpy(), value.detach().numpy(), color=colour, linestyle=dash, linewidth=1.6, label=label)


def finish(axes: Axes, across: str, up: str) -> None:
    """Label the axes and add the grid and the legend."""
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, linewidth=0.4, color="#cccccc")
    axes.axhline(0.0, linewidth=0.6, color="#666666")
    axes.axvline(0.0, linewidth=0.6, color="#666666")
    axes.legend(fontsize=8)
