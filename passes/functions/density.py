"""Probability densities of pre-activations, checked to integrate to 1 (EAFO paper; the method, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from passes.functions.dyadic import dyadic_knots
from rewriter.errors import UsageError

Function = Callable[[Tensor], Tensor]

_CELLS = 4096
_TOLERANCE = 1e-6
_NORMAL_REACH = 10.0
_NODES, _WEIGHTS = (torch.from_numpy(array / 2) for array in np.polynomial.legendre.leggauss(6))


@dataclass(frozen=True)
class Density:
    """A probability density ``p`` of one real variable; its functions are elementwise, float64 to float64.

    Args:
        value: ``p(u)``.
        slope: ``p'(u)``.
        low: where p begins: the mass below is taken as none.
        high: where p ends.
        label: what it is called in reports.

    Raises:
        UsageError: p is negative somewhere, or does not integrate to 1 over [low, high].
    """

    value: Function
    slope: Function
    low: float
    high: float
    label: str

    def __post_init__(self) -> None:
        total = float(self.masses.sum())
        if not abs(total - 1) <= _TOLERANCE:
            raise UsageError(
                expected=f"a density that integrates to 1 over [{self.low:g}, {self.high:g}]",
                found=f"the integral {total:.7g}",
                remedy="divide it by its integral, or widen the interval",
            )
        least = float(self.value(self.knots).min())
        if least < 0:
            raise UsageError(
                expected="a density that is nowhere negative", found=f"the value {least:.4g}", remedy="correct it"
            )

    @cached_property
    def knots(self) -> Tensor:
        """The ends of the cells that the density is integrated on, float64 ``[cells + 1]``, uniform."""
        return dyadic_knots(self.low, self.high, _CELLS)

    @cached_property
    def masses(self) -> Tensor:
        """The probability of each cell, float64 ``[cells]``."""
        return self.mass(self.knots[:-1], self.knots[1:])

    def cdf(self, points: Tensor) -> Tensor:
        """Return ``∫ p`` from ``low`` to each point."""
        inside = points.clamp(float(self.knots[0]), float(self.knots[-1]))
        cell = ((inside - self.knots[0]) / (self.knots[1] - self.knots[0])).long()
        before = torch.cat([self.masses.new_zeros(1), self.masses.cumsum(0)])
        return before[cell] + self.mass(self.knots[cell], inside)

    def mass(self, start: Tensor, end: Tensor) -> Tensor:
        """Return ``∫ p`` from each start to each end, which lie close together, by Gauss-Legendre quadrature."""
        inner = start.clamp(self.low, self.high)
        width = end.clamp(self.low, self.high) - inner
        points = inner[..., None] + width[..., None] * (_NODES + 0.5)
        return (self.value(points) * _WEIGHTS).sum(-1) * width


def normal(mean: float = 0.0, std: float = 1.0) -> Density:
    """Return the Gaussian density.

    Raises:
        UsageError: ``std`` is not positive.
    """
    if not std > 0:
        raise UsageError(expected="a standard deviation above 0", found=f"{std:g}", remedy="raise it")

    def value(u: Tensor) -> Tensor:
        return torch.exp(-0.5 * ((u - mean) / std).square()) / (std * math.sqrt(2 * math.pi))

    def slope(u: Tensor) -> Tensor:
        return value(u) * (mean - u) / std**2

    reach = _NORMAL_REACH * std
    return Density(
        value, slope, mean - reach, mean + reach, f"N({mean:g}, {std:g}²)" if std != 1 else f"N({mean:g}, 1)"
    )
