"""A model with an MLP that can be captured and a module whose code depends on its values."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Undecided(nn.Module):
    """Doubles its input, or not, by the sum of its values."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x) if x.sum() > 0 else x


def undecided() -> nn.Module:
    """Give the model, 8 features in and out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), Undecided())
    model.input_shape = (8,)
    return model
