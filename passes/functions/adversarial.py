"""The global adversarial function (GA) of any activation: ``g' = 1/(f'+α)``, ``g(0) = 0``.

Source: the NA paper; the method, section 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import sympy
import torch
from torch import Tensor, nn

from passes.functions import precision
from passes.functions.catalogue import catalogue_entry
from passes.functions.closed_forms import under_ramp, under_softsign, under_squared_tanh
from passes.functions.families import Constant
from passes.functions.integral import Integral
from passes.functions.intervals import intervals
from passes.functions.program import Program, compile_expression
from passes.functions.recognition import recognise
from passes.functions.symbols import x
from passes.functions.table import Coefficients, Table, tabulate
from rewriter.errors import UsageError

# Slopes that are in no family but have a closed integral all the same, for alpha > 0.
_SINGULAR: dict[str, Callable[..., Tensor]] = {
    "softsign": under_softsign,
    "tanhshrink": under_squared_tanh,
    "squared_relu": under_ramp,
}


class Adversarial(nn.Module):
    """The adversarial function ``g`` of one activation ``f``; make it with :func:`adversarial`.

    Elementwise, any floating dtype; float16 and bfloat16 are computed in float32.

    Attributes:
        name: the activation it is adversarial to.
        alpha: the lift α.
        kind: ``"closed"`` or ``"table"``.
        clamp: the bound put on the inputs, where α = 0 needs one, else None.
    """

    def __init__(
        self, name: str, alpha: float, integral: Callable[[Tensor], Tensor], slope: Program, clamp: float | None
    ) -> None:
        super().__init__()
        self.name, self.alpha, self.clamp = name, alpha, clamp
        self.kind = "table" if isinstance(integral, Table) else "closed"
        self.integral = integral
        self._slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Return ``g(x)``, in the shape and dtype of ``x``."""
        wide = precision.widen(x)
        if self.clamp is not None:
            wide = wide.clamp(-self.clamp, self.clamp)
        return precision.narrow(self.integral(wide), x)

    def derivative(self, x: Tensor) -> Tensor:
        """Return ``g'(x) = 1/(f'(x)+α)``, and 0 where the input is clamped."""
        wide = precision.widen(x)
        slope = 1 / (self._slope(wide) + self.alpha)
        if self.clamp is not None:
            slope = torch.where(wide.abs() <= self.clamp, slope, torch.zeros_like(slope))
        return precision.narrow(slope, x)

    def extra_repr(self) -> str:
        """Tell the function."""
        bound = "" if self.clamp is None else f", clamp={self.clamp}"
        return f"of={self.name}, alpha={self.alpha}, kind={self.kind}{bound}"


def adversarial(name: str, alpha: float = 1.0, *, clamp: float = 4.0, **params: float) -> Adversarial:
    """Return the module of the global adversarial function of an activation.

    Args:
        name: a canonical name of the catalogue.
        alpha: the lift α ≥ 0.
        clamp: inputs are held to ±clamp where α = 0 makes g grow exponentially (sigmoid, tanh, softplus, ELU).
        params: the activation's parameters.

    Raises:
        UsageError: unknown name or parameter, or an α too small for this activation (the least that works is named).
    """
    slope, program = _slope(catalogue_entry(name).at(params))
    _require_lift(name, slope, alpha)
    pieces = _closed(slope, alpha)
    if pieces is not None:
        growing = alpha == 0 and not all(isinstance(family, Constant) for family in pieces.families)
        return Adversarial(name, alpha, pieces, program, clamp if growing else None)
    if name in _SINGULAR:
        return Adversarial(name, alpha, partial(_SINGULAR[name], lift=alpha), program, None)
    return Adversarial(name, alpha, Table(_tabulated(slope, alpha)), program, None)


@lru_cache(maxsize=64)
def _slope(f: sympy.Expr) -> tuple[sympy.Expr, Program]:
    slope = sympy.piecewise_fold(f).diff(x)
    return slope, compile_expression(slope, (x,))


@lru_cache(maxsize=64)
def _closed(slope: sympy.Expr, alpha: float) -> Integral | None:
    edges, pieces = intervals(slope)
    families = tuple(family for family in map(recognise, pieces) if family is not None)
    return Integral.of(edges, families, alpha) if len(families) == len(pieces) else None


@lru_cache(maxsize=64)
def _tabulated(slope: sympy.Expr, alpha: float) -> Coefficients:
    program = compile_expression(slope, (x,))
    return tabulate(lambda points: 1 / (program(points) + alpha))


@lru_cache(maxsize=256)
def least_slope(slope: sympy.Expr) -> float:
    """Return the infimum of ``slope``, a function of ``x``, over [-32, 32], found by zooming in on the least value."""
    program = compile_expression(slope, (x,))
    low, high = -32.0, 32.0
    for _ in range(6):
        points = torch.linspace(low, high, 2**13 + 1, dtype=torch.float64, device="cpu")
        values = program(points)
        at = int(values.argmin())
        low, high = float(points[max(at - 1, 0)]), float(points[min(at + 1, len(points) - 1)])
    return float(values.min())


def _require_lift(name: str, slope: sympy.Expr, alpha: float) -> None:
    pieces = _closed(slope, 1.0)
    if alpha == 0 and pieces is not None and all(family.scale > 0 for family in pieces.families):
        return
    least = max(0.0, -least_slope(slope))
    if alpha > least:
        return
    raise UsageError(
        expected=f"alpha >= {math.ceil(least * 1e4) / 1e4} for {name}" if least else f"alpha > 0 for {name}",
        found=f"alpha = {alpha:g}",
        remedy="raise alpha, so that the slope f' + alpha stays positive everywhere",
    )
