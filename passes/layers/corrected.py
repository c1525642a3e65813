"""An activation with EAFO's correction and its trainable strength (EAFO paper; the method, section 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passes.evaluation import precision
from passes.functions.spline import Spline


class Corrected(nn.Module):
    """``f(x) - s·κ(x)``, elementwise; float16 and bfloat16 are computed in float32.

    Args:
        activation: the module of f.
        correction: the table of κ.
        strength: the value of the trainable s at the start.
    """

    def __init__(self, activation: nn.Module, correction: Spline, strength: float) -> None:
        super().__init__()
        self.activation = activation
        self.correction = correction
        self.strength = nn.Parameter(torch.tensor(float(strength)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the corrected activation, in the shape and dtype of ``x``."""
        wide = precision.widen(x)
        moved = self.strength.to(wide.dtype) * self.correction(wide)  # before f, which may work in place
        return precision.narrow(self.activation(wide) - moved, x)
