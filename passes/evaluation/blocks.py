"""Elementwise functions evaluated in blocks that stay in a processor's cache.

A formula of ten operations on a large tensor would otherwise move ten large temporaries through memory. A block grows
with the number of threads, since torch divides each operation's block among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    for *parts, target in blocks_of((*inputs, result)):
        target.copy_(finish(function(*[precision.widen(part) for part in parts]), target))
    return result


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Let the C library keep what is freed from now on, for the next allocation of the same size; once is enough."""
    # Freeing one large allocation makes the C library raise the size from which it hands freed memory back to the
    # system; every temporary of every block would otherwise be mapped, and its pages cleared, anew.
    torch.empty(2**22, device="cpu")


def blocks_of(values: Sequence[Tensor], per_thread: int = _PER_THREAD) -> list[tuple[Tensor, ...]]:
    """Split tensors of one shape alike into views, where the elements of the last tensor lie together.

    That is along the outermost of its dimensions that is long enough, else along the longest.
    """
    size = per_thread * torch.get_num_threads()
    written = values[-1]
    count = -(-written.numel() // size)
    if written.device.type != "cpu" or count <= 1:
        return [tuple(values)]
    inward = sorted(range(written.dim()), key=written.stride, reverse=True)
    longest = max(inward, key=written.size)
    dim = next((d for d in inward if written.size(d) >= count), longest)
    step = max(1, size * written.size(dim) // written.numel())
    return list(zip(*(torch.split(value, step, dim) for value in values), strict=True))
