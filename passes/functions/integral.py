"""The integral of the lifted reciprocal of a slope that follows one family on each interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor
from torch.nn import functional

from passes.functions.closed_forms import Scalar
from passes.functions.families import Bell, Constant, Family, Line, Sigmoid


@dataclass(frozen=True)
class Piece:
    """What one interval adds to g: nothing at its point nearest to 0, from there on its family's integral.

    Attributes:
        low: the interval's left end.
        high: its right end.
        origin: its point nearest to 0.
        family: the slope on it, as a function of the distance to the origin.
    """

    low: float
    high: float
    origin: float
    family: Family | Line

    def __call__(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return the part of ``∫₀ˣ dt/(s(t)+α)`` that lies in the interval."""
        # At an end between two intervals, the left one alone has the gradient.
        inside = functional.threshold(x, self.low, self.low) if math.isfinite(self.low) else x
        inside = inside.clamp(max=self.high) if math.isfinite(self.high) else inside
        value = self.family.integral(inside - self.origin if self.origin else inside, alpha)
        if isinstance(self.family, Sigmoid | Bell) and self.family.centre:
            value = value - self.family.integral(x.new_zeros(()), alpha)
        return value


@dataclass(frozen=True)
class Integral:
    """``g(x) = ∫₀ˣ dt/(s(t)+α)``, the sum of what each interval adds.

    Attributes:
        pieces: one for each interval, from the left.
    """

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, edges: Sequence[float], families: Sequence[Family | Line]) -> Integral:
        """Join the families' integrals into one.

        Args:
            edges: the ends between the intervals, ascending; none where one family holds everywhere.
            families: the slope's family on each interval, from the left.
        """
        pieces = []
        for (low, high), family in zip(pairwise([-math.inf, *edges, math.inf]), families, strict=True):
            origin = min(max(0.0, low), high)
            pieces.append(Piece(low, high, origin, family.seen_from(origin)))
        return cls(tuple(pieces))

    @property
    def is_linear(self) -> bool:
        """Whether g consists of straight lines."""
        return all(isinstance(piece.family, Constant) for piece in self.pieces)

    @property
    def is_positive(self) -> bool:
        """Whether the slope is positive everywhere without a lift."""
        return all(not isinstance(piece.family, Line) and piece.family.scale > 0 for piece in self.pieces)

    def __call__(self, x: Tensor, alpha: Scalar) -> Tensor:
        """Return g, elementwise, for float32 or float64; α is a number or a 0-dimensional tensor."""
        result = self.pieces[0](x, alpha)
        for piece in self.pieces[1:]:
            result = result + piece(x, alpha)
        return result
