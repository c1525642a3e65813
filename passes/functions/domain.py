"""Where an expression is defined: finite, continuous and with a finite slope on [-30, 30].

An expression of one variable is examined along that line; one of several along its diagonal, and along each variable
with the others frozen at a few values. Kinks, as ReLU has, are allowed: the slope exists on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
import torch
from torch import Tensor

from passes.functions.program import compile_expression
from rewriter.errors import UsageError

_REACH, _CELLS, _HALVINGS = 30.0, 2400, 36
_FROZEN = (1.0, 0.0, -1.0, 2.7)
# Across a cell of 4e-13 a function with a slope below 1e5 moves less than this, relative to its size.
_JUMP = 1e-7


def require_defined(expression: sympy.Expr, symbols: Sequence[sympy.Symbol], shown: str) -> None:
    """Check that ``expression`` in ``symbols`` is finite and continuous, with finite partial derivatives.

    Args:
        expression: what to examine.
        symbols: its free symbols, in order.
        shown: how messages call it.

    Raises:
        UsageError: it is undefined, infinite, or jumps; the point is named.
    """
    if not symbols:
        return
    program = compile_expression(expression, symbols)
    slopes = [compile_expression(expression.diff(symbol), symbols) for symbol in symbols]
    for line in _lines(len(symbols)):
        points = _points(line)
        _require_finite("its value", program(*points), points, symbols, shown)
        for symbol, slope in zip(symbols, slopes, strict=True):
            _require_finite(f"its slope in {symbol}", slope(*points), points, symbols, shown)

        left = torch.linspace(-_REACH, _REACH, _CELLS + 1, dtype=torch.float64, device="cpu")
        low, high = left[:-1], left[1:]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            at_low, at_middle, at_high = (program(*_at(line, t)) for t in (low, middle, high))
            _require_finite("its value", at_middle, _at(line, middle), symbols, shown)
            first = (at_middle - at_low).abs() > (at_high - at_middle).abs()
            low, high = torch.where(first, low, middle), torch.where(first, middle, high)
        at_low, at_high = program(*_at(line, low)), program(*_at(line, high))
        size = torch.maximum(at_low.abs(), at_high.abs()).clamp(min=1.0)
        jumps = (at_high - at_low).abs() > _JUMP * size
        if bool(jumps.any()):
            raise _refusal("a jump or a vertical slope", int(jumps.int().argmax()), _at(line, low), symbols, shown)
