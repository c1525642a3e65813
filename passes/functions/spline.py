"""A function on an interval as cubics on a uniform grid: how a model evaluates a numerical solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from passes.evaluation.coefficients import Tabulated
from passes.functions.density import Function
from passes.functions.dyadic import dyadic_knots

_CELLS = 1024
_NUDGE = 2.0**-30
# From the values at 0, 1/3, 2/3 and 1 to the cubic's coefficients by ascending power.
_CUBIC = np.array([[2, 0, 0, 0], [-11, 18, -9, 2], [18, -45, 36, -9], [-9, 27, -27, 9]]) / 2


class Spline(Tabulated):
    """Interpolates a function on [low, high]; beyond, it keeps the value at the end.

    Elementwise; the input is float32 or float64, the result has its dtype and float32's precision. A jump of the
    function at a multiple of the grid's step, such as 0, is kept.

    Args:
        function: elementwise, float64 to float64; the same function gives the same bits.
        low: the lower end of the interval, which is widened to the grid.
        high: the upper end.
    """

    def __init__(self, function: Function, low: float, high: float) -> None:
        knots = dyadic_knots(low, high, _CELLS)
        step = float(knots[1] - knots[0])
        places = torch.tensor([_NUDGE, 1 / 3, 2 / 3, 1 - _NUDGE], dtype=torch.float64, device="cpu")
        # Single precision from here on: exponentials that differ in their last bit give the same table everywhere.
        values: NDArray[Any] = function(knots[:-1, None] + step * places).numpy().astype(np.float32)
        super().__init__(torch.from_numpy((_CUBIC @ values.T.astype(np.float64)).astype(np.float32)))
        self.first, self.per_unit, self.cells = float(knots[0]), 1 / step, len(knots) - 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of ``x``."""
        position = ((x - self.first) * self.per_unit).clamp(0, self.cells)
        # NaN has no cell: the second clamp keeps the index in range, and t carries the NaN.
        cell = position.detach().to(torch.int32).clamp(0, self.cells - 1)
        t, index = position - cell, cell.flatten()
        c0, c1, c2, c3 = (torch.index_select(self.coefficients[power], 0, index).view_as(x) for power in range(4))
        result: Tensor = (c0 + t * (c1 + t * (c2 + t * c3))).to(x.dtype)
        return result

    def extra_repr(self) -> str:
        """Tell the grid."""
        return f"low={self.first}, high={self.first + self.cells / self.per_unit}, cells={self.cells}"
