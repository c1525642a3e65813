"""Slopes of activations by the quickest operations: torch's own fused kernels, or few steps in place.

Elementwise, for float32 and float64. Autograd does not know them: they serve the backward pass where no further
derivative is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from passes.functions.catalogue import SELU_SATURATION, SELU_SCALE

aten = torch.ops.aten

_SELU_SATURATION, _SELU_SCALE = float(SELU_SATURATION), float(SELU_SCALE)

# name: the kernel, given ones, the input, and the activation's parameters
_KERNELS: dict[str, Callable[..., Tensor]] = {
    "relu": lambda one, x: aten.threshold_backward(one, x, 0),
    "leaky_relu": lambda one, x, negative_slope: aten.leaky_relu_backward(one, x, negative_slope, False),
    "prelu": lambda one, x, negative_slope: aten.leaky_relu_backward(one, x, negative_slope, False),
    "relu6": lambda one, x: aten.hardtanh_backward(one, x, 0, 6),
    "hardtanh": lambda one, x, min_val, max_val: aten.hardtanh_backward(one, x, min_val, max_val),
    "hardsigmoid": lambda one, x: aten.hardtanh_backward(one, x, -3, 3).div_(6),
    "softshrink": lambda one, x, lambd: aten.softshrink_backward(one, x, lambd),
    "hardswish": lambda one, x: aten.hardswish_backward(one, x),
    "elu": lambda one, x, saturation: aten.elu_backward(one, saturation, 1, 1, False, x),
    "celu": lambda one, x, saturation: aten.elu_backward(one, saturation, 1, 1 / saturation, False, x),
    "selu": lambda one, x: aten.elu_backward(one, _SELU_SATURATION, _SELU_SCALE, 1, False, x),
    "softplus": lambda one, x, beta: torch.sigmoid(x if beta == 1 else x * beta),
    "logsigmoid": lambda one, x: torch.sigmoid(-x),
    "gelu": lambda one, x: aten.gelu_backward(one, x),
    "quick_gelu": lambda one, x: aten.silu_backward(one, x * 1.702),
    "silu": lambda one, x: aten.silu_backward(one, x),
    "softsign": lambda one, x: x.abs().add_(1).square_().reciprocal_(),
    "crrelu": lambda one, x, epsilon: aten.threshold_backward(one, x, 0).add_(_bump(x), alpha=epsilon),
    "squared_relu": lambda one, x: functional.relu(x).mul_(2),
}


def _bump(x: Tensor) -> Tensor:
    squared = x.clamp(-40, 40).square_()
    return (squared * -0.5).exp_().mul_(squared.neg_().add_(1))


@dataclass(frozen=True)
class FusedSlope:
    """``f'(x)`` of one activation of the catalogue.

    Attributes:
        name: the activation.
        parameters: all its parameters.
    """

    name: str
    parameters: Mapping[str, float]

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``f'(x)`` in a new tensor."""
        return _KERNELS[self.name](torch.ones_like(x), x, **self.parameters)


def fused_slope(name: str, parameters: Mapping[str, float]) -> FusedSlope | None:
    """Return the slope of the catalogue's activation ``name``, or None if torch has no kernel for it."""
    return FusedSlope(name, parameters) if name in _KERNELS else None
