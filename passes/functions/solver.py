"""Solving ``g' = 1/(f'+α)``, ``g(0) = 0``: a closed form, else SymPy, else a table (the method, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import sympy
from torch import Tensor

from passes.evaluation.symbols import x
from passes.evaluation.table import Coefficients, tabulate
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.closed_forms import Scalar, under_softsign, under_squared_tanh
from passes.functions.families import Family, Line
from passes.functions.integral import Integral
from passes.functions.intervals import intervals
from passes.functions.program import Program, compile_expression
from passes.functions.recognition import recognise
from passes.functions.symbolic import SymbolicIntegral, symbolic_integral

Kind = Literal["closed", "sympy", "table"]


class LiftedIntegral(Protocol):
    """An antiderivative of ``1/(s+α)``, elementwise, for float32 or float64."""

    def __call__(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return its value at ``x``."""


# Slopes that are in no family but have a closed integral all the same, for alpha > 0.
_SINGULAR: dict[str, LiftedIntegral] = {"softsign": under_softsign, "tanhshrink": under_squared_tanh}


@dataclass(frozen=True)
class Slope:
    """The slope ``f'`` of an activation.

    Attributes:
        expression: in ``x``.
        program: the same as torch operations.
        closed: ``(x, α) -> g``, where one is known.
    """

    expression: sympy.Expr
    program: Program
    closed: LiftedIntegral | None

    @property
    def needs_no_lift(self) -> bool:
        """Whether there is a closed form with α = 0."""
        return isinstance(self.closed, Integral) and self.closed.is_positive

    @property
    def is_piecewise_constant(self) -> bool:
        """Whether g consists of straight lines."""
        return isinstance(self.closed, Integral) and self.closed.is_linear


@lru_cache(maxsize=64)
def slope_of(f: sympy.Expr) -> Slope:
    """Return the slope of an activation, an expression in ``x``."""
    slope = sympy.piecewise_fold(f).diff(x)
    return Slope(slope, compile_expression(slope, (x,)), _singular(f) or _joined(slope))


def _singular(f: sympy.Expr) -> LiftedIntegral | None:
    return next((form for name, form in _SINGULAR.items() if catalogue_entry(name).expression == f), None)


def _joined(slope: sympy.Expr) -> Integral | None:
    found = intervals(slope)
    if found is None:
        return None
    edges, pieces = found
    families = [family for family in map(_family, pieces) if family is not None]
    return Integral.of(edges, families) if len(families) == len(pieces) else None


def _family(slope: sympy.Expr) -> Family | Line | None:
    tilt = slope.diff(x)
    if tilt.is_number and not tilt.is_zero:
        return Line(float(slope.subs(x, 0)), float(tilt))
    return recognise(slope)


@lru_cache(maxsize=1)
def _catalogued() -> frozenset[sympy.Expr]:
    return frozenset(slope_of(catalogue_entry(name).at({})).expression for name in activation_names())


@lru_cache(maxsize=64)
def tabulated(slope: sympy.Expr, alpha: float) -> Coefficients:
    """Return the table of g, for a slope without a closed form."""
    program = compile_expression(slope, (x,))
    return tabulate(lambda points: 1 / (program(points) + alpha))


@lru_cache(maxsize=64)
def by_sympy(slope: sympy.Expr, alpha: float) -> SymbolicIntegral | None:
    """Return g as SymPy finds it in the time it is given, verified against the table, or None.

    The catalogue's functions without a closed form have no elementary integral, so none is searched for.
    """
    if slope in _catalogued():
        return None
    return symbolic_integral(1 / (slope + sympy.Rational(repr(float(alpha)))), tabulated(slope, alpha))
