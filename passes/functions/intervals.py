"""Splitting a piecewise slope into intervals."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import sympy
from sympy.core.relational import Relational

from passes.evaluation.symbols import x


@lru_cache(maxsize=64)
def intervals(slope: sympy.Expr) -> tuple[tuple[float, ...], tuple[sympy.Expr, ...]] | None:
    """Return the inner ends, ascending, and the expression that holds on each interval between them.

    An expression that is not a single ``Piecewise`` in ``x`` is one interval. None where the ends are not those of
    comparisons of polynomials, which alone are solved surely and in time.
    """
    if not isinstance(slope, sympy.Piecewise):
        return (), (slope,)
    conditions = [condition for _, condition in slope.args]
    compared = [one.lhs - one.rhs for condition in conditions for one in condition.atoms(Relational)]
    if not all(difference.is_polynomial(x) for difference in compared):
        return None
    edges = sorted({end for condition in conditions for end in condition.as_set().boundary if end.is_finite})
    if not edges:
        return None
    outer = [edges[0] - 1, *edges, edges[-1] + 1]
    middles = [(left + right) / 2 for left, right in pairwise(outer)]
    pieces = tuple(next(piece for piece, condition in slope.args if condition.subs(x, middle)) for middle in middles)
    return tuple(float(edge) for edge in edges), pieces
