"""The lookup in a table as a Triton function, for the kernels that call it; it needs Triton installed."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


def _lookup(x: tl.tensor, rows: tl.tensor, cells: tl.constexpr, per_unit: tl.constexpr) -> tl.tensor:
    position = tl.abs(x) * per_unit
    # NaN has no cell: it is below nothing, so its index is the last, and the position carries it.
    cell = tl.floor(tl.where(position < cells, position, cells))
    position -= cell
    at = rows + (cell.to(tl.int32) + tl.where(x < 0, cells + 1, 0))
    value = tl.load(at + 6 * (cells + 1))
    value = tl.load(at + 4 * (cells + 1)) + value * position
    value = tl.load(at + 2 * (cells + 1)) + value * position
    return tl.load(at) + value * position


lookup: Any = triton.jit(_lookup)
