"""Elementwise functions evaluated in blocks that stay in a processor's cache.

A formula of ten operations on a large tensor would otherwise move ten large temporaries through memory. A block grows
with the number of threads, since torch divides each operation's block among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from passes.evaluation import precision

_PER_THREAD = 2**16


def blockwise(function: Callable[..., Tensor], *inputs: Tensor, saturate: bool) -> Tensor:
    """Return ``function(*inputs)`` in the dtype and layout of the first input; no gradient is recorded.

    Args:
        function: elementwise; is given float32 or float64.
        inputs: of one shape and device, any floating dtypes and strides.
        saturate: whether float16 results are held to float16's range, rather than become infinite.
    """
    first = inputs[0]
    result = torch.empty_like(first)
    keep_freed_memory()
    finish = precision.narrow if saturate else precision.cast
    for *parts, target in zip(*(blocks_of(value) for value in (*inputs, result)), strict=True):
        target.copy_(finish(function(*[precision.widen(part) for part in parts]), target))
    return result


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Let the C library keep what is freed from now on, for the next allocation of the same size; once is enough."""
    # Freeing one large allocation makes the C library raise the size from which it hands freed memory back to the
    # system; every temporary of every block would otherwise be mapped, and its pages cleared, anew.
    torch.empty(2**22, device="cpu")


def blocks_of(value: Tensor, per_thread: int = _PER_THREAD) -> tuple[Tensor, ...]:
    """Split into views by shape and thread count alone, so that equal shapes are split equally."""
    size = per_thread * torch.get_num_threads()
    if value.device.type != "cpu" or value.numel() <= size:
        return (value,)
    dim = max(range(value.dim()), key=value.shape.__getitem__)
    return torch.split(value, max(1, size * value.shape[dim] // value.numel()), dim)
