"""Evaluation in at least single precision, whatever the dtype of the input."""

from __future__ import annotations

import torch
from torch import Tensor

_WIDE = (torch.float32, torch.float64)


def widen(x: Tensor) -> Tensor:
    """Return ``x`` itself if it is float32 or float64, else a float32 copy."""
    return x if x.dtype in _WIDE else x.float()


def cast(y: Tensor, like: Tensor) -> Tensor:
    """Return ``y`` in the dtype of ``like``; what is beyond its range becomes infinite, as gradient scalers expect."""
    return y if y.dtype == like.dtype else y.to(like.dtype)


def narrow(y: Tensor, like: Tensor) -> Tensor:
    """Return ``y`` in the dtype of ``like``; float16, whose range is short, saturates instead of overflowing."""
    if like.dtype == torch.float16:
        limit = torch.finfo(torch.float16).max
        y = y.clamp(-limit, limit)
    return cast(y, like)


# A branch on a dtype cannot be traced symbolically, so torch.fx keeps both calls whole, where they are called as
# attributes of this module.
torch.fx.wrap("widen")
torch.fx.wrap("narrow")
