"""Values of a table, in few passes over a block."""

from __future__ import annotations

import torch
from torch import Tensor

from passes.evaluation.table import Table


def lookup(x: Tensor, table: Table, out: Tensor) -> None:
    """Write ``table(x)`` into ``out``, which may be ``x``; both are float32 or both float64."""
    rows = table.rows(x)
    position = x.abs().mul_(table.per_unit)
    cell = position.clamp(max=table.cells).floor_()
    # NaN has no cell: the clamp keeps the index in range, and the position carries the NaN.
    index = cell.to(torch.int32).clamp_(min=0).add_(x < 0, alpha=table.cells + 1).flatten()
    position.sub_(cell)
    value = torch.index_select(rows[3], 0, index)
    for power in (2, 1):
        value = torch.addcmul(torch.index_select(rows[power], 0, index), value, position.flatten())
    torch.addcmul(torch.index_select(rows[0], 0, index).view_as(x), value.view_as(x), position, out=out)
