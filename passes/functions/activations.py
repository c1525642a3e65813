"""Activation modules that torch does not have: CRReLU, squared ReLU, quick GELU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from passes.evaluation import precision
from passes.kernels.crrelu import crrelu_expression
from passes.kernels.fused import fused, is_fusible
from passes.kernels.packed import PackedRoutines


class CRReLU(nn.Module):
    """Correction-regularised ReLU: ``max(0,x) + ε·x·e^(-x²/2)`` with a trainable ``ε``.

    From the EAFO paper (the method, section 5). Elementwise; float16 and bfloat16 are computed in float32, and the
    backward pass keeps the input alone, besides ``ε``.

    Args:
        epsilon: the value of ε at the start.
    """

    def __init__(self, epsilon: float = 0.01) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.tensor(float(epsilon)))

    def forward(self, x: Tensor) -> Tensor:
        """Return CRReLU of ``x``, in its shape and dtype."""
        if not is_fusible(x):
            return self._plain(x, self.epsilon)
        return fused(x, [self.epsilon], PackedRoutines(crrelu_expression(), -1), self._plain)

    @staticmethod
    def _plain(x: Tensor, epsilon: Tensor) -> Tensor:
        wide = precision.widen(x)
        bell = torch.exp(-0.5 * wide * wide)
        return precision.narrow(torch.relu(wide) + epsilon.to(wide.dtype) * wide * bell, x)

    def extra_repr(self) -> str:
        """Tell the formula."""
        return "max(0,x) + epsilon*x*exp(-x^2/2)"


class SquaredReLU(nn.Module):
    """``max(0,x)²`` (Primer)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return squared ReLU of ``x``, in its shape and dtype."""
        return functional.relu(x).square()


class QuickGELU(nn.Module):
    """``x·sigmoid(1.702·x)``, the GELU of CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """Return quick GELU of ``x``, in its shape and dtype."""
        return x * torch.sigmoid(1.702 * x)
