"""One term ``Gᵢ`` of a split adversarial function: the lifted reciprocal of a partial derivative, integrated.

Source: the NA paper; the method, section 3.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import sympy
import torch
from torch import Tensor, nn

from passes.evaluation.exact_gradient import Elementwise
from passes.evaluation.symbols import variables, x
from passes.evaluation.table import REACH, Coefficients, Table, tabulate
from passes.functions.families import Constant, Exponential, Family
from passes.functions.integral import Integral
from passes.functions.intervals import intervals
from passes.functions.program import compile_expression
from passes.functions.recognition import recognise
from rewriter.errors import UsageError


class FamilyTerm(nn.Module):
    """A term whose frozen slope ``∂F/∂xᵢ`` is in a known family; the family's coefficients are trained.

    ``log_scale`` keeps the scale positive; ``centre``, where the family has one, may be any number. They start where
    every frozen variable is 1, and there G(0) = 0.
    """

    centre: nn.Parameter | None

    def __init__(self, family: Family, sign: float, alpha: float) -> None:
        super().__init__()
        self.family, self.sign, self.alpha = family, sign, alpha
        unit = [family.scale] if isinstance(family, Constant | Exponential) else [family.scale, family.centre]
        self.log_scale = nn.Parameter(torch.tensor(math.log(family.scale)))
        self.register_parameter("centre", nn.Parameter(torch.tensor(unit[1])) if len(unit) > 1 else None)
        zero, *coefficients = torch.tensor([0.0, *unit], dtype=torch.float64, device="cpu")
        self.offset = float(family.trained(zero, alpha, coefficients))

    def coefficients(self, dtype: torch.dtype) -> list[Tensor]:
        """Return the scale and the centre, where there is one."""
        scale = self.log_scale.to(dtype).exp()
        return [scale] if self.centre is None else [scale, self.centre.to(dtype)]

    def forward(self, x: Tensor) -> Tensor:
        """Return G, elementwise, for float32 or float64."""
        return self.value(x, self.coefficients(x.dtype))

    def value(self, x: Tensor, coefficients: list[Tensor]) -> Tensor:
        """Return G for given coefficients."""
        value = self.family.trained(x, self.alpha, coefficients)
        if self.offset:
            value = value - self.offset
        return value if self.sign > 0 else -value

    def extra_repr(self) -> str:
        """Tell the family."""
        return f"{type(self.family).__name__}, sign={self.sign:+.0f}, alpha={self.alpha}"


class ScaledTerm(nn.Module):
    """A term at its unit values, with a trainable positive scale ``e^log_scale``.

    Attributes:
        function: G with a scale of 1.
        slope: ``∂F/∂xᵢ`` as a function of ``x``.
        alpha: the lift.
    """

    def __init__(self, function: Elementwise, slope: sympy.Expr, alpha: float) -> None:
        super().__init__()
        self.function, self.slope, self.alpha = function, slope, alpha
        self.log_scale = nn.Parameter(torch.zeros(()))

    def coefficients(self, dtype: torch.dtype) -> list[Tensor]:
        """Return the scale."""
        return [self.log_scale.to(dtype).exp()]

    def forward(self, x: Tensor) -> Tensor:
        """Return G, elementwise, for float32 or float64."""
        return self.value(x, self.coefficients(x.dtype))

    def value(self, x: Tensor, coefficients: list[Tensor]) -> Tensor:
        """Return G for a given scale."""
        return coefficients[0] * self.function(x)


def frozen_slope(expression: sympy.Expr, terms: int, i: int) -> sympy.Expr:
    """Return ``∂F/∂xᵢ`` with every other variable at 1, as a function of ``x``; ``i`` counts from 1."""
    split = variables(terms)
    others = {variable: sympy.S.One for variable in split if variable != split[i - 1]}
    return expression.diff(split[i - 1]).subs(others).subs(split[i - 1], x)


def split_term(expression: sympy.Expr, terms: int, i: int, alpha: float) -> FamilyTerm | ScaledTerm:
    """Return the module of ``Gᵢ``, with ``Gᵢ' = sgn(s)/(|s|+α)`` for the frozen slope ``s``.

    Raises:
        UsageError: α = 0 for a term without a closed form.
    """
    slope = frozen_slope(expression, terms, i)
    family = recognise(slope)
    if family is not None and family.scale > 0:
        at_zero = float(compile_expression(slope, (x,))(torch.zeros((), dtype=torch.float64, device="cpu")))
        return FamilyTerm(family, math.copysign(1.0, at_zero), alpha)
    lines = _straight_lines(slope, alpha)
    if lines is not None:
        return ScaledTerm(lines, slope, alpha)
    if alpha == 0:
        raise UsageError(
            expected=f"alpha > 0, since term {i} of {expression} has no closed form",
            found="alpha = 0",
            remedy="raise alpha",
        )
    return ScaledTerm(Table(_tabulated(slope, alpha)), slope, alpha)


def _straight_lines(slope: sympy.Expr, alpha: float) -> Elementwise | None:
    """Return ``Gᵢ`` where the slope has one value on each of some intervals, else None."""
    steps = sympy.piecewise_fold(slope.rewrite(sympy.Piecewise))
    values = [value for value, _ in steps.args] if isinstance(steps, sympy.Piecewise) else [steps]
    if not all(value.is_number for value in values):
        return None
    found = intervals(steps)
    if found is None:
        return None
    edges, pieces = found
    levels = [float(piece) for piece in pieces]
    # Where a slope vanishes, it has the sign it has elsewhere.
    idle = -alpha if max(levels) <= 0 else alpha
    lifted = [math.copysign(abs(level) + alpha, level) if level else idle for level in levels]
    return None if 0 in lifted else partial(Integral.of(edges, [Constant(level) for level in lifted]), alpha=0.0)


@lru_cache(maxsize=64)
def idle_sign(slope: sympy.Expr) -> float:
    """Return the sign of a lifted slope where the slope vanishes on an interval: the one it has elsewhere."""
    program = compile_expression(slope, (x,))
    values = program(torch.linspace(-REACH, REACH, 64 * REACH + 1, dtype=torch.float64, device="cpu"))
    return -1.0 if bool((values <= 0).all()) else 1.0


@lru_cache(maxsize=64)
def _tabulated(slope: sympy.Expr, alpha: float) -> Coefficients:
    program = compile_expression(slope, (x,))

    idle = idle_sign(slope)

    def reciprocal(points: Tensor) -> Tensor:
        value = program(points)
        return torch.where(value == 0, idle, value.sign()) / (value.abs() + alpha)

    return tabulate(reciprocal)
