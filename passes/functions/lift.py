"""The least lift α at which an activation has an adversarial function."""

from __future__ import annotations

import math
from functools import lru_cache

import sympy
import torch

from passes.evaluation.symbols import x
from passes.functions.program import compile_expression
from rewriter.errors import UsageError


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


def infimum_lift(slope: sympy.Expr) -> float:
    """Return the α that must be exceeded for ``slope + α`` to be positive everywhere; 0 at least."""
    return max(0.0, round(-least_slope(slope), 9))


def require_lift(name: str, slope: sympy.Expr, alpha: float) -> None:
    """Check that ``slope + alpha`` is positive everywhere.

    Raises:
        UsageError: it is not; the least α, to four digits, that works is named.
    """
    infimum = infimum_lift(slope)
    if alpha > infimum and math.isfinite(alpha):
        return
    least = f"alpha >= {(math.floor(infimum * 1e4) + 1) / 1e4:.4f}" if infimum else "alpha > 0"
    raise UsageError(
        expected=f"{least} for {name}",
        found=f"alpha = {alpha:g}",
        remedy="raise alpha, so that the slope f' + alpha stays positive everywhere",
    )
