from __future__ import annotations

import mpmath
import pytest
import sympy
import torch

from passes.evaluation.symbols import sigmoid, softplus, x
from passes.functions import activation_names, adversarial
from passes.functions.catalogue import catalogue_entry
from passes.functions.solver import slope_of
from passes.pictures.formula import ALPHA, closed_formula

SLOPES = {name: slope_of(catalogue_entry(name).at({})) for name in activation_names()}
CLOSED = [name for name, slope in SLOPES.items() if slope.closed is not None]
UNLIFTED = [name for name, slope in SLOPES.items() if slope.needs_no_lift]


def formula(name: str, alpha: float) -> sympy.Expr:
    closed = SLOPES[name].closed
    assert closed is not None
    return closed_formula(closed, lifted=alpha > 0).subs(ALPHA, sympy.Rational(str(alpha)))


def values(expression: sympy.Expr, points: list[float]) -> list[mpmath.mpf]:
    function = sympy.lambdify(x, expression.rewrite([sigmoid, softplus], sympy.exp), "mpmath")
    with mpmath.workdps(30):
        return [function(mpmath.mpf(point)) for point in points]


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("alpha", [0.6, 3.0])
def test_a_formula_equals_the_function_that_is_computed(name: str, alpha: float) -> None:
    points = torch.linspace(-8, 8, 65, dtype=torch.float64)
    exact = torch.tensor([float(value) for value in values(formula(name, alpha), points.tolist())], dtype=torch.float64)
    torch.testing.assert_close(adversarial(name, alpha)(points), exact, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CLOSED)
def test_a_formula_satisfies_the_defining_equation(name: str) -> None:
    points = [-7.3, -3.1, -0.9, -0.2, 0.3, 0.8, 2.9, 6.7]
    slopes = values(SLOPES[name].expression, points)
    g = sympy.lambdify(x, formula(name, 0.75), "mpmath")
    with mpmath.workdps(30):
        reciprocals = [mpmath.diff(g, mpmath.mpf(point)) for point in points]
    for slope, reciprocal in zip(slopes, reciprocals, strict=True):
        assert abs(reciprocal * (slope + mpmath.mpf("0.75")) - 1) < 1e-9


@pytest.mark.parametrize("name", UNLIFTED)
def test_a_formula_without_a_lift_equals_the_function_within_its_clamp(name: str) -> None:
    points = torch.linspace(-4, 4, 33, dtype=torch.float64)
    exact = torch.tensor([float(value) for value in values(formula(name, 0.0), points.tolist())], dtype=torch.float64)
    torch.testing.assert_close(adversarial(name, 0.0)(points), exact, rtol=1e-9, atol=1e-10)
