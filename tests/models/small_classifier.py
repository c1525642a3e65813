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


class BlockClassifier(nn.Module):
    """Maps the same images through residual blocks; one weight is shared, and one layer is not used."""

    input_shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8)
        blocks = (nn.Sequential(nn.Linear(128, 33), nn.ReLU(), nn.Linear(33, 128)) for _ in range(3))
        self.blocks = nn.ModuleList(blocks)
        self.head, self.again, self.spare = nn.Linear(128, 10), nn.Linear(128, 10), nn.Linear(128, 3)
        self.again.weight = self.head.weight

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(images))).flatten(1)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x) + self.again(torch.relu(x))


def block_classifier() -> BlockClassifier:
    """Return it with the weights of seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BlockClassifier().eval()


def small_classifier(dropout: float = 0.0) -> SmallClassifier:
    """Return it with the weights of seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallClassifier(dropout).eval()


def dropping_classifier() -> SmallClassifier:
    """Return it with dropout."""
    return small_classifier(0.2)
