"""The fused form of CRReLU (EAFO paper; the method, section 5)."""

from __future__ import annotations

from functools import lru_cache

import sympy

from passes.evaluation.symbols import x
from passes.kernels.expression import Expression
from passes.kernels.words import ramp


@lru_cache(maxsize=1)
def crrelu_expression() -> Expression:
    """Return what evaluates ``max(0,x) + ε·x·e^(-x²/2)``, and its exact gradient; the coefficient is ε."""
    epsilon = sympy.Symbol("epsilon", real=True)
    value = ramp(x) + epsilon * x * sympy.exp(-(x**2) / 2)
    return Expression(value, (x,), (epsilon,), (value.diff(x), value.diff(epsilon)))
