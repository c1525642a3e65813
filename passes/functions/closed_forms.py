"""Antiderivatives of ``1/(s+α)`` for the slopes ``s`` that have one, in a form that neither overflows nor cancels.

All are elementwise, zero at zero, and finite with a finite gradient for any finite input (with lift 0, for clamped
ones). They are the closed forms of the method, section 1; the lift and ``scale`` are positive numbers, or
0-dimensional tensors where they are trained.
"""

from __future__ import annotations

import torch
from torch import Tensor

Scalar = float | Tensor

# Below this lift the artanh form of under_bell cancels.
_SMALL_LIFT = 0.1
# e^80 fits float32, and beyond 80 the exponential swamps every other summand, so its logarithm is a straight line.
_STRAIGHT = 80.0


def log_mix(x: Tensor, weight: Scalar) -> Tensor:
    """Return ``ln(1 - weight + weight·e^x)`` for a weight in (0, 1), to full relative precision at 0."""
    bounded = x.clamp(max=_STRAIGHT)
    return torch.log1p(weight * torch.expm1(bounded)) + (x - bounded)


def under_exponential(x: Tensor, scale: float, lift: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(scale·e^t + lift)``; with lift 0 ``(1 - e^-x)/scale``, for inputs that are clamped."""
    if _is_zero(lift):
        return -torch.expm1(-x) / scale
    return log_mix(-x, lift / (scale + lift)) * (-1 / lift)


def under_sigmoid(x: Tensor, lift: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(σ(t) + lift)``; with lift 0 ``x + 1 - e^-x``, for inputs that are clamped."""
    if _is_zero(lift):
        return x - torch.expm1(-x)
    return (x - log_mix(-x, lift / (1 + 2 * lift)) / lift) / (1 + lift)


def under_bell(x: Tensor, lift: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(σ'(t) + lift)``; with lift 0 ``2x + 2·sinh x``, for inputs that are clamped.

    With ``r = √(1+4·lift)`` it is ``(x - (2/r)·artanh(tanh(x/2)/r))/lift``, with ``tanh(x/2) = -u/(2+u)`` for
    ``u = e^-x - 1``, which is quicker; for a small lift, where that cancels, the same as a sum of terms of one sign.
    """
    if _is_zero(lift):
        return 2 * x + 2 * torch.sinh(x)
    root = (1 + 4 * lift) ** 0.5
    if not isinstance(lift, float) or lift >= _SMALL_LIFT:
        falling = torch.expm1(-x.clamp(min=-_STRAIGHT))
        return (x + torch.atanh(falling / (falling * root + 2 * root)) * (2 / root)) / lift
    weight = 2 * lift / (root * (1 + root))
    bounded = x.clamp(-_STRAIGHT, _STRAIGHT)
    rising = torch.log1p(weight * torch.expm1(bounded)) - torch.log1p(weight * torch.expm1(-bounded))
    straight = (4 * lift / (1 + root)) * x + (x - bounded)
    return (straight + rising) / (lift * root)


def under_line(x: Tensor, level: Scalar, tilt: float) -> Tensor:
    """Return ``∫₀ˣ dt/(level + tilt·t)``, for inputs where ``level + tilt·x`` is positive."""
    return torch.log1p(x * (tilt / level)) / tilt


def under_softsign(x: Tensor, alpha: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(1/(1+|t|)² + alpha)``."""
    # |x|, with a slope of 1 at 0.
    size = torch.add(x, torch.relu(-x), alpha=2)
    root = alpha**0.5
    value = (size - torch.atan(root * size / (1 + alpha * (1 + size))) / root) / alpha
    return torch.where(x < 0, -value, value)


def under_squared_tanh(x: Tensor, alpha: Scalar) -> Tensor:
    """Return ``∫₀ˣ dt/(tanh²(t) + alpha)``, the slope of tanhshrink."""
    root = alpha**0.5
    return (x + torch.atan(torch.tanh(x) / root) / root) / (1 + alpha)


def _is_zero(lift: Scalar) -> bool:
    return isinstance(lift, int | float) and lift == 0
