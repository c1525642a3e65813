"""Families of slopes whose lifted reciprocal has a closed integral.

A slope is ``s(x) = scale·k(rate·(x - centre))`` for one of four kernels k; ``primitive`` is an antiderivative of
``1/(s+α)``. The scalars are numbers, or 0-dimensional tensors where a rewritten model trains them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from passes.functions.closed_forms import Scalar, under_bell, under_exponential, under_sigmoid


def relative(alpha: float, scale: Scalar) -> Scalar:
    """Return the lift of a kernel whose scaled slope has the lift ``alpha``; 0 stays a number: it picks the formula."""
    return alpha / scale if alpha else 0.0


@dataclass(frozen=True)
class Constant:
    """The slope ``scale``."""

    scale: Scalar

    def primitive(self, x: Tensor, alpha: float) -> Tensor:
        """Return ``x/(scale+α)``."""
        return x / (self.scale + alpha)


@dataclass(frozen=True)
class Exponential:
    """The slope ``scale·e^(rate·x)``."""

    scale: Scalar
    rate: float

    def primitive(self, x: Tensor, alpha: float) -> Tensor:
        """Return an antiderivative of ``1/(scale·e^(rate·x)+α)`` that is 0 at 0."""
        return under_exponential(self.rate * x, self.scale, alpha) / self.rate


@dataclass(frozen=True)
class Sigmoid:
    """The slope ``scale·σ(rate·(x - centre))``."""

    scale: Scalar
    rate: float
    centre: Scalar

    def primitive(self, x: Tensor, alpha: float) -> Tensor:
        """Return an antiderivative of ``1/(s+α)`` that is 0 at ``centre``."""
        return under_sigmoid(self.rate * (x - self.centre), relative(alpha, self.scale)) / (self.scale * self.rate)


@dataclass(frozen=True)
class Bell:
    """The slope ``scale·σ'(rate·(x - centre))``; sech² is ``4σ'(2u)``."""

    scale: Scalar
    rate: float
    centre: Scalar

    def primitive(self, x: Tensor, alpha: float) -> Tensor:
        """Return an antiderivative of ``1/(s+α)`` that is 0 at ``centre``."""
        return under_bell(self.rate * (x - self.centre), relative(alpha, self.scale)) / (self.scale * self.rate)


Family = Constant | Exponential | Sigmoid | Bell


def value_at(family: Family, point: float, alpha: float) -> float:
    """Return the family's primitive at one point, computed in float64."""
    return float(family.primitive(torch.tensor(point, dtype=torch.float64), alpha))


@dataclass(frozen=True)
class Integral:
    """``g(x) = ∫₀ˣ dt/(s(t)+α)`` for a slope that follows one family on each interval.

    Attributes:
        edges: the ends between the intervals, ascending; none where one family holds everywhere.
        families: one for each interval, from the left.
        alpha: the lift.
        offsets: what is added to each family's primitive so that g is continuous and 0 at 0.
    """

    edges: tuple[float, ...]
    families: tuple[Family, ...]
    alpha: float
    offsets: tuple[float, ...]

    @classmethod
    def of(cls, edges: tuple[float, ...], families: tuple[Family, ...], alpha: float) -> Integral:
        """Join the families' primitives into one integral."""
        offsets = [0.0]
        for edge, left, right in zip(edges, families[:-1], families[1:], strict=True):
            offsets.append(offsets[-1] + value_at(left, edge, alpha) - value_at(right, edge, alpha))
        home = sum(edge < 0 for edge in edges)
        at_zero = offsets[home] + value_at(families[home], 0.0, alpha)
        return cls(edges, families, alpha, tuple(0.0 if math.isclose(o, at_zero) else o - at_zero for o in offsets))

    def __call__(self, x: Tensor) -> Tensor:
        """Return g, elementwise."""
        result = self._piece(0, x)
        for i, edge in enumerate(self.edges, start=1):
            result = torch.where(x > edge, self._piece(i, x), result)
        return result

    def _piece(self, i: int, x: Tensor) -> Tensor:
        value = self.families[i].primitive(x, self.alpha)
        return value + self.offsets[i] if self.offsets[i] else value
