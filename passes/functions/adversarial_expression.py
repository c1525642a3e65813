"""The fused form of a split adversarial function (the method, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import sympy
from sympy import Rational, atanh, exp, log, sinh, sqrt

from passes.evaluation.symbols import sigmoid, softplus, variables, x
from passes.functions.families import Bell, Constant, Exponential, Family
from passes.functions.integral import Integral
from passes.functions.split_terms import FamilyTerm, ScaledTerm, idle_sign
from passes.kernels.expression import Expression
from passes.kernels.forms import quick_form
from passes.kernels.words import held, inside, ramp, tabulated

Term = FamilyTerm | ScaledTerm
Description = tuple[Any, ...]


@dataclass(frozen=True)
class TermForm:
    """One term as a formula.

    Attributes:
        value: G, in ``x``, the coefficients and the table.
        slope: ``∂G/∂x``.
        coefficients: the scale's symbol, then the centre's, if there is one.
        table: the symbol of the table that G is looked up in, if it is.
    """

    value: sympy.Expr
    slope: sympy.Expr
    coefficients: tuple[sympy.Symbol, ...]
    table: sympy.Symbol | None = None

    def coefficient_slopes(self) -> list[sympy.Expr]:
        """Return ``∂G/∂scale`` and ``∂G/∂centre``; a centre moves G as ``x`` does, the other way."""
        return [self.value.diff(self.coefficients[0]), *[-self.slope for _ in self.coefficients[1:]]]


def adversarial_expression(
    terms: Sequence[Term],
    structure: sympy.Expr | None = None,
    *,
    input_clamp: float | None = None,
    term_clamp: float | None = None,
) -> Expression:
    """Return what evaluates ``ΣGᵢ(xᵢ) + constant`` or ``F(G₁(x₁) + constant₁, …)``, and its exact gradient.

    The coefficients are those of the terms in turn, then the constants; then come the terms' tables.

    Args:
        terms: the modules of the ``Gᵢ``.
        structure: F, in ``x1 … xn``, or None for the sum.
        input_clamp: the bound on the variables, or None.
        term_clamp: the bound on what enters F, or None.
    """
    return _adversarial_expression(tuple(map(_description, terms)), structure, input_clamp, term_clamp)


def _description(term: Term) -> Description:
    """Return what a term's formula depends on."""
    if isinstance(term, FamilyTerm):
        return term.family, term.sign, term.alpha, term.offset
    if isinstance(term.function, partial):
        return (term.function.func,)
    return term.slope, term.alpha


@lru_cache(maxsize=64)
def _adversarial_expression(
    descriptions: tuple[Description, ...],
    structure: sympy.Expr | None,
    input_clamp: float | None,
    term_clamp: float | None,
) -> Expression:
    split = variables(len(descriptions))
    forms = [_form(description, str(i)) for i, description in enumerate(descriptions, 1)]
    values = [form.value.xreplace({x: variable}) for form, variable in zip(forms, split, strict=True)]
    if structure is None:
        constants = [sympy.Symbol("constant", real=True)]
        value, outer = constants[0] + sympy.Add(*values), [sympy.S.One] * len(split)
        by_constants = [sympy.S.One]
    else:
        constants = [sympy.Symbol(f"constant{i}", real=True) for i in range(1, len(split) + 1)]
        value, outer = _composed(structure, [g + c for g, c in zip(values, constants, strict=True)], term_clamp)
        by_constants = outer
    slopes, by_coefficients = [], []
    for form, variable, factor in zip(forms, split, outer, strict=True):
        slopes.append(factor * form.slope.xreplace({x: variable}))
        by_coefficients += [factor * slope.xreplace({x: variable}) for slope in form.coefficient_slopes()]
    coefficients = [symbol for form in forms for symbol in form.coefficients]
    tables = [form.table for form in forms if form.table is not None]
    return Expression(
        value, split, (*coefficients, *constants, *tables), (*slopes, *by_coefficients, *by_constants), input_clamp
    )


def _composed(
    structure: sympy.Expr, inner: Sequence[sympy.Expr], clamp: float | None
) -> tuple[sympy.Expr, list[sympy.Expr]]:
    """Return F of what enters it, and the slope of that by each entry."""
    split = variables(len(inner))
    quick = quick_form(structure, clamp)
    entries = dict(zip(split, inner if clamp is None else [held(g, clamp) for g in inner], strict=True))
    slopes = [quick.diff(variable).xreplace(entries) for variable in split]
    if clamp is not None:
        slopes = [slope * inside(g, clamp) for slope, g in zip(slopes, inner, strict=True)]
    return quick.xreplace(entries), slopes


def _form(description: Description, label: str) -> TermForm:
    scale = sympy.Symbol(f"scale{label}", positive=True)
    match description:
        case (Integral() as integral,):
            lines = _lines(integral)
            return TermForm(scale * lines, scale * lines.diff(x), (scale,))
        case (sympy.Expr() as slope, alpha):
            return _tabulated_form(slope, alpha, scale, sympy.Symbol(f"table{label}", real=True))
        case (family, sign, alpha, offset):
            return _family_form(family, int(sign), _exact(alpha), _exact(offset), scale, label)
    raise TypeError(f"{description} describes no term")


def _exact(number: float) -> Rational:
    return Rational(repr(number))


def _lines(integral: Integral) -> sympy.Expr:
    """Return straight lines that bend at the pieces' ends, 0 at 0."""
    levels = [piece.family.scale for piece in integral.pieces if isinstance(piece.family, Constant)]
    slope = 1 / _exact(levels[0])
    value = slope * x
    for piece, level in zip(integral.pieces[1:], levels[1:], strict=True):
        change = 1 / _exact(level) - slope
        value += change * ramp(x - _exact(piece.low)) - change * max(0, -_exact(piece.low))
        slope += change
    return value


def _tabulated_form(slope: sympy.Expr, alpha: float, scale: sympy.Symbol, table: sympy.Symbol) -> TermForm:
    quick = quick_form(slope, None)
    idle = idle_sign(slope)
    sign = sympy.Piecewise((1, quick > 0), (-1, quick < 0), (int(idle), True))
    reciprocal = sign / (sympy.Abs(quick) + _exact(alpha))
    return TermForm(scale * tabulated(x, table), scale * reciprocal, (scale,), table)


def _family_form(
    family: Family, sign: int, alpha: Rational, offset: Rational, scale: sympy.Symbol, label: str
) -> TermForm:
    if isinstance(family, Constant):
        return TermForm(sign * x / (scale + alpha) - sign * offset, sign / (scale + alpha), (scale,))
    rate = _exact(family.rate)
    if isinstance(family, Exponential):
        value = softplus(log(alpha / scale) - rate * x) / (-alpha * rate) if alpha else exp(-rate * x) / (-scale * rate)
        slope = 1 / (scale * exp(rate * x) + alpha)
        return TermForm(sign * (value - offset), sign * slope, (scale,))
    centre = sympy.Symbol(f"centre{label}", real=True)
    u = rate * (x - centre)
    level = sigmoid(u)
    if isinstance(family, Bell):
        # Without a lift, the kernel's relative precision counts.
        value, kernel = _under_bell(u, scale, rate, alpha), level * (1 - level if alpha else sigmoid(-u))
    else:
        value, kernel = _under_sigmoid(u, scale, rate, alpha), level
    return TermForm(sign * (value - offset), sign / (scale * kernel + alpha), (scale, centre))


def _under_bell(u: sympy.Expr, scale: sympy.Symbol, rate: Rational, alpha: Rational) -> sympy.Expr:
    if not alpha:
        return (2 * u + 2 * sinh(u)) / (scale * rate)
    root = sqrt(1 + 4 * alpha / scale)
    return (u - (2 / root) * atanh((2 * sigmoid(u) - 1) / root)) / (alpha * rate)


def _under_sigmoid(u: sympy.Expr, scale: sympy.Symbol, rate: Rational, alpha: Rational) -> sympy.Expr:
    if not alpha:
        return (u - exp(-u)) / (scale * rate)
    lift = alpha / scale
    return (u - softplus(log(lift / (1 + lift)) - u) / lift) / ((1 + lift) * scale * rate)
