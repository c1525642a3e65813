"""Coefficients that a cast of the model must not round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Tabulated(nn.Module):
    """A module with coefficients derived from its function: no part of the state dict, and always float32.

    Args:
        coefficients: float32.
    """

    coefficients: Tensor

    def __init__(self, coefficients: Tensor) -> None:
        super().__init__()
        self.register_buffer("coefficients", coefficients, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        single = self.coefficients
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.coefficients.dtype != torch.float32:
            self.coefficients = single.to(self.coefficients.device)
        return self
