"""Recognising by machine the family that a slope belongs to.

With ``q = ln|s|`` each family obeys a differential equation whose constant is its rate: ``q' = 0`` for a constant,
``q' = rate`` for an exponential, ``q'² - q'' = rate·q'`` for a sigmoid, ``q'² - 2q'' = rate²`` for a bell. Elementary
analytic functions that agree on an interval agree everywhere, so the equations are tested at points of one interval, in
float64.
"""

from __future__ import annotations

import math
from functools import lru_cache

import sympy
import torch
from torch import Tensor

from passes.evaluation.symbols import x
from passes.functions.families import Bell, Constant, Exponential, Family, Sigmoid
from passes.functions.program import compile_expression

_NOT_ANALYTIC = (sympy.Piecewise, sympy.Abs, sympy.sign, sympy.Max, sympy.Min)
_ZERO = 41  # the index of 0 among the points


@lru_cache(maxsize=256)
def recognise(slope: sympy.Expr) -> Family | None:
    """Return the family of ``|slope|``, a function of ``x``, or None if it is in none of them."""
    if slope.has(*_NOT_ANALYTIC):
        return None
    points = torch.linspace(-4.0, 4.0, 2 * _ZERO + 1, dtype=torch.float64, device="cpu")
    s, ds, dds = (compile_expression(slope.diff(x, order), (x,))(points) for order in range(3))
    if not bool(s.any()):
        return Constant(0.0)
    if not bool((s.sign() == s[0].sign()).all()):
        return None
    q1 = ds / s
    q2 = dds / s - q1.square()
    at_zero, tilt = abs(float(s[_ZERO])), float(q1[_ZERO])
    if (rate := _constant(q1)) is not None:
        return Constant(at_zero) if rate == 0.0 else Exponential(at_zero, rate)
    if (rate := _constant((q1.square() - q2) / q1)) is not None and 0 < tilt / rate < 1:
        centre = math.log(tilt / (rate - tilt)) / rate
        return Sigmoid(at_zero / _sigmoid(-rate * centre), rate, round(centre, 12))
    if (square := _constant(q1.square() - 2 * q2)) is not None and square > tilt**2:
        rate = round(math.sqrt(square), 12)
        centre = 2 / rate * math.atanh(tilt / rate)
        level = _sigmoid(-rate * centre)
        return Bell(at_zero / (level * (1 - level)), rate, round(centre, 12))
    return None


def _constant(values: Tensor) -> float | None:
    middle = float(values.median())
    if not bool(torch.isfinite(values).all()) or float((values - middle).abs().max()) > 1e-8 * max(1.0, abs(middle)):
        return None
    return round(middle, 12)


def _sigmoid(u: float) -> float:
    return 1 / (1 + math.exp(-u))
