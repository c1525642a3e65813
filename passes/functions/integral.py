"""The integral of the lifted reciprocal of a slope that follows one family on each interval."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from passes.functions.families import Family


@dataclass(frozen=True)
class Integral:
    """``g(x) = ∫₀ˣ dt/(s(t)+α)``.

    Attributes:
        edges: the ends between the intervals, ascending; none where one family holds everywhere.
        families: the slope's family on each interval, from the left.
        alpha: the lift.
        offsets: what is added to each family's integral so that g is continuous and 0 at 0.
    """

    edges: tuple[float, ...]
    families: tuple[Family, ...]
    alpha: float
    offsets: tuple[float, ...]

    @classmethod
    def of(cls, edges: tuple[float, ...], families: tuple[Family, ...], alpha: float) -> Integral:
        """Join the families' integrals into one."""

        def value(family: Family, point: float) -> float:
            return float(family.integral(torch.tensor(point, dtype=torch.float64, device="cpu"), alpha))

        home = sum(edge < 0 for edge in edges)
        offsets = [0.0] * len(families)
        offsets[home] = -value(families[home], 0.0)
        pairs = list(pairwise(families))
        for i in range(home, len(edges)):
            left, right = pairs[i]
            offsets[i + 1] = offsets[i] + value(left, edges[i]) - value(right, edges[i])
        for i in reversed(range(home)):
            left, right = pairs[i]
            offsets[i] = offsets[i + 1] + value(right, edges[i]) - value(left, edges[i])
        return cls(edges, families, alpha, tuple(offsets))

    def __call__(self, x: Tensor) -> Tensor:
        """Return g, elementwise."""
        result = self._piece(0, x)
        for i, edge in enumerate(self.edges, start=1):
            result = torch.where(x > edge, self._piece(i, x), result)
        return result

    def _piece(self, i: int, x: Tensor) -> Tensor:
        value = self.families[i].integral(x, self.alpha)
        return value + self.offsets[i] if self.offsets[i] else value
