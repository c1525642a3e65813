"""Where an expression is defined: finite, continuous and with a finite slope on [-30, 30].

An expression of one variable is examined along that line; one of several along its diagonal, and along each variable
with the others frozen at a few values. Kinks, as ReLU has, are allowed: the slope exists on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy
import torch
from torch import Tensor

from passes.functions.program import Program, compile_expression
from rewriter.errors import UsageError

_REACH, _CELLS_PER_UNIT, _HALVINGS = 30, 20, 36
_FROZEN = (1.0, 0.0, -1.0, 2.7)
# What the last cell, 4e-13 wide, may move, and how steep it may be, relative to the function's size.
_JUMP, _STEEP = 1e-7, 1e6


def require_defined(expression: sympy.Expr, symbols: Sequence[sympy.Symbol], shown: str) -> None:
    """Check that ``expression`` is finite and continuous, with finite partial derivatives.

    Args:
        expression: what to examine.
        symbols: its free symbols, in order; none for a number.
        shown: how messages call it.

    Raises:
        UsageError: it is undefined or infinite somewhere, or jumps; the point is named.
    """
    if not symbols:
        return
    value = compile_expression(expression, symbols)
    slopes = [expression.diff(symbol) for symbol in symbols]
    _Lines(symbols, [None] * len(symbols), value, compile_expression(sympy.Add(*slopes), symbols), shown).examine()
    if len(symbols) == 1:
        return
    frozen = torch.tensor(_FROZEN, dtype=torch.float64, device="cpu")[:, None]
    for moving, slope in enumerate(slopes):
        others = [None if i == moving else frozen for i in range(len(symbols))]
        _Lines(symbols, others, value, compile_expression(slope, symbols), shown).examine()


@dataclass(frozen=True)
class _Lines:
    """Parallel lines through the domain of a function, and its value and slope along them."""

    symbols: Sequence[sympy.Symbol]
    frozen: Sequence[Tensor | None]  # where each variable stays, of shape (lines, 1), or None for one that moves
    value: Program
    slope: Program
    shown: str

    def examine(self) -> None:
        steps = torch.arange(-_REACH * _CELLS_PER_UNIT, _REACH * _CELLS_PER_UNIT + 1, dtype=torch.float64, device="cpu")
        count = max(1 if frozen is None else len(frozen) for frozen in self.frozen)
        cells = (steps / _CELLS_PER_UNIT).expand(count, -1)
        self._zoom(cells[:, :-1], self._jump)
        self._zoom(cells[:, :-1], self._steepness)

    def _zoom(self, low: Tensor, follow: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        """Halve every cell towards what ``follow`` finds: of its quarters, two neighbours; the last must be sound."""
        width = 1 / _CELLS_PER_UNIT
        for _ in range(_HALVINGS):
            quarters = torch.stack([low + width * place for place in (0.0, 0.25, 0.5, 0.75, 1.0)])
            first, unsound = follow(quarters)
            low, width = low + first.double() * (width / 4), width / 2
        self._refuse_where(unsound, "a jump, a pole or a vertical slope", low)

    def _jump(self, quarters: Tensor) -> tuple[Tensor, Tensor]:
        """Find which neighbours move most, and whether they move too far for a continuous function."""
        values = self._finite(self.value, quarters, "value")
        moves = torch.stack([values[i : i + 3].amax(0) - values[i : i + 3].amin(0) for i in range(3)])
        return moves.argmax(0), moves.amax(0) > _JUMP * _size(values)

    def _steepness(self, quarters: Tensor) -> tuple[Tensor, Tensor]:
        """Find which neighbours are steepest, and whether they are too steep."""
        slopes = self._finite(self.slope, quarters, "slope").abs()
        values = self._finite(self.value, quarters, "value")
        return slopes.argmax(0).clamp(1, 3) - 1, slopes.amax(0) > _STEEP * _size(values)

    def _finite(self, function: Program, t: Tensor, what: str) -> Tensor:
        values = function(*self._points(t))
        self._refuse_where(~values.isfinite(), f"no finite {what}", t)
        return values

    def _points(self, t: Tensor) -> list[Tensor]:
        return [t if frozen is None else frozen.expand_as(t) for frozen in self.frozen]

    def _refuse_where(self, bad: Tensor, what: str, t: Tensor) -> None:
        if not bool(bad.any()):
            return
        nearest = int(torch.where(bad, t.abs(), torch.inf).argmin())  # to 0, where a reader looks first
        points = [float(point.flatten()[nearest]) for point in self._points(t)]
        place = ", ".join(f"{symbol} = {point:.6g}" for symbol, point in zip(self.symbols, points, strict=True))
        raise UsageError(
            expected=f"an expression that is finite, continuous and differentiable on [-{_REACH}, {_REACH}]",
            found=f"{what} at {place} in {self.shown}",
            remedy="correct it",
        )


def _size(values: Tensor) -> Tensor:
    return values.abs().amax(0).clamp(min=1.0)
