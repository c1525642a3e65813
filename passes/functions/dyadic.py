"""Uniform grids whose knots are multiples of a power of two, so that 0 and other short binary fractions are knots.

Piecewise activations have their corners at such numbers (0, ±1, ±3, 6), where a cell must not straddle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dyadic_knots(low: float, high: float, cells: int) -> Tensor:
    """Return at least ``cells + 1`` and about ``2·cells`` at most knots that cover [low, high], float64, ascending."""
    step = 2.0 ** math.floor(math.log2((high - low) / cells))
    first, last = math.floor(low / step), math.ceil(high / step)
    return torch.arange(first, last + 1, dtype=torch.float64, device="cpu") * step
