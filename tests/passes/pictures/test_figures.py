from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from matplotlib.figure import Figure
from torch.nn import functional

from passes.functions import decomposition
from passes.pictures.drawing import COLOURS, DASHES
from passes.pictures.figures import function_figure, split_figure


def lines(figure: Figure) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Give every line that a legend names, as its points and values."""
    found = {}
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        named = {text.get_text() for text in legend.get_texts()}
        for line in axes.lines:
            if line.get_label() in named:
                found[str(line.get_label())] = (torch.tensor(line.get_xdata()), torch.tensor(line.get_ydata()))
    return found


def test_a_function_is_drawn_with_its_slope_and_its_adversarial_function() -> None:
    drawn = lines(function_figure("gelu", 0.5))
    f, g, slope, reciprocal = drawn.values()
    assert list(drawn) == ["f", "g", "f′", "g′ = 1/(f′ + α)"]
    torch.testing.assert_close(f[1], functional.gelu(f[0]))
    torch.testing.assert_close(reciprocal[1], 1 / (slope[1] + 0.5))
    for values, slopes in ((f, slope), (g, reciprocal)):
        steps = values[1].diff() / values[0].diff()
        torch.testing.assert_close(steps, (slopes[1][1:] + slopes[1][:-1]) / 2, rtol=1e-3, atol=1e-3)


def test_a_decomposition_is_drawn_on_its_diagonal_along_each_variable_and_term_by_term() -> None:
    drawn = lines(split_figure(decomposition("tanh/4"), 1.0))
    expected = ["f = tanh", "F(x, …, x)", *(f"along x{i}" for i in range(1, 5)), *(f"G{i}" for i in range(1, 5))]
    assert list(drawn) == expected
    for name in expected[:2]:
        torch.testing.assert_close(drawn[name][1], torch.tanh(drawn[name][0]))
    at, along = drawn["along x1"]
    torch.testing.assert_close(along, (at.exp() - torch.e**-1) / (torch.e + torch.e**-1))
    at, term = drawn["G1"]
    slope = at.exp() / (2 * torch.cosh(torch.ones(())).double())
    torch.testing.assert_close(term.diff() / at.diff(), (1 / (slope + 1)).unfold(0, 2, 1).mean(1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(term[400], torch.zeros((), dtype=torch.float64), rtol=0.0, atol=1e-6)


def test_every_line_of_the_most_terms_has_its_own_colour_and_dash() -> None:
    assert len(set(COLOURS)) == len(set(DASHES)) == 8


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from passes.pictures.figures import function_figure; function_figure('relu');"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["relu", "x*sigmoid(2*x)"])
def test_a_name_and_an_expression_are_both_drawn(name: str) -> None:
    assert len(lines(function_figure(name))) == 4
