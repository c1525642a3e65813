"""WAFBC, the activation with the highest output entropy for a density (EAFO paper; the method, section 5)."""

from __future__ import annotations

from passes.functions.density import Density
from passes.functions.spline import Spline


def worst_activation(density: Density) -> Spline:
    """Return the activation onto [0, 1] whose inverse solves ``p(y)·y' = const``.

    Its output is uniform. From ``dx/du = p(u)/const`` and the ends of the range follows ``const = ∫p = 1``: ``x`` is
    the integral of p: the cumulative distribution.
    """
    return Spline(density.cdf, density.low, density.high)
