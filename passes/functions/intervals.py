"""Splitting a piecewise slope into intervals."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import sympy

from passes.evaluation.symbols import x


@lru_cache(maxsize=64)
def intervals(slope: sympy.Expr) -> tuple[tuple[float, ...], tuple[sympy.Expr, ...]]:
    """Return the inner ends, ascending, and the expression that holds on each interval between them.

    An expression that is not a single ``Piecewise`` in ``x`` is one interval.
    """
    if not isinstance(slope, sympy.Piecewise):
        return (), (slope,)
    ends: set[sympy.Expr] = set()
    for condition in (condition for _, condition in slope.args):
        ends.update(end for end in condition.as_set().boundary if end.is_finite)
    edges = sorted(ends)
    outer = [edges[0] - 1, *edges, edges[-1] + 1]
    middles = [(left + right) / 2 for left, right in pairwise(outer)]
    pieces = tuple(next(piece for piece, condition in slope.args if condition.subs(x, middle)) for middle in middles)
    return tuple(float(edge) for edge in edges), pieces
