"""Tensors as rows in memory, each with the branches one after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """The rows of a tensor.

    Attributes:
        count: how many there are.
        length: the elements of one, which lie side by side.
        step: from the start of one row to that of the next.
    """

    count: int
    length: int
    step: int


def rows_of(value: Tensor, dim: int) -> Rows | None:
    """Return the rows that the dimensions from ``dim`` on make, or None where they do not lie that way.

    Args:
        value: any tensor.
        dim: counted from the front.
    """
    if value.layout is not torch.strided or value.is_neg():  # whose memory holds the opposite numbers
        return None
    length, step = _run(value, range(dim, value.dim()), 1)
    if step is None:
        return None
    outer = [d for d in range(dim) if value.size(d) != 1]
    if not outer:
        return Rows(1, length, length)
    first = value.stride(outer[-1])
    count, step = _run(value, outer, first)
    return None if step is None else Rows(count, length, first)


def _run(value: Tensor, dims: range | list[int], step: int) -> tuple[int, int | None]:
    """Count the elements along dimensions that one step runs through; the step is None where none does."""
    count = 1
    for d in reversed(dims):
        if value.size(d) != 1 and value.stride(d) != step * count:
            return count, None
        count *= value.size(d)
    return count, step
