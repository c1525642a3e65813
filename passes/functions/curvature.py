"""The relative curvature ``f''/f'`` of an activation that has an inverse, derived by SymPy.

With ``y`` the inverse of ``f``, ``y'' / y' = -f''/f'²`` at ``f(u)``: whatever EAFO needs to know of the inverse is in
the relative curvature, as a function of the pre-activation ``u``. Where f is flat, as ReLU below 0, it has no inverse;
the curvature counts as 0 there, which continues the inverse of the part beside it, as the paper does with ReLU.
"""

from __future__ import annotations

from functools import lru_cache

import sympy
import torch

from passes.evaluation.symbols import x
from passes.functions.dyadic import dyadic_knots
from passes.functions.intervals import intervals
from passes.functions.program import Program, compile_expression

REACH = 32.0
_STEEPEST = 1e6
_NUDGE = 2.0**-40
_MOST_KINKS = 3  # with four, SymPy may take minutes over the pieces


@lru_cache(maxsize=64)
def relative_curvature(f: sympy.Expr) -> Program | str:
    """Return ``f''/f'`` as a function of ``x``, or the reason why ``f`` is not EAFO's to optimise.

    Args:
        f: an activation, in ``x`` alone.
    """
    if len(f.atoms(sympy.Piecewise, sympy.Abs)) > _MOST_KINKS:
        return "it has too many pieces"
    slope = sympy.piecewise_fold(f.replace(sympy.Abs, lambda u: sympy.Piecewise((u, u > 0), (-u, True)))).diff(x)
    knots = dyadic_knots(-REACH, REACH, 4096)
    values = compile_expression(slope, (x,))(knots)
    if bool((values < 0).any()):
        at = float(knots[int(values.argmin())])
        return f"it has no inverse: it falls at {at:g}"
    found = intervals(slope)
    if found is None:
        return "where its pieces end is not found"
    edges, pieces = found
    curvatures = [sympy.S.Zero if piece == 0 else sympy.cancel(piece.diff(x) / piece) for piece in pieces]
    conditions = [*(x < edge for edge in edges), sympy.true]
    expression = sympy.Piecewise(*zip(curvatures, conditions, strict=True)) if edges else curvatures[0]
    program = compile_expression(expression, (x,))
    around = torch.cat([knots - _NUDGE, knots + _NUDGE])
    steepness = program(around).abs()
    if not bool((steepness < _STEEPEST).all()):
        at = float(around[int(steepness.nan_to_num(torch.inf).argmax())])
        return f"its inverse has no slope at {round(at, 6):g}"
    return program
