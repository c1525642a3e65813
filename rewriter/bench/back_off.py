"""Smaller batches where memory does not suffice, as timm's benchmark does."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from rewriter.errors import UsageError

Found = TypeVar("Found")
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")


def with_back_off(measure: Callable[[int], Found], batch_size: int) -> Found:
    """Measure at a batch size, and at ever smaller ones until memory suffices.

    Args:
        measure: takes the batch size; what it makes must be gone when it raises.
        batch_size: the first to try.

    Raises:
        UsageError: not even one sample fits.
    """
    from timm.utils.decay_batch import decay_batch_step  # timm takes seconds to import

    while batch_size >= 1:
        try:
            return measure(batch_size)
        except (MemoryError, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        batch_size = decay_batch_step(batch_size)  # type: ignore[no-untyped-call]
    raise UsageError(
        expected="memory for a batch of one", found="less than that", remedy="use a smaller model or another device"
    )


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)
