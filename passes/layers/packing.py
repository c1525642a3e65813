"""The layout of packed branches: branch i of n is the i-th contiguous chunk of ``h`` channels."""

from __future__ import annotations

from torch import Tensor


def unpack(packed: Tensor, branches: int, dim: int) -> list[Tensor]:
    """Return the branches, as views of ``packed``, whose size along ``dim`` is ``branches·h``."""
    chunks = packed.chunk(branches, dim)
    return [chunks[i] for i in range(branches)]
