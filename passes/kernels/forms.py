"""Cheaper forms of expressions, equal to the last bits."""

from __future__ import annotations

from typing import Any

import sympy

from passes.evaluation.symbols import sigmoid
from passes.kernels.words import ramp

# Up to here the exponentials of a quotient, and those of their differences, fit float32.
_LARGEST_BOUND = 20.0


def quick_form(expression: sympy.Expr, bound: float | None) -> sympy.Expr:
    """Return ``expression`` in functions that take little time.

    Args:
        expression: in real variables.
        bound: what the variables are clamped to, or None if they may be any number.
    """
    quick = expression.replace(_is_ramp, lambda piecewise: ramp(piecewise.args[0].expr))
    quick = quick.replace(sympy.tanh, lambda u: 2 * sigmoid(2 * u) - 1)
    if bound is not None and bound <= _LARGEST_BOUND:
        quick = quick.replace(lambda part: part.is_Mul and _logistic_pair(part) is not None, _by_sigmoid)
    quick = quick.replace(_is_scaled_sum, _with_number_inside)
    return _with_floats(quick)


def _is_ramp(part: Any) -> bool:
    if not isinstance(part, sympy.Piecewise) or len(part.args) != 2:
        return False
    (inside, condition), (outside, _) = part.args
    return bool(outside == 0 and condition.is_Relational and condition.gts - condition.lts == inside)


def _is_scaled_sum(part: sympy.Basic) -> bool:
    return bool(part.is_Mul and part.args[0].is_Rational and any(factor.is_Add for factor in part.args))


def _logistic_pair(product: sympy.Mul) -> tuple[sympy.Pow, sympy.Expr, sympy.Expr] | None:
    """Find ``1/(e^a + e^b)`` among the factors."""
    for factor in product.args:
        if isinstance(factor, sympy.Pow) and factor.exp == -1 and isinstance(factor.base, sympy.Add):
            terms = factor.base.args
            if len(terms) == 2 and all(isinstance(term, sympy.exp) for term in terms):
                return factor, terms[0].args[0], terms[1].args[0]
    return None


def _by_sigmoid(product: sympy.Mul) -> sympy.Expr:
    """Write ``(Σ e^c)/(e^a + e^b)`` as ``σ(a-b)·Σ e^(c-a)``, which has an exponential and a division less."""
    found = _logistic_pair(product)
    assert found is not None
    factor, a, b = found
    above = product / factor
    return sigmoid(a - b) * sympy.Add(
        *[sympy.powsimp(term * sympy.exp(-a), combine="exp") for term in sympy.Add.make_args(above)]
    )


def _with_number_inside(product: sympy.Mul) -> sympy.Expr:
    """Multiply the number of a product into its first sum: ``½(2σ-1)·x`` is ``(σ-½)·x``."""
    number, rest = product.as_coeff_Mul()
    first = next(factor for factor in rest.as_ordered_factors() if factor.is_Add)
    return sympy.Add(*[number * term for term in first.args]) * (rest / first)


def _with_floats(expression: sympy.Expr) -> sympy.Expr:
    """Replace irrational numbers, so that every product has one numerical factor."""
    if expression.is_number and not expression.is_Rational:
        return sympy.N(expression, 20)
    if not expression.args:
        return expression
    return expression.func(*[_with_floats(argument) for argument in expression.args])
