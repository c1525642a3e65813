"""Modules whose code cannot be traced symbolically, and can be recorded."""

from __future__ import annotations

from torch import Tensor, nn


class LoopsOverItsBatch(nn.Module):
    """Cannot be traced: a number of turns is no traced value."""

    def pause(self, x: Tensor) -> None:
        for _ in range(x.shape[0]):
            pass


class Gates(LoopsOverItsBatch):
    """Multiplies what a child activates with another value."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(self.child(x) * x)
