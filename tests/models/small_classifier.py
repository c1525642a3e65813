"""A classifier of the digits that trains in seconds: a convolution, a norm, two hidden layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmallClassifier(nn.Module):
    """Maps images ``[N, 1, 8, 8]`` to ten logits."""

    input_shape = (1, 8, 8)

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8)
        self.first, self.second = nn.Linear(128, 48), nn.Linear(48, 32)
        self.act, self.drop, self.head = nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(images))).flatten(1)
        return self.head(self.drop(self.act(self.second(torch.relu(self.first(x))))))


def small_classifier(dropout: float = 0.0) -> SmallClassifier:
    """Return it with the weights of seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallClassifier(dropout).eval()


def dropping_classifier() -> SmallClassifier:
    """Return it with dropout."""
    return small_classifier(0.2)
