"""Tabulated integrals, for functions that have no closed form.

``g(x) = ∫₀ˣ slope`` is integrated once in float64 by Gauss-Legendre quadrature and kept as the cubic of each cell of a
uniform grid over [-32, 32] that interpolates value and slope at its ends (Hermite); beyond, g is a straight line. The
cells of each sign are counted from 0 outwards, so that g(0) is exactly 0 and the relative precision holds near 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from passes.evaluation.coefficients import Tabulated
from passes.evaluation.exact_gradient import Derivative, Formula, with_derivative

REACH = 32
_COARSEST, _FINEST = 64, 1024
_TOLERANCE = 2e-7

Slope = Callable[[Tensor], Tensor]
Coefficients = NDArray[np.float64]
Grid = NDArray[Any]


def tabulate(slope: Slope) -> Coefficients:
    """Integrate ``slope`` (float64 to float64, elementwise, of one sign) on the coarsest grid that is precise enough.

    Returns:
        float64 array of shape (4, 2, cells + 1): the cubic's coefficients by ascending power of the position in the
        cell, in [0, 1), for x ≥ 0 and x < 0, for each cell outwards. The last cell is the straight line. The same input
        gives the same bits.
    """
    per_unit = _COARSEST
    while _slope_error(slope, per_unit) > _TOLERANCE and per_unit < _FINEST:
        per_unit *= 2
    return np.stack([_cubics(slope, per_unit, sign) for sign in (1.0, -1.0)], axis=1)


def _evaluate(slope: Slope, x: Grid) -> Grid:
    values: Grid = slope(torch.from_numpy(x)).numpy()
    return values


def _cubics(slope: Slope, per_unit: int, sign: float) -> Grid:
    """Return the (4, cells + 1) coefficients of one side, in float64."""
    cells, width = REACH * per_unit, 1.0 / per_unit
    left = np.arange(cells) * width
    nodes, weights = np.polynomial.legendre.leggauss(8)
    inside: Grid = left[:, None] + width * (nodes + 1) / 2
    areas = (_evaluate(slope, sign * inside) * weights).sum(1) * width / 2 * sign
    values = np.concatenate([[0.0], np.cumsum(areas)])
    # The slope may jump at a knot, so each cell takes its own one-sided limits.
    nudge = width * 2.0**-30
    start = _evaluate(slope, sign * (left + nudge)) * width * sign
    end = _evaluate(slope, sign * (left + width - nudge)) * width * sign
    cubic = np.stack([values[:-1], start, 3 * areas - 2 * start - end, start + end - 2 * areas])
    line = np.array([[values[-1]], [end[-1]], [0.0], [0.0]])
    return np.concatenate([cubic, line], axis=1)


def _slope_error(slope: Slope, per_unit: int) -> float:
    """Return the largest relative error of the cubics' slope at the places in a cell where it is largest."""
    worst = 0.0
    left = np.arange(REACH * per_unit) / per_unit
    for sign in (1.0, -1.0):
        _, first, second, third = _cubics(slope, per_unit, sign)[:, :-1]
        for place in (0.5 - 3**0.5 / 6 * 0.7, 0.5 + 3**0.5 / 6 * 0.7):
            exact = _evaluate(slope, sign * (left + place / per_unit))
            found = (first + place * (2 * second + place * 3 * third)) * per_unit * sign
            worst = max(worst, float(np.max(np.abs(found - exact) / np.abs(exact))))
    return worst


def _as_wide(x: Tensor, single: Tensor, double: Tensor) -> Tensor:
    return double.to(x.device) if x.dtype == torch.float64 else single


torch.fx.wrap("_as_wide")


class Table(Tabulated):
    """Evaluates a tabulated integral.

    Elementwise, any floating dtype; float64 in float64, others in float32. The table is derived from the function, so
    it is no part of the state dict, and it stays float32 (beside its float64 original) when the model is cast.

    Args:
        coefficients: what :func:`tabulate` gives.
        slope: the function that was integrated: the gradient is then exactly this. None takes the cubics' slope.
    """

    def __init__(self, coefficients: Coefficients, slope: Derivative | None = None) -> None:
        exact = torch.from_numpy(coefficients.reshape(4, -1).astype(np.float64))
        super().__init__(exact.float())
        self.exact = exact
        self.cells = coefficients.shape[2] - 1
        self.per_unit = self.cells // REACH
        self.derivative = Formula(self.cubic_slope) if slope is None else slope

    def rows(self, x: Tensor) -> Tensor:
        """Return the coefficients that serve ``x``, on its device: float64 for float64, else float32.

        Their shape is (4, 2·(cells + 1)): by ascending power, then the cells for x ≥ 0, then those for x < 0.
        """
        return _as_wide(x, self.coefficients, self.exact)

    def forward(self, x: Tensor) -> Tensor:
        """Return g of ``x``."""
        return with_derivative(x, self.interpolate, self.derivative, self.coefficients)

    def interpolate(self, x: Tensor) -> Tensor:
        """Return the cubics' value at ``x``, float32 or float64."""
        (c0, c1, c2, c3), t = self._cell(x)
        return torch.addcmul(c0, t, torch.addcmul(c1, t, torch.addcmul(c2, t, c3)))

    def cubic_slope(self, x: Tensor) -> Tensor:
        """Return the cubics' slope at ``x``, float32 or float64."""
        (_, c1, c2, c3), t = self._cell(x)
        inward = torch.where(x < 0, -self.per_unit, self.per_unit)
        return (c1 + t * (2 * c2 + t * (3 * c3))) * inward

    def _cell(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the coefficients of each point's cell, and its position there."""
        position = x.abs() * self.per_unit
        cell = position.detach().clamp(max=self.cells).floor()
        # NaN has no cell: the second clamp keeps the index in range, and the position carries the NaN.
        index = torch.add(cell.to(torch.int32).clamp(min=0), x < 0, alpha=self.cells + 1).flatten()
        table = self.rows(x)
        rows = [torch.index_select(table[power], 0, index).view_as(x) for power in range(4)]
        return rows, position - cell

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        device = self.coefficients.device
        if device.type in ("cpu", "cuda"):  # others may hold no float64, or no values
            self.exact = self.exact.to(device)
        return self

    def extra_repr(self) -> str:
        """Tell the grid."""
        return f"cells_per_unit={self.per_unit}, reach={REACH}"
