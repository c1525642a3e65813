"""What the factors of a product are: divisors, gates, and pairs that one operation multiplies and adds."""

from __future__ import annotations

import sympy

from passes.kernels.words import inside, positive

GATES = (positive, inside)
"""Factors that are 0 or 1 for each element."""


def is_quotient(factor: sympy.Expr) -> bool:
    """Say whether a factor divides."""
    return isinstance(factor, sympy.Pow) and bool(factor.exp.is_negative)


def pair(factors: list[sympy.Expr]) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Write a product as two factors, if it is one and has no divisor."""
    if any(is_quotient(factor) or isinstance(factor, GATES) for factor in factors):
        return None
    if len(factors) > 1:
        return sympy.Mul(*factors[:-1]), factors[-1]
    if factors and isinstance(factors[0], sympy.Pow) and factors[0].exp in (2, 3):
        base, exponent = factors[0].args
        return base ** (exponent - 1), base
    return None
