"""The pictures of a function and of a decomposition, as the NA paper draws them."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from passes.evaluation.symbols import x
from passes.functions.adversarial import adversarial
from passes.functions.decomposition import Decomposition
from passes.functions.program import compile_expression
from passes.functions.solver import slope_of
from passes.functions.written_activation import activation_expression
from passes.pictures.drawing import canvas, draw, finish, grid

_FUNCTION_REACH, _SPLIT_REACH = 6.0, 3.0


def function_figure(name: str, alpha: float = 1.0) -> Figure:
    """Draw f and g, and beside them f′ and g′.

    Args:
        name: a canonical name of the catalogue, or a formula in ``x``.
        alpha: the lift of g.

    Raises:
        UsageError: an unknown name, a formula outside the grammar, or an α too small.
    """
    f = activation_expression(name, {})
    g = adversarial(name, alpha)
    at = grid(_FUNCTION_REACH)
    figure, (values, slopes) = canvas(2, f"{name}, α = {alpha:g}")
    draw(values, at, compile_expression(f, (x,))(at), "f", 0)
    draw(values, at, g(at), "g", 1)
    finish(values, "x", "value")
    draw(slopes, at, slope_of(f).program(at), "f′", 0)
    draw(slopes, at, g.derivative(at), "g′ = 1/(f′ + α)", 1)
    finish(slopes, "x", "slope")
    return figure


def split_figure(found: Decomposition, alpha: float = 1.0) -> Figure:
    """Draw F on its diagonal with f, F along each variable, and each term of the split adversarial function.

    Raises:
        UsageError: a negative α, or α = 0 where a term has no closed form.
    """
    at = grid(_SPLIT_REACH)
    terms = range(1, found.terms + 1)
    f = compile_expression(activation_expression(found.of, found.parameters), (x,))
    figure, (diagonal, slices, parts) = canvas(3, f"{found.name}, α = {alpha:g}")
    draw(diagonal, at, f(at), f"f = {found.of}", 0)
    draw(diagonal, at, found(*[at] * found.terms), "F(x, …, x)", 1)
    finish(diagonal, "x", "on the diagonal")
    adversarial_parts = found.adversarial(alpha).double().terms
    one = torch.ones_like(at)
    for i, term in zip(terms, adversarial_parts, strict=True):
        draw(slices, at, found(*[at if j == i else one for j in terms]), f"along x{i}", i - 1)
        draw(parts, at, term(at), f"G{i}", i - 1)
    finish(slices, "xᵢ, the others at 1", "F")
    finish(parts, "xᵢ", "Gᵢ")
    return figure
