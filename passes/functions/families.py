"""Families of slopes whose lifted reciprocal has a closed integral.

A slope is ``s(x) = scale·k(rate·(x - centre))`` for one of four kernels k, or a straight line. Each family gives an
antiderivative ``integral`` of ``1/(s+α)``, exact near its zero; the kernels also give ``trained``, for a scale
(positive) and a centre that are 0-dimensional tensors, in as few elementwise passes as it takes. The lift α ≥ 0 is a
number or a 0-dimensional tensor; with α > 0 all are finite, as are their gradients, for any finite input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from passes.functions.closed_forms import Scalar, under_bell, under_exponential, under_line, under_sigmoid


@dataclass(frozen=True)
class Constant:
    """The slope ``scale``."""

    scale: float

    def integral(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return ``x/(scale+α)``."""
        return x * (1 / (self.scale + alpha))

    def trained(self, x: Tensor, alpha: float, coefficients: Sequence[Tensor]) -> Tensor:
        """Return ``x/(scale+α)``; the coefficients are the scale."""
        (scale,) = coefficients
        return x / (scale + alpha)

    def seen_from(self, origin: float) -> Constant:
        """Return the same slope as a function of the distance to ``origin``."""
        return self


@dataclass(frozen=True)
class Line:
    """The slope ``level + tilt·x``, which must stay above -α."""

    level: float
    tilt: float

    def integral(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return the antiderivative that is 0 at 0."""
        return under_line(x, self.level + alpha, self.tilt)

    def seen_from(self, origin: float) -> Line:
        """Return the same slope as a function of the distance to ``origin``."""
        return Line(self.level + self.tilt * origin, self.tilt)


@dataclass(frozen=True)
class Exponential:
    """The slope ``scale·e^(rate·x)``."""

    scale: float
    rate: float

    def integral(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return the antiderivative that is 0 at 0."""
        return under_exponential(self.rate * x, self.scale, alpha) / self.rate

    def trained(self, x: Tensor, alpha: float, coefficients: Sequence[Tensor]) -> Tensor:
        """Return ``-softplus(ln(α/scale) - rate·x)/(α·rate)``, for α = 0 its limit; the coefficients are the scale."""
        (scale,) = coefficients
        if alpha == 0:
            return torch.exp(-self.rate * x) * (-1 / (scale * self.rate))
        return functional.softplus(torch.log(alpha / scale) - self.rate * x) * (-1 / (alpha * self.rate))

    def seen_from(self, origin: float) -> Exponential:
        """Return the same slope as a function of the distance to ``origin``."""
        return Exponential(self.scale * math.exp(self.rate * origin), self.rate)


@dataclass(frozen=True)
class Sigmoid:
    """The slope ``scale·σ(rate·(x - centre))``."""

    scale: float
    rate: float
    centre: float

    def integral(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return the antiderivative that is 0 at the centre."""
        return under_sigmoid(self.rate * (x - self.centre), alpha / self.scale) / (self.scale * self.rate)

    def trained(self, x: Tensor, alpha: float, coefficients: Sequence[Tensor]) -> Tensor:
        """Return the antiderivative made of a line and a softplus; the coefficients are the scale and the centre."""
        scale, centre = coefficients
        u = self.rate * (x - centre)
        if alpha == 0:
            return (u - torch.exp(-u)) / (scale * self.rate)
        lift = alpha / scale
        curve = functional.softplus(torch.log(lift / (1 + lift)) - u)
        return (u - curve / lift) / ((1 + lift) * scale * self.rate)

    def seen_from(self, origin: float) -> Sigmoid:
        """Return the same slope as a function of the distance to ``origin``."""
        return replace(self, centre=self.centre - origin)


@dataclass(frozen=True)
class Bell:
    """The slope ``scale·σ'(rate·(x - centre))``; sech² is ``4σ'(2u)``."""

    scale: float
    rate: float
    centre: float

    def integral(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return the antiderivative that is 0 at the centre."""
        return under_bell(self.rate * (x - self.centre), alpha / self.scale) * (1 / (self.scale * self.rate))

    def trained(self, x: Tensor, alpha: float, coefficients: Sequence[Tensor]) -> Tensor:
        """Return the antiderivative that is 0 at the centre; the coefficients are the scale and the centre."""
        scale, centre = coefficients
        lift = alpha / scale if alpha else 0.0
        return under_bell(self.rate * (x - centre), lift) / (scale * self.rate)

    def seen_from(self, origin: float) -> Bell:
        """Return the same slope as a function of the distance to ``origin``."""
        return replace(self, centre=self.centre - origin)


Family = Constant | Exponential | Sigmoid | Bell
