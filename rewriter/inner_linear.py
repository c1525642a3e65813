"""A linear beside branches, whose inner side has rows that begin at a cache line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from passes.kernels.aligned_linear import Inner, aligned_linear


class InnerLinear(nn.Linear):
    """``F.linear`` with room between the rows of a side that only other parts of the rewrite see.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        bias: whether there is one.
        inner: the sides that only the rewrite sees.
        device: of the parameters.
        dtype: of the parameters.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        inner: Inner,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self.inner = inner

    def forward(self, input: Tensor) -> Tensor:
        """Map ``[…, in]`` to ``[…, out]``."""
        return aligned_linear(input, self.weight, self.bias, self.inner)


def inner_linear(in_features: int, out_features: int, *, inner: Inner, **made: Any) -> nn.Linear:
    """Make a linear: torch's own where the rows of its inner sides begin at a cache line by themselves."""
    linear = InnerLinear(in_features, out_features, inner=inner, **made)
    if inner.without_aligned(linear.weight) == Inner():
        return nn.Linear(in_features, out_features, **made)
    return linear


def plain_linears(model: nn.Module) -> None:
    """Make every `InnerLinear` of a model an ``nn.Linear``, in place, for tools that look for that very class.

    What the model computes, its parameters and its state dict stay what they are.
    """
    for module in [module for module in model.modules() if type(module) is InnerLinear]:
        del module.inner
        module.__class__ = nn.Linear  # type: ignore[assignment]
