"""The fused form of a decomposition."""

from __future__ import annotations

from functools import lru_cache

import sympy

from passes.evaluation.symbols import variables
from passes.kernels.expression import Expression
from passes.kernels.forms import quick_form


@lru_cache(maxsize=64)
def split_expression(expression: sympy.Expr, clamp: float | None) -> Expression:
    """Return what evaluates a decomposition, and its exact gradient.

    Args:
        expression: F, in ``x1 … xn``.
        clamp: the bound on the variables, or None.
    """
    split = variables(len(expression.free_symbols))
    value = quick_form(expression, clamp)
    return Expression(value, split, (), tuple(value.diff(variable) for variable in split), clamp)
