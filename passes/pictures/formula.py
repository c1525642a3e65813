"""The closed forms of adversarial functions as formulas, read off the integrals that are computed.

Source: the method, section 1.
"""

from __future__ import annotations

from itertools import pairwise

import sympy
from sympy import Rational, atan, atanh, exp, log, sinh, sqrt, tanh

from passes.evaluation.symbols import x
from passes.functions.closed_forms import under_softsign, under_squared_tanh
from passes.functions.families import Bell, Constant, Exponential, Family, Line
from passes.functions.integral import Integral, Piece
from passes.functions.solver import LiftedIntegral

ALPHA = sympy.Symbol("α", positive=True)
_TOLERANCE = 1e-11


def closed_formula(closed: LiftedIntegral, lifted: bool) -> sympy.Expr:
    """Return g, in ``x`` and, where it is lifted, in :data:`ALPHA`; with α = 0 as it is within the clamp."""
    alpha = ALPHA if lifted else sympy.S.Zero
    if isinstance(closed, Integral):
        return _joined(closed.pieces, alpha)
    return {under_softsign: _under_softsign, under_squared_tanh: _under_squared_tanh}[closed](alpha)


def _joined(pieces: tuple[Piece, ...], alpha: sympy.Expr) -> sympy.Expr:
    """Add to each piece's own integral the whole of those between it and 0."""
    values = {piece: _part(piece, alpha) for piece in pieces}
    home = next(i for i, piece in enumerate(pieces) if piece.low <= 0 <= piece.high)
    for outward in (pieces[home:], pieces[home::-1]):
        for inner, outer in pairwise(outward):
            values[outer] += values[inner].subs(x, _exact(outer.origin))
    inner_ends = [(sympy.factor_terms(values[piece]), x <= _exact(piece.high)) for piece in pieces[:-1]]
    return sympy.Piecewise(*inner_ends, (sympy.factor_terms(values[pieces[-1]]), True))


def _part(piece: Piece, alpha: sympy.Expr) -> sympy.Expr:
    distance = sympy.Dummy("t", real=True)
    integral = _integral(piece.family, alpha, distance)
    return (integral - integral.subs(distance, 0)).subs(distance, x - _exact(piece.origin))


def _integral(family: Family | Line, alpha: sympy.Expr, t: sympy.Expr) -> sympy.Expr:
    """Return an antiderivative of ``1/(slope + alpha)``, as :mod:`passes.functions.families` computes it."""
    if isinstance(family, Line):
        level, tilt = _exact(family.level) + alpha, _exact(family.tilt)
        return log(1 + t * tilt / level) / tilt
    scale = _exact(family.scale)
    if isinstance(family, Constant):
        return t / (scale + alpha)
    rate = _exact(family.rate)
    lift = alpha / scale
    if isinstance(family, Exponential):
        u = rate * t
        return (-exp(-u) if lift == 0 else -log(1 + lift * exp(-u)) / lift) / (scale * rate)
    u = rate * (t - _exact(family.centre))
    if isinstance(family, Bell):
        root = sqrt(1 + 4 * lift)
        bell = 2 * u + 2 * sinh(u) if lift == 0 else (u - 2 / root * atanh(tanh(u / 2) / root)) / lift
        return bell / (scale * rate)
    sigmoid = u - exp(-u) if lift == 0 else (u - log(1 + lift / (1 + lift) * exp(-u)) / lift) / (1 + lift)
    return sigmoid / (scale * rate)


def _under_softsign(alpha: sympy.Expr) -> sympy.Expr:
    size, root = sympy.Abs(x), sqrt(alpha)
    return sympy.sign(x) * (size - atan(root * size / (1 + alpha * (1 + size))) / root) / alpha


def _under_squared_tanh(alpha: sympy.Expr) -> sympy.Expr:
    root = sqrt(alpha)
    return (x + atan(tanh(x) / root) / root) / (1 + alpha)


def _exact(value: float) -> sympy.Rational:
    """Return the simplest fraction that a number computed in float64 may stand for."""
    return Rational(sympy.nsimplify(value, rational=True, tolerance=_TOLERANCE))
