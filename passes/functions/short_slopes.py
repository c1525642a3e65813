"""Slopes of activations in fewer operations than their derivatives, as SymPy writes them, take.

Elementwise, for float32 and float64, by operations that autograd and a compiler know. They are exact to rounding of 1,
not to that of the slope, which serves where a lift is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from passes.functions.catalogue import TANH_GELU_CUBIC, TANH_GELU_SLOPE

_TWICE_SLOPE, _CUBIC = 2 * float(TANH_GELU_SLOPE), float(TANH_GELU_CUBIC)


def short_slope(name: str) -> Callable[[Tensor], Tensor] | None:
    """Return the slope of the catalogue's activation ``name``, or None where its derivative is short enough."""
    return _SLOPES.get(name)


def _sigmoid(x: Tensor) -> Tensor:
    level = torch.sigmoid(x)
    return torch.addcmul(level, level, level, value=-1)


def _tanh(x: Tensor) -> Tensor:
    return _sigmoid(2 * x) * 4


def _tanhshrink(x: Tensor) -> Tensor:
    return (2 * torch.sigmoid(2 * x) - 1).square()


def _gelu_tanh(x: Tensor) -> Tensor:
    # The tanh form is x·σ(2u) with u = k·(x + c·x³); beyond ±20 its slope is 0 or 1.
    bounded = x.clamp(-20, 20)
    cubic = bounded.square() * (_CUBIC * _TWICE_SLOPE)
    level = torch.sigmoid(bounded * (cubic + _TWICE_SLOPE))
    bell = torch.addcmul(level, level, level, value=-1)
    return torch.addcmul(level, bell, bounded * (3 * cubic + _TWICE_SLOPE))


def _mish(x: Tensor) -> Tensor:
    # With w = eˣ and n = w² + 2w, mish is x·n/(n+2); beyond 20 its slope is 1.
    rise = x.clamp(max=20).exp()
    n = torch.addcmul(2 * rise, rise, rise)
    scale = 1 / (n + 2)
    part = rise * scale
    return torch.addcmul(n * scale, x * part, part + scale, value=4)


_SLOPES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "tanhshrink": _tanhshrink,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
}
