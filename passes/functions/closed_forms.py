"""Antiderivatives of ``1/(s+α)`` for the slopes ``s`` that have one, in a form that neither overflows nor cancels.

All are elementwise, zero at zero, and finite with a finite gradient for any finite input (with lift 0, for clamped
ones). They are the closed forms of the method, section 1; ``lift`` and ``scale`` are positive numbers, or 0-dimensional
tensors where they are trained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Scalar = float | Tensor

# Where log_mix changes from its form that is exact at 0 to its form that does not overflow.
_TURN = 2.0
# Weights for which the artanh forms of log_mix do not cancel.
_BALANCED = (0.05, 0.95)
# Below this lift the artanh form of under_bell cancels.
_SMALL_LIFT = 0.1
# e^80 fits float32, and beyond 80 the exponential swamps every other summand, so its logarithm is a straight line.
_STRAIGHT = 80.0


def log_mix(x: Tensor, weight: float) -> Tensor:
    """Return ``ln(1 - weight + weight·e^x)`` for a weight in (0, 1), to full relative precision at 0."""
    if not _BALANCED[0] <= weight <= _BALANCED[1]:
        bounded = x.clamp(max=_STRAIGHT)
        return torch.log1p(weight * torch.expm1(bounded)) + (x - bounded)
    # The same by artanh, several times faster: from 1 + weight·(e^x - 1), or from e^x·(1 + (1-weight)·(e^-x - 1)).
    half, far = torch.tanh(x * 0.5), x > _TURN
    ratio = torch.where(far, half * (weight - 1) / (1 + weight * half), half * weight / (1 - (1 - weight) * half))
    return 2 * torch.atanh(ratio) + torch.where(far, x, torch.zeros_like(x))


def under_exponential(x: Tensor, scale: float, lift: float) -> Tensor:
    """Return ``∫₀ˣ dt/(scale·e^t + lift)``; with lift 0 ``(1 - e^-x)/scale``, for inputs that are clamped."""
    if lift == 0:
        return -torch.expm1(-x) / scale
    return log_mix(-x, lift / (scale + lift)) * (-1 / lift)


def under_sigmoid(x: Tensor, lift: float) -> Tensor:
    """Return ``∫₀ˣ dt/(σ(t) + lift)``; with lift 0 ``x + 1 - e^-x``, for inputs that are clamped."""
    if lift == 0:
        return x - torch.expm1(-x)
    return (x - log_mix(-x, lift / (1 + 2 * lift)) / lift) / (1 + lift)


def under_bell(x: Tensor, lift: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(σ'(t) + lift)``; with lift 0 ``2x + 2·sinh x``, for inputs that are clamped.

    With ``r = √(1+4·lift)`` it is ``(x - (2/r)·artanh(tanh(x/2)/r))/lift``; for a small lift, where that cancels, the
    same as a sum of terms of one sign.
    """
    if isinstance(lift, float) and lift == 0:
        return 2 * x + 2 * torch.sinh(x)
    root = (1 + 4 * lift) ** 0.5
    if not isinstance(lift, float) or lift >= _SMALL_LIFT:
        return (x - torch.atanh(torch.tanh(x * 0.5) / root) * (2 / root)) / lift
    weight = 2 * lift / (root * (1 + root))
    bounded = x.clamp(-_STRAIGHT, _STRAIGHT)
    rising = torch.log1p(weight * torch.expm1(bounded)) - torch.log1p(weight * torch.expm1(-bounded))
    straight = (4 * lift / (1 + root)) * x + (x - bounded)
    return (straight + rising) / (lift * root)


def under_softsign(x: Tensor, lift: float) -> Tensor:
    """Return ``∫₀ˣ dt/(1/(1+|t|)² + lift)``."""
    size = torch.where(x < 0, -x, x)
    root = math.sqrt(lift)
    value = (size - torch.atan(root * size / (1 + lift * (1 + size))) / root) / lift
    return torch.where(x < 0, -value, value)


def under_squared_tanh(x: Tensor, lift: float) -> Tensor:
    """Return ``∫₀ˣ dt/(tanh²(t) + lift)``, the slope of tanhshrink."""
    root = math.sqrt(lift)
    return (x + torch.atan(torch.tanh(x) / root) / root) / (1 + lift)


def under_ramp(x: Tensor, lift: float) -> Tensor:
    """Return ``∫₀ˣ dt/(2·max(0,t) + lift)``, the slope of squared ReLU."""
    return torch.where(x > 0, 0.5 * torch.log1p((2 / lift) * torch.relu(x)), x / lift)
