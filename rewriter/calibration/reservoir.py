"""A bounded, uniform sample of a stream of values."""

from __future__ import annotations

import torch
from torch import Tensor

_CAPACITY = 2**17


class Reservoir:
    """Keeps every value of a stream with the same probability, and at most 2^17 of them (and at least half as many).

    The probability halves whenever the next values would not fit. The same stream gives the same sample.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []
        self._rate = 1.0
        self._generator = torch.Generator().manual_seed(0)

    def add(self, values: Tensor) -> None:
        """Take in a tensor of any shape, dtype and device; it is not referred to afterwards."""
        flat = values.detach().flatten()
        while self._size() + flat.numel() * self._rate > _CAPACITY:
            kept = self.values
            self._kept = [kept[self._chosen(kept.numel(), kept.numel() // 2)]]
            self._rate /= 2
        if self._rate < 1:
            flat = flat[self._chosen(flat.numel(), round(flat.numel() * self._rate)).to(flat.device)]
        self._kept.append(flat.to(device="cpu", dtype=torch.float32, copy=True))

    @property
    def values(self) -> Tensor:
        """The sample: float32 ``[N]`` on the CPU."""
        return torch.cat(self._kept) if self._kept else torch.empty(0)

    def _size(self) -> int:
        return sum(part.numel() for part in self._kept)

    def _chosen(self, among: int, count: int) -> Tensor:
        return torch.randint(max(among, 1), (count,), generator=self._generator)
