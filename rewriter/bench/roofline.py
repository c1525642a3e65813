"""The roofline of a machine: the fastest that its memory and its arithmetic were seen to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from rewriter.bench.interleaved import interleave

_COPIED: Final = 1 << 26  # numbers; far more than caches hold
_SIDE: Final = 2048
_ROUNDS: Final = 7


@dataclass(frozen=True)
class Roofline:
    """What the machine can do at most.

    Attributes:
        bandwidth: of a copy in memory, bytes read and bytes written together, per second.
        flops: of a large square matrix product, per second.
    """

    bandwidth: float
    flops: float

    def milliseconds(self, flops: int, moved: int) -> float:
        """Return the least time for so many operations and so many bytes, both at once."""
        return 1e3 * max(flops / self.flops, moved / self.bandwidth)


def measure_roofline(device: torch.device | str, dtype: torch.dtype, *, copied: int = _COPIED) -> Roofline:
    """Measure a copy of ``copied`` numbers and a matrix product; the best of several rounds each."""
    source = torch.ones(copied, dtype=dtype, device=device)
    target = torch.empty_like(source)
    square = torch.ones(_SIDE, _SIDE, dtype=dtype, device=device)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: square @ square}
    best = {name: min(times.milliseconds) / 1e3 for name, times in interleave(calls, _ROUNDS).items()}
    return Roofline(2 * source.nbytes / best["copy"], 2 * _SIDE**3 / best["product"])
