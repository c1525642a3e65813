"""The packed layer of a gated MLP whose code cuts the output in halves: it applies the split function itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passes.kernels.aligned_linear import Inner
from rewriter.inner_linear import InnerLinear


class PackedGate(InnerLinear):
    """A linear whose output is the activated branches and the other factor, as the two halves that the code expects.

    The product has ``(n + 1)·h`` values: n branches of the gate and the other factor, h each. The function maps the
    branches to h; the activation behind the layer is then the identity.

    Args:
        linear: the layer of the new shape; its parameters are taken over under their names.
        function: maps ``n·h`` values along the last dimension to ``h``.
        branches: n.
        half: 0 when the activated values come first, 1 when they come last.
    """

    def __init__(self, linear: nn.Linear, function: nn.Module, branches: int, half: int) -> None:
        inner = linear.inner if isinstance(linear, InnerLinear) else Inner()
        super().__init__(1, 1, bias=False, inner=inner, device="meta")
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight
        self.bias = linear.bias
        self.function = function
        self.activated_half = half
        hidden = linear.out_features // (branches + 1)
        self._sizes = [branches * hidden, hidden] if half == 0 else [hidden, branches * hidden]

    def forward(self, input: Tensor) -> Tensor:
        """Map ``[…, in]`` to ``[…, 2h]``."""
        first, last = torch.split(super().forward(input), self._sizes, dim=-1)
        halves = (self.function(first), last) if self.activated_half == 0 else (first, self.function(last))
        return torch.cat(halves, dim=-1)


class ProductOfHalves(nn.Module):
    """What is left of a GLU behind a `PackedGate`: ``[…, 2h]`` to the product of both halves, ``[…, h]``."""

    def forward(self, input: Tensor) -> Tensor:
        """Multiply the halves."""
        first, last = input.chunk(2, dim=-1)
        return first * last
