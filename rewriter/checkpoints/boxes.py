"""Boxes that together make a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_MOST = 8192


def require_cover(shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], what: str) -> None:
    """Check that boxes cover a tensor once: none outside, no two of one place, nothing left out.

    Args:
        shape: of the tensor.
        boxes: where each begins, and its sizes.
        what: the tensor's name, for the message.

    Raises:
        ValueError: they do not, or they are too many to tell.
    """
    if len(boxes) > _MOST:
        raise ValueError(f"{what[:80]!r} in {len(boxes)} parts")
    for start, sizes in boxes:
        inside = len(start) == len(sizes) == len(shape)
        if not inside or any(first + size > whole for first, size, whole in zip(start, sizes, shape, strict=True)):
            raise ValueError(f"a part of {what[:80]!r} outside it")
    if sum(math.prod(sizes) for _, sizes in boxes) != math.prod(shape):
        raise ValueError(f"parts of {what[:80]!r} that are not the whole")
    filled = [(start, sizes) for start, sizes in boxes if 0 not in sizes]
    first = np.array([start for start, _ in filled], dtype=np.int64)
    end = first + np.array([sizes for _, sizes in filled], dtype=np.int64)
    for number in range(1, len(filled)):
        meets = (first[:number] < end[number]) & (first[number] < end[:number])
        if meets.all(axis=1).any():
            raise ValueError(f"parts of {what[:80]!r} that overlap")
