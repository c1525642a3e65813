"""Finding NaN and infinity in the bytes of a tensor, at the speed at which they are copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

# A value is NaN or infinite when all bits of its exponent are set.
_EXPONENTS: dict[torch.dtype, tuple[np.dtype[Any], int]] = {
    torch.float16: (np.dtype("<u2"), 0x7C00),
    torch.bfloat16: (np.dtype("<u2"), 0x7F80),
    torch.float32: (np.dtype("<u4"), 0x7F800000),
    torch.float64: (np.dtype("<u8"), 0x7FF0000000000000),
}
_BLOCK = 1 << 16  # values that stay in the processor's cache


def is_finite(piece: Tensor, dtype: torch.dtype) -> bool:
    """Say whether values are neither NaN nor infinite.

    Args:
        piece: bytes of whole values.
        dtype: what they are; integers are always finite.
    """
    if dtype in _EXPONENTS:
        kind, bits = _EXPONENTS[dtype]
        values, mask = piece.numpy().view(kind), np.array(bits, kind)
        exponents = np.empty(min(_BLOCK, len(values)), kind)
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK]
            if np.bitwise_and(block, mask, out=exponents[: len(block)]).max() == mask:
                return False
        return True
    if dtype.is_complex:
        return bool(torch.isfinite(piece.view(dtype)).all())
    return not dtype.is_floating_point or bool(torch.isfinite(piece.view(dtype).float()).all())


def has_nan(piece: Tensor, dtype: torch.dtype) -> bool:
    """Say whether values are NaN somewhere; see `is_finite`."""
    if is_finite(piece, dtype):
        return False
    values = piece.view(dtype)
    return bool(torch.isnan(values if dtype.is_complex else values.float()).any())
